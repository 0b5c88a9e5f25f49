"""The best adapter ever promoted: a chain of "not worse than last week" must not lead downhill.

Its stored results are compared, so only runs of the same core cases, scorer and decoding count. This hurdle is held at one-
sided 5 %: it can only withhold a promotion.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import polars as pl

from flywheel.benchmark.cases import CORE
from flywheel.benchmark.row_digest import tampered
from flywheel.promotion.evidence import case_means, compared, in_words
from flywheel.promotion.margin import MARGIN_LEVEL
from flywheel.promotion.validity import MAXIMUM_INFRA_SHARE
from flywheel.statistics.paired import PairedDifference, points

BASE = "base"


class Stored(NamedTuple):
    """One stored run of a promoted adapter on this core: where it lies and its success rate there."""

    adapter_id: str
    week: str
    arm: str
    success: float


class Best(NamedTuple):
    """The candidate against the best adapter ever promoted; `difference` is None where nothing is to be compared."""

    sentence: str
    adapter_id: str | None = None
    difference: PairedDifference | None = None
    below: bool = False


def stored_runs(judged: pl.DataFrame, promoted: set[str]) -> Iterator[Stored]:
    """Stored runs of adapters that were promoted, best first, newest first among equals."""
    found = [
        Stored(row[f"{arm}_adapter_id"], row["week"], arm, row[f"{arm}_success"])
        for row in judged.iter_rows(named=True) for arm in ("candidate", "incumbent")
        if row[f"{arm}_adapter_id"] in promoted - {BASE} and row[f"{arm}_success"] is not None
    ]  # fmt: skip
    newest = sorted(found, key=lambda one: one.week, reverse=True)
    yield from sorted(newest, key=lambda one: one.success, reverse=True)


def against_best(
    core: pl.DataFrame, runs: Iterator[Stored], results_of: Callable[[str, str], pl.DataFrame], *, incumbent: str, margin: float,
    scorer_version: str, decoding: str,
) -> Best:  # fmt: skip
    """Compare the candidate with the best stored run that is comparable.

    Args:
        core: rows of `evidence.pairs`, core cases only.
        results_of: week and arm to the EVAL_RESULTS rows stored there.
        margin: how much worse the candidate may be, 0 to 1.
    """
    passed: dict[str, str] = {}
    for run in runs:
        if run.adapter_id == incumbent:
            sentence = "of all promoted adapters with comparable results on this benchmark core, the incumbent did best"
            return Best(sentence + _told(passed), run.adapter_id)
        rows = results_of(run.week, run.arm)
        both = _pairs(core, rows)
        if why := _incomparable(core, rows, both, scorer_version, decoding):
            passed.setdefault(run.adapter_id, f"{run.adapter_id} of week {run.week}, {why}")
            continue
        found = compared(both, level=MARGIN_LEVEL)
        below = found.lower <= -margin
        outcome = "may be worse by more than" if below else "not inferior within"
        name = f"{run.adapter_id} (its results of week {run.week})"
        sentence = (
            f"against the best adapter ever promoted, {name}: {outcome} {points(margin)}: {in_words(compared(both))}"
        )
        passed.pop(run.adapter_id, None)
        return Best(sentence + _told(passed), run.adapter_id, compared(both), below)
    nobody = (
        "no other promoted adapter has comparable results on this benchmark core: compared with the incumbent alone"
    )
    return Best(nobody + _told(passed))


def _pairs(core: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """The candidate's core cases beside the stored run's; cases that one of them lost to an error are left out, as in the gate."""
    own = rows.filter(pl.col("slice").fill_null(CORE) == CORE)
    return core.drop("incumbent").join(case_means(own, "incumbent"), on="case_id").sort("case_id")


def _incomparable(
    core: pl.DataFrame, rows: pl.DataFrame, both: pl.DataFrame, scorer_version: str, decoding: str
) -> str:
    """Why a stored run is not to be compared; empty where it is."""
    if not rows.height:
        return "whose results are gone"
    if set(rows["scorer_version"]) != {scorer_version} or set(rows["decoding"]) != {decoding}:
        return "scored or decoded otherwise"
    if tampered(rows):
        return "whose results are not what evaluation wrote"
    if both.height < (1 - MAXIMUM_INFRA_SHARE) * core.height:
        return f"with a score of {both.height} of {core.height} cases"
    return ""


def _told(passed: dict[str, str]) -> str:
    return f"; not compared: {'; '.join(passed.values())}" if passed else ""
