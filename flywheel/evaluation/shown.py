"""What an analyst reads of an evaluation in the UI: small tables out of results and metrics."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from flywheel.evaluation.base_arm import BASE_ARM
from flywheel.evaluation.metrics import ALL
from flywheel.evaluation.session import CANDIDATE, INCUMBENT

_ARMS = (INCUMBENT, CANDIDATE, BASE_ARM)


def metrics_preview(metrics: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each metric of the arms over all categories, with count, denominator and interval; those nobody could measure are left out."""
    told = {(row["arm"], row["metric"]): row for row in metrics if row["slice"] == ALL and row["category"] == ALL}
    names = list(dict.fromkeys(name for _, name in told if not name.startswith("failed_by_")))
    lines = [{"metric": name, **{arm: _sentence(told.get((arm, name))) for arm in _ARMS}} for name in names]
    return [line for line in lines if any(line[arm] for arm in _ARMS)]


def _sentence(row: Mapping[str, Any] | None) -> str:
    if row is None or row["value"] is None:
        return ""
    share = row["unit"] == "share"

    def shown(value: float | None) -> str:
        return "?" if value is None else f"{value:.1%}" if share else f"{value:.3g}"

    unit = "" if share else f" {row['unit']}"
    counted = f"{row['numerator']:g} of {row['denominator']:g}" if share else f"n = {row['denominator']:g}"
    return f"{shown(row['value'])}{unit} ({shown(row['low'])} to {shown(row['high'])}; {counted})"


def failures_by_bucket(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Bucket and sub-kind of the failed cases with their number in each arm, the incumbent's commonest first."""
    counted = {arm: Counter((row["failure_bucket"], row["failure_sub_kind"]) for row in rows
                            if row["arm"] == arm and row["failure_bucket"]) for arm in _ARMS}  # fmt: skip
    kinds = sorted(set().union(*counted.values()), key=lambda kind: (-counted[INCUMBENT][kind], kind))
    return [
        {"bucket": bucket, "kind": kind, **{arm: counted[arm][bucket, kind] for arm in _ARMS}} for bucket, kind in kinds
    ]


def success_of(metrics: Sequence[Mapping[str, Any]], arm: str) -> float | None:
    """Success rate of an arm over all cases, 0 to 1; None where none was completed."""
    rows = (row for row in metrics if row["arm"] == arm and row["slice"] == ALL and row["category"] == ALL)
    return next((row["value"] for row in rows if row["metric"] == "task_success"), None)
