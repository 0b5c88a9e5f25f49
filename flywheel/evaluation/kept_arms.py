"""Arms that ran to their end, kept beside the server's log until the evaluation is written: what a restart need not run again.

An arm is kept whole or not at all. Greedy answers depend a little on which requests are decoded together, so half an arm is never
continued: it is run again from its first case, in the same order and at the same concurrency as the others.
"""

import json
import shutil
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from flywheel.evaluation.runner import Arm
from flywheel.toolcalls.arguments import canonical_json, sha256_of

Row = dict[str, Any]


class KeptArms:
    """The finished arms of one evaluation.

    Args:
        folder: where they lie; made when the first arm is kept.
        decides: all that decides what would be generated; arms of another evaluation are never taken for this one's.
    """

    def __init__(self, folder: Path, decides: Mapping[str, Any]) -> None:
        self._folder, self._decides = folder, dict(decides)

    def read(self, arm: Arm) -> list[Row] | None:
        """The rows of an arm that ran to its end, None where it did not, or not in this evaluation."""
        file = self._file(arm)
        if not file.is_file():
            return None
        try:
            kept = json.loads(file.read_text(encoding="utf-8"))
        except ValueError:
            return None
        if kept.get("key") != self._key(arm) or kept.get("rows_sha256") != sha256_of(kept.get("rows")):
            return None
        return [_moments(row) for row in json.loads(kept["rows"])]

    def keep(self, arm: Arm, rows: list[Row]) -> None:
        """Write an arm's rows, whole."""
        self._folder.mkdir(parents=True, exist_ok=True)
        text = msgspec.json.encode(rows).decode()
        whole = canonical_json({"key": self._key(arm), "rows_sha256": sha256_of(text), "rows": text})
        partial = self._file(arm).with_suffix(".partial")
        partial.write_text(whole, encoding="utf-8")
        partial.replace(self._file(arm))

    def clear(self) -> None:
        """Forget them: the evaluation is written."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _file(self, arm: Arm) -> Path:
        return self._folder / f"{arm.name}.json"

    def _key(self, arm: Arm) -> str:
        return sha256_of([self._decides, list(arm)])


def _moments(row: Row) -> Row:
    """A row as it was: JSON made text of the moment it was started at."""
    return row | {"started_at": datetime.fromisoformat(row["started_at"])} if row.get("started_at") else row
