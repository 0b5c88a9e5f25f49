"""An erasure that has begun: what was found of a person, kept in the vault's folder until all of it is gone.

The rows that tell which events, cases and files are a person's must go themselves. So what they tell is written down first, and an
erasure that was killed goes on from there when the same command is given again. The file holds ids and pseudonyms, no text.
"""

import os
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ValidationError

from flywheel.errors import FlywheelError


class Found(BaseModel):
    """What was found of a person in one workflow; it only grows while the erasure is pending.

    Attributes:
        trace_ids, conversation_ids, source_files: their runs, the conversations, and the inbox files they were read from.
        item_ids: items of correction batches made of their runs, of batches that were replaced, too.
        case_ids, contents: benchmark cases made of their runs, and the content hashes of those that were frozen.
        version_before: the benchmark's version before the first of these left; empty where none was frozen.
        rows: `table|week` (the week empty for tables without weeks) -> rows taken out.
        weeks: weeks whose reports and runs show them.
        adapters: (week, adapter id) trained on their rows, later adapters that started from those included.
        handed_out: batch id -> (manifest hashes, item ids) of what a partner has to delete.
    """

    trace_ids: set[str] = set()
    conversation_ids: set[str] = set()
    source_files: set[str] = set()
    item_ids: set[str] = set()
    case_ids: set[str] = set()
    contents: set[str] = set()
    version_before: str = ""
    rows: dict[str, int] = {}
    weeks: set[str] = set()
    adapters: set[tuple[str, str]] = set()
    handed_out: dict[str, tuple[list[str], list[str]]] = {}

    def anything(self) -> bool:
        """Whether the person was found in the workflow at all."""
        return bool(self.trace_ids or self.item_ids or self.case_ids or self.rows)

    def rows_of(self, table: str, week: str | None, count: int) -> None:
        """Note that rows are about to leave a partition. The same partition again counts once: what a kill left standing was counted before."""
        key = f"{table}|{week or ''}"
        self.rows[key] = max(self.rows.get(key, 0), count)

    def noted(self, table: str, week: str | None) -> bool:
        """Whether a partition was begun to be rewritten."""
        return f"{table}|{week or ''}" in self.rows

    def rows_by_table(self) -> dict[str, int]:
        """Rows taken out by table, all weeks together."""
        counts: dict[str, int] = {}
        for key, count in self.rows.items():
            table = key.split("|")[0]
            counts[table] = counts.get(table, 0) + count
        return counts


class _Kept(BaseModel):
    begun_at: str
    surrogates: set[str] = set()
    workflows: dict[str, Found] = {}


class Pending:
    """The pending erasure of one person; goes on with what an earlier run that was killed wrote down.

    Args:
        vault: the vault's folder.
        principal_ref: the person.

    Raises FlywheelError when what was written down cannot be read.
    """

    def __init__(self, vault: Path, principal_ref: str) -> None:
        self.file = vault / f"erasure-{principal_ref}.json"
        self._kept = _Kept(begun_at=datetime.now(UTC).isoformat())
        if self.file.is_file():
            try:
                self._kept = _Kept.model_validate_json(self.file.read_bytes())
            except ValidationError as error:
                raise FlywheelError("what an unfinished erasure wrote down cannot be read", where=str(self.file),
                                    remedy="move the file away and erase again; then search for what it names by hand") from error  # fmt: skip

    @property
    def begun_at(self) -> str:
        """When the erasure began (UTC, ISO 8601): the first run of it, where that was killed."""
        return self._kept.begun_at

    @property
    def surrogates(self) -> set[str]:
        """What stands in the place of the person's originals: the vault forgets it before the search for it."""
        return self._kept.surrogates

    def of(self, workflow: str) -> Found:
        """What was found in a workflow, to be added to."""
        return self._kept.workflows.setdefault(workflow, Found())

    def save(self) -> None:
        """Write it down, whole or not at all, readable by its owner alone."""
        partial = self.file.with_name(f"{self.file.name}.partial")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(self._kept.model_dump_json())
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(self.file)

    def done(self) -> None:
        """Nothing of the person is left to be taken out."""
        self.file.unlink(missing_ok=True)
