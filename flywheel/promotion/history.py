"""What earlier verdicts leave for this one: the fixed margin, the looks taken, the last A/A run.

All of it is read from PROMOTION rows of earlier weeks that judged the same benchmark core. A verdict on another core, or an
INVALID one, says nothing here. Comparisons of configurations on the same benchmark are looks as well.
"""

import json
from collections.abc import Callable
from datetime import date, timedelta
from typing import NamedTuple

import polars as pl

from flywheel.promotion.best import Best
from flywheel.promotion.margin import Fixed
from flywheel.promotion.noise import VALID_WEEKS, Noise
from flywheel.workflows.serving_settings import is_endpoint


class Past(NamedTuple):
    """What earlier verdicts on a benchmark core left for this one.

    Attributes:
        looks: how many there were.
        margin: that of the first; None before it.
        noise: the last usable A/A run; None where there is none.
        against_best: compares the core's pairs, at a margin, with the best adapter ever promoted; None where that is not asked.
    """

    looks: int
    margin: Fixed | None
    noise: Noise | None
    against_best: Callable[[pl.DataFrame, float], Best] | None


def same_core(history: pl.DataFrame, core_version: str) -> pl.DataFrame:
    """The judged weeks of a benchmark core, oldest first; rows from before cores were told apart count by benchmark version."""
    core = pl.coalesce("core_version", "benchmark_version")
    return history.filter(core == core_version, pl.col("verdict") != "INVALID", pl.col("cases") > 0).sort("week")


def compared_versions(verdicts: pl.DataFrame) -> list[str]:
    """The benchmark version of every CONFIGURATION_VERDICTS row that judged anything: each is a look at that benchmark, too."""
    return sorted(verdicts.filter(pl.col("verdict") != "INVALID")["benchmark_version"].drop_nulls())


def fixed_margin(judged: pl.DataFrame) -> Fixed | None:
    """The margin of the first verdict on this core; None before it."""
    first = judged.filter(pl.col("margin").is_not_null()).head(1).to_dicts()
    if not first:
        return None
    return Fixed(first[0]["margin"], json.loads(first[0]["evidence"] or "{}").get("smallest_margin"))


def last_noise(judged: pl.DataFrame, *, week: str, incumbent: str, scorer_version: str, decoding: str) -> Noise | None:
    """The newest A/A run measured at most four weeks before `week` under the same scorer and decoding, itself not REJECT.

    Of an endpoint only its own counts, and for an adapter never an endpoint's: the noise is that of who answered.
    """
    endpoints = {one for one in judged["incumbent_adapter_id"] if is_endpoint(one)}
    own = pl.col("incumbent_adapter_id").is_in(list(endpoints - {incumbent})).not_().fill_null(True)
    own = pl.col("incumbent_adapter_id") == incumbent if is_endpoint(incumbent) else own
    oldest = (date.fromisoformat(week) - timedelta(weeks=VALID_WEEKS)).isoformat()
    usable = judged.filter(
        pl.col("a_a_week").is_between(pl.lit(oldest), pl.lit(week), closed="left"), pl.col("a_a_verdict") != "REJECT",
        own, scorer_version=scorer_version, decoding=decoding,
    ).sort("a_a_week")  # fmt: skip
    if not usable.height:
        return None
    row = usable.row(-1, named=True)
    return Noise(**{name: row[f"a_a_{name}"] for name in Noise._fields})


def looks_sentence(looks: int, limit: int) -> str:
    """How often this core has been looked at, and whether it is worn: `looks` counts this verdict."""
    if looks < limit:
        return f"verdict {looks} on this benchmark core; it is to be refreshed after {limit}"
    return (
        f"verdict {looks} on this benchmark core, and the pack refreshes after {limit}: what is chosen on it week by week fits it "
        "more than it should. Freeze new core cases and retire old ones"
    )
