"""The week's supervised mix: which candidate steps train, and why each of the others does not.

candidates -> withdrawn, kept out -> repeats -> conflicts, settled and open -> caps and budget, newest first and cluster by cluster -> leaks -> rows

Every step that is left out is counted under its reason; `read = kept + left out` holds. The order of the candidates never matters.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from functools import cache
from operator import itemgetter
from typing import Any, NamedTuple

from flywheel.benchmark.leaks import Leak
from flywheel.datasets.conflicts import Settlement, contested, overruled
from flywheel.datasets.ration import Ration
from flywheel.lake.dataset_tables import BEFORE_ALL_WEEKS
from flywheel.workflows.pack import Datasets

Row = Mapping[str, Any]
FindLeaks = Callable[[Sequence[Row]], list[Leak]]
# A step is one of these first; only then does anything else count.
_SOURCES = ("correction", "demonstration", "verified", "replay")


class Mix(NamedTuple):
    """The rows of a week and the account of the rest.

    Attributes:
        kept: candidates that train, by row_id, in that order.
        left_out: (candidate, reason, detail) of every other one.
        counts: source -> [candidates, kept].
        notes: sentences: caps that were off, sources that were missing.
    """

    kept: list[Row]
    left_out: list[tuple[Row, str, str]]
    counts: dict[str, list[int]]
    notes: list[str]

    def reasons(self) -> dict[str, int]:
        """Reason -> number of steps left out."""
        return dict(sorted(Counter(reason for _, reason, _ in self.left_out).items()))


def select(
    candidates: Sequence[Row], find_leaks: FindLeaks, settings: Datasets, *, week: str, withdrawn: Mapping[str, set[str]] | None = None,
    held_out: frozenset[str] = frozenset(), settled: Mapping[str, Settlement] | None = None,
) -> Mix:  # fmt: skip
    """Choose the week's rows.

    Args:
        candidates: TRAINING_STEPS rows with near_duplicate_group, and week (that of their partition).
        find_leaks: the leaks among some candidates, by row_id.
        withdrawn: column -> values that may not train any more.
        held_out: row ids of the held-out split: a leak to one of them counts as `held_out`.
        settled: context_id -> what an adjudicator decided about its different answers.
    """
    left_out: list[tuple[Row, str, str]] = []
    ordered = sorted(candidates, key=_newest_first)
    able = list(_able(ordered, withdrawn or {}, left_out))
    lost = overruled(able, settled or {})
    standing = [row for row in able if (row["context_id"], row["answer_id"]) not in lost]
    left_out += [
        (row, "overruled", f"settled by correction {lost[key]}")
        for row in able if (key := (row["context_id"], row["answer_id"])) in lost
    ]  # fmt: skip
    once = list(_once(standing, left_out))
    contradicted = contested(once)
    left_out += [
        (row, "conflict", "answered differently elsewhere") for row in once if row["context_id"] in contradicted
    ]
    agreed = [row for row in once if row["context_id"] not in contradicted]
    ration = Ration(agreed, settings)
    kept = _rationed(_ranked(agreed, settings, week), ration, find_leaks, held_out, left_out)
    before, after = (Counter(row["source"] for row in rows) for rows in (candidates, kept))
    counts = {source: [before[source], after[source]] for source in _SOURCES}
    return Mix(sorted(kept, key=lambda row: row["row_id"]), left_out, counts, ration.notes)


@cache
def _day(week: str) -> int:
    return date.fromisoformat(week).toordinal()


def _newest_first(row: Row) -> tuple[Any, ...]:
    """Newest week first, then by id: whose provenance a repeated row carries."""
    age = -_day(row["week"])
    return (_SOURCES.index(row["source"]), age, row["source_id"], row["message_index"])


def _able(
    rows: Sequence[Row], withdrawn: Mapping[str, set[str]], left_out: list[tuple[Row, str, str]]
) -> Iterator[Row]:
    for row in rows:
        column = next((name for name in withdrawn if row[name] in withdrawn[name]), None) if withdrawn else None
        if column is not None:
            left_out.append((row, "withdrawn", f"{column} {row[column]}"))
        elif row["kept_out"]:
            left_out.append((row, row["kept_out"], row["detail"]))
        else:
            yield row


def _once(rows: Sequence[Row], left_out: list[tuple[Row, str, str]]) -> Iterator[Row]:
    """Leave repeats out: the same row, or near-duplicate requests whose context and answer are otherwise the same.

    Steps of one run share the user's words and differ in calls and results: they are different rows.
    """
    seen: dict[Any, str] = {}
    for row in rows:
        same, alike = row["row_id"], (row["near_duplicate_group"], row["shape_id"])
        earlier = seen.get(same) or seen.get(alike)
        if earlier is None:
            seen[same] = seen[alike] = same
            yield row
        else:
            left_out.append((row, "repeated", f"row {earlier}"))


def _ranked(rows: Sequence[Row], settings: Datasets, week: str) -> list[list[Row]]:
    """Units in the order they are taken: the newest of each failure cluster first, a trajectory as a whole.

    The place inside its cluster is weighed by age: after one half-life a correction counts like one twice as far down.
    """
    whole: dict[tuple[str, str], list[Row]] = {}
    units = [[row] for row in rows if row["remedy"] != "trajectory"]
    for row in rows:
        if row["remedy"] == "trajectory":
            whole.setdefault((row["source"], row["source_id"]), []).append(row)
    today = _day(week)
    ages = {one: max(0, today - _day(one)) // 7 for one in {row["week"] for row in rows}} | {BEFORE_ALL_WEEKS: 0}
    clusters: dict[Any, list[tuple[int, str, list[Row]]]] = {}
    for unit in (*units, *whole.values()):
        first = unit[0]
        age = ages[first["week"]]
        spread = first["row_id"]  # a hash: as good as a draw, and the same in every build
        clusters.setdefault((first["source"], first["failure_cluster"] or first["tool"]), []).append(
            (age, spread, unit)
        )
    ranked: list[tuple[int, float, str, list[Row]]] = []
    for (source, _), members in clusters.items():
        for place, (age, spread, unit) in enumerate(sorted(members, key=itemgetter(0, 1)), 1):
            weight = 2.0 ** min(64.0, age / settings.half_life_weeks)
            ranked.append((_SOURCES.index(source), place * weight, spread, unit))
    return [unit for *_, unit in sorted(ranked, key=itemgetter(0, 1, 2))]


def _rationed(
    units: Sequence[list[Row]], ration: Ration, find_leaks: FindLeaks, held_out: frozenset[str], left_out: list[tuple[Row, str, str]]
) -> list[Row]:  # fmt: skip
    """Take units while rations last; leaks are searched among what would be taken, so that the budget bounds the work.

    What leaks gives its place back, so another round takes the next ones.
    """
    kept: list[Row] = []
    waiting = list(units)
    barred: set[str] = set()
    while waiting:
        taken, refused = [], []
        for unit in waiting:
            reason = ration.refuses(unit)
            if reason is None:
                ration.take(unit)
                taken.append(unit)
            else:
                refused.append((unit, reason))
        leaks = {leak.row_id: leak for leak in find_leaks([row for unit in taken for row in unit])}
        for row in (row for unit in taken for row in unit):
            if leak := leaks.get(row["row_id"]):
                ration.give_back(row)
                barred.add(row["row_id"])
                reason = "held_out" if leak.case_id in held_out else "benchmark"
                left_out.append((row, reason, f"case {leak.case_id} ({leak.kind}, {leak.similarity:.2f})"))
            else:
                kept.append(row)
        if not leaks or not refused:
            left_out += [(row, reason, "") for unit, reason in refused for row in unit]
            return kept
        waiting = [unit for unit, _ in refused]
    return kept
