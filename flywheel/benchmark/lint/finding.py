"""What the lint says: one finding, and how a file's findings on one case are written."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

Level = Literal["error", "warning"]


class Finding(NamedTuple):
    """One thing wrong with a case, or with the benchmark as a whole.

    Attributes:
        level: an error keeps a new case from being frozen; a warning is for a person to weigh.
        rule: its name, e.g. unsatisfiable_call.
        case_id: the case, empty for the benchmark as a whole.
        message: one sentence.
        remedy: what to change.
    """

    level: Level
    rule: str
    case_id: str
    message: str
    remedy: str

    def __str__(self) -> str:
        about = f"{self.case_id}: " if self.case_id else ""
        return f"{self.level} {self.rule}: {about}{self.message} -> {self.remedy}"


Findings = Iterator[Finding]
