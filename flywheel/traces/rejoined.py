"""A stream of which the beginning was taken to look at it, as one that begins again."""

import io
from typing import BinaryIO

from flywheel.traces.refused import Refused


class Rejoined:
    """What was taken from a stream, and then the rest of the stream.

    Args:
        taken: the stream's bytes from its beginning to where it stands.
    """

    def __init__(self, taken: bytes, stream: BinaryIO) -> None:
        self._taken, self._stream = io.BytesIO(taken), stream

    @property
    def refused(self) -> Refused | None:
        """Why the stream ended early; None where it did not, or says nothing of it."""
        return getattr(self._stream, "refused", None)

    def read(self, size: int) -> bytes:
        """At most `size` bytes; none at the end."""
        return self._taken.read(size) or self._stream.read(size)
