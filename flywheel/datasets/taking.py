"""Taking rows while their rations last: unit by unit, round by round, until no place is given back any more.

What goes here: who is asked when, and what becomes of each. What does not: which candidates may be asked at all (`mix.py`), and what a
ration says of one (`ration.py`).

Every frame has `seat` (a candidate's number), `first` (the seat of the row that stands for it and its repeats) and `unit` (what is taken
as a whole).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

import polars as pl

from flywheel.benchmark.leaks import Leak
from flywheel.datasets.ration import Ration

Row = Mapping[str, Any]
FindLeaks = Callable[[Sequence[Row]], list[Leak]]
# Caps that a repeat may escape: somebody else asked, or in other words. Their near-duplicate group is the same.
_ESCAPED = ("cap_principal", "cap_tenant", "cap_template")
# What a trajectory's other rows are left out for once one of them does not train: half a recovery teaches none.
INCOMPLETE = "incomplete_trajectory"


class Taking:
    """The rows of one mix while they are taken.

    Args:
        ranked: the rows that are asked, in that order.
        alike: the same rows and their repeats, the newest of a kind first.
        held_out: row ids of the held-out split: a leak to one of them counts as `held_out`.
    """

    def __init__(
        self, ranked: pl.DataFrame, alike: pl.DataFrame, ration: Ration, find_leaks: FindLeaks, held_out: frozenset[str]
    ) -> None:
        self.kept: dict[int, Row] = {}
        self._ranked, self._alike = ranked, alike
        self._ration, self._find_leaks, self._held_out = ration, find_leaks, held_out
        self._out = _noted([])  # for good
        self._refused = ranked.select("seat", reason=pl.lit(""), detail=pl.lit(""))  # until a place is given back

    def fill(self) -> None:
        """Take what the rations allow. Leaks are searched among what would be taken, so that the budget bounds the work."""
        while self._ask_waiting() or self._ask_repeats() or self._drop_halves():
            pass

    def left(self) -> pl.DataFrame:
        """seat, reason and detail of what was asked and is not kept, but for repeats that took nobody's place."""
        return pl.concat([self._out, self._refused])

    def _ask_waiting(self) -> bool:
        """One round over the rows that wait; whether a place was given back."""
        waiting = self._ranked.join(self._refused.select("seat"), on="seat", how="semi", maintain_order="left")
        taken, self._refused = self._round(waiting)
        return self._keep(taken)

    def _ask_repeats(self) -> bool:
        """Let the first repeat that may enter take the place of a row that fell to a cap, or with its trajectory.

        Returns whether a place was given back.
        """
        fallen = self.left().filter(pl.col("reason").is_in((*_ESCAPED, INCOMPLETE)))["seat"].to_list()
        if not fallen:
            return False
        taught = pl.col("first").is_in(self._taught())
        offered = pl.col("first").is_in(fallen) & ~pl.col("seat").is_in([*fallen, *self._out["seat"]]) & ~taught
        # Of a trajectory nothing enters by itself.
        offers = self._alike.filter((offered | taught).all().over("unit")).filter(offered)
        places = self._ranked.select("place", first="seat")
        at = (pl.col("place").min().over("unit"), pl.col("seat").min().over("unit"), "seat")
        taken, _ = self._round(offers.join(places, on="first", maintain_order="left").sort(*at))
        back = self._keep(taken)
        replaced = pl.col("seat").is_in(self._taught())
        self._out = pl.concat([self._out, self._refused.filter(replaced)])
        self._refused = self._refused.filter(~replaced)
        return back

    def _taught(self) -> list[int]:
        """Firsts of what is kept."""
        return sorted({row["first"] for row in self.kept.values()})

    def _round(self, waiting: pl.DataFrame) -> tuple[list[Row], pl.DataFrame]:
        """What is taken, and seat, reason and detail of what is refused; a source that is full is not asked on."""
        taken: dict[int, Row] = {}  # by the first that they stand for: no two repeats enter
        refused: list[tuple[int, str, str]] = []
        rest: list[pl.DataFrame] = []
        for (source,), rows in waiting.group_by("source", maintain_order=True):
            asked = 0
            for _, members in groupby(rows.iter_rows(named=True), itemgetter("unit")):
                if self._ration.is_full(str(source)):
                    break
                together = list(members)
                asked += len(together)
                unit = [row for row in _distinct(together) if row["first"] not in taken]
                if not unit:
                    continue
                if reason := self._ration.refuses(unit):
                    refused += [(row["seat"], reason, "") for row in unit]
                else:
                    self._ration.take(unit)
                    taken |= {row["first"]: row for row in unit}
            reason = self._ration.reason_of_the_rest(str(source))
            rest.append(rows[asked:].select("seat", reason=reason, detail=pl.lit("")))
        return list(taken.values()), pl.concat([_noted(refused), *rest])

    def _drop_halves(self) -> bool:
        """Leave out what is kept of a trajectory of which another row neither is kept nor repeats one that is; whether there was any."""
        runs = {row["unit"] for row in self.kept.values() if row["remedy"] == "trajectory"}
        if not runs:
            return False
        lacking = pl.col("unit").is_in(sorted(runs)) & ~pl.col("first").is_in(self._taught())
        lost = self._alike.filter(lacking).unique("unit", keep="first", maintain_order=True)
        lacks = dict(lost.select("unit", "message_index").rows())
        halves = [row for row in self.kept.values() if row["unit"] in lacks]
        self._leave((row, INCOMPLETE, f"message {lacks[row['unit']]} of it does not train") for row in halves)
        return bool(halves)

    def _keep(self, taken: Sequence[Row]) -> bool:
        """Keep what was taken but for leaks, and for the rest of their trajectories; whether there were any."""
        leaks = {leak.row_id: leak for leak in self._find_leaks(taken)} if taken else {}
        self.kept |= {row["seat"]: row for row in taken}
        gone = [row for row in taken if row["row_id"] in leaks]
        torn = {row["unit"]: row for row in reversed(gone) if row["remedy"] == "trajectory"}
        rest = [row for row in self.kept.values() if row["unit"] in torn and row["row_id"] not in leaks]
        told = {row["seat"]: self._leaked(leaks[row["row_id"]]) for row in gone}
        self._leave((row, *told[row["seat"]]) for row in gone)
        lost = {
            unit: f"message {row['message_index']} of it is left out: {told[row['seat']][0]}"
            for unit, row in torn.items()
        }
        self._leave((row, INCOMPLETE, lost[row["unit"]]) for row in rest)
        return bool(gone)

    def _leave(self, rows: Iterable[tuple[Row, str, str]]) -> None:
        """Leave kept rows out for good, with reason and detail; they give their places back."""
        noted = list(rows)
        for row, _, _ in noted:
            self._ration.give_back(self.kept.pop(row["seat"]))
        self._out = pl.concat([self._out, _noted((row["seat"], reason, detail) for row, reason, detail in noted)])

    def _leaked(self, leak: Leak) -> tuple[str, str]:
        """Reason and detail of a row that touches a case."""
        reason = "held_out" if leak.case_id in self._held_out else "benchmark"
        return reason, f"case {leak.case_id} ({leak.kind}, {leak.similarity:.2f})"


def _distinct(unit: Sequence[Row]) -> list[Row]:
    """The rows of a unit, one of those that repeat each other."""
    return list({row["first"]: row for row in reversed(unit)}.values())[::-1]


def _noted(rows: Iterable[tuple[int, str, str]]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema={"seat": pl.UInt32, "reason": pl.String, "detail": pl.String}, orient="row")
