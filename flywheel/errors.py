"""The one exception a user should ever meet: what happened, where, and what to do about it."""

from typing import Any


class FlywheelError(Exception):
    """A failure a person can cause, and can therefore mend.

    Args:
        what: what happened, one sentence.
        where: the file and line, table and partition, or process concerned; empty where there is none.
        remedy: what to do now: a command to type or a thing to change.
    """

    def __init__(self, what: str, *, where: str = "", remedy: str) -> None:
        self.what = what
        self.where = where
        self.remedy = remedy
        place = f" [{where}]" if where else ""
        super().__init__(f"{what}{place}\n  -> {remedy}")

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled whole, whatever its class asks for: it comes out of a worker as it was raised."""
        return _unpickled, (type(self), self.args), self.__dict__


def _unpickled(kind: type[FlywheelError], args: tuple[Any, ...]) -> FlywheelError:
    return kind.__new__(kind, *args)


class Interrupted(FlywheelError):
    """Work that was stopped from outside: a child was killed, a server did not answer. The same work may succeed when it is tried again."""


class MissingPartition(FlywheelError):
    """A stage asked for a partition that no earlier stage has written."""
