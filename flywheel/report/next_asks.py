"""What the verdict asks for, as people read it; the rows are promotion's (table `next_asks`)."""

from typing import NamedTuple

import polars as pl

_TRAINS = {
    "steps": "the right steps",
    "pair": "pairs against what the model did",
    "trajectory": "whole recoveries",
}


class Ask(NamedTuple):
    """One bucket and tool; see the columns of `next_asks`."""

    bucket: str
    tool: str
    failed: int
    cases: int
    regressed: int
    corrected: int
    remedy: str
    items_wanted: int
    example_case_id: str
    example_reason: str

    def sentence(self) -> str:
        """As a person reads it: what failed, and what to do."""
        lost = f", {self.regressed} of them solved by the incumbent" if self.regressed else ""
        return f"{self.bucket.replace('_', ' ')} with {self.tool}: {self.failed} of {self.cases} cases failed{lost}; {self.advice()}"

    def advice(self) -> str:
        """What to do about it, and how much of it."""
        if not self.items_wanted:
            return "mend the tool's schema: no call can satisfy it, so no correction helps"
        how = " and ".join(_TRAINS.get(name, name) for name in self.remedy.split("+"))
        wanted = f"correct {self.items_wanted} runs like it (they train {how})"
        if self.corrected >= self.items_wanted:
            return f"{self.corrected} corrections of it trained this week and did not help: look at guidelines, case and remedy first; then {wanted}"
        return wanted + (f"; {self.corrected} were accepted this week" if self.corrected else "")


def asks_of(rows: pl.DataFrame) -> list[Ask]:
    """The asks of one week's NEXT_ASKS rows, most failed cases first."""
    ordered = rows.sort("failed", "bucket", "tool", descending=[True, False, False])
    return [Ask(*values) for values in ordered.select(Ask._fields).iter_rows()]
