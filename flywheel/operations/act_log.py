"""Acts with authority that no table, store or signed file records by itself: a hash-chained line each in `acts.jsonl` of the house.

job           a week's training was written as a folder for a machine elsewhere
checkpoint    what came back of one was made the week's checkpoint
statement     a partner's return was taken in, and the statement of it signed; `sha256` is the statement's
"""

import getpass
import os
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from flywheel.chained_log import ChainedLog
from flywheel.settings import Settings

Kind = Literal["job", "checkpoint", "statement"]
NAME = "acts.jsonl"
_FIELDS = ("at", "by", "act", "workflow", "week", "what", "subject_sha256")


class Act(NamedTuple):
    """One act: when, by whom, which of `audit_log.ACTS`, in which workflow (empty: the installation), on what, why, and where it is recorded."""

    at: datetime
    by: str
    act: str
    workflow: str
    what: str
    reason: str
    recorded_in: str


class ActLog:
    """The file of a house."""

    def __init__(self, settings: Settings) -> None:
        self._log = ChainedLog(settings.home / NAME, _FIELDS, "acts")

    def check(self) -> None:
        """Raise FlywheelError where the log is damaged: nothing is done that could not be recorded."""
        self._log.lines()

    def record(
        self, act: Kind, *, workflow: str, week: str, what: str, sha256: str, by: str = "", again: bool = True
    ) -> None:
        """Add an act; on disk when this returns. Raises FlywheelError when the file is damaged.

        Args:
            sha256: of what it is about: a job's sums, a statement.
            by: who did it; the account of this machine where nobody is named.
            again: whether it is recorded, too, where the newest such act of the week is about the same thing already.
        """
        with self._log.alone():
            known = [one for one in self._log.lines() if (one["act"], one["workflow"], one["week"]) == (act, workflow, week)]  # fmt: skip
            if not again and known and known[-1]["subject_sha256"] == sha256:
                return
            at, by = datetime.now(UTC).isoformat(), by.strip() or account()
            self._log.append({"at": at, "by": by, "act": act, "workflow": workflow, "week": week, "what": what, "subject_sha256": sha256})  # fmt: skip

    def lines(self) -> list[dict[str, Any]]:
        """All lines, oldest first, with the fields above; raises FlywheelError for a damaged file."""
        return self._log.lines()


def account() -> str:
    """The account of this machine that a command runs under, for a log entry without a name."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return f"uid {os.getuid()}"


def moment(text: str) -> datetime:
    """A recorded time, UTC where it names no zone."""
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
