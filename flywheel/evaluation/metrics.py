"""What an arm can do, in numbers: every metric with its counts and interval, per arm, slice and category.

Names follow R2 of the field's common ones (BFCL, tau-bench, agentevals, NVIDIA's flywheel). Each metric is a sum over cases
divided by another; cases that ended in an infrastructure error are left out of all but `infra_error_rate`. What each one
counts is said in docs/evaluation.md.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from flywheel.detectors.finding import BUCKETS
from flywheel.statistics.paired import Interval
from flywheel.statistics.pass_k import case_pass_k
from flywheel.statistics.ratios import clustered_ratio, percentile

Row = Mapping[str, Any]
ALL = "all"
_MODES = ("strict", "unordered", "subset", "superset")


class Ratio(NamedTuple):
    """One metric: what a row adds above and below the line (None: the row says nothing), its unit, whether it is a share."""

    above: Callable[[Row], float | None]
    below: Callable[[Row], float | None]
    unit: str = "share"


def _one(row: Row) -> float:
    return 1.0


def _flag(name: str) -> Callable[[Row], float | None]:
    return lambda row: None if row[name] is None else float(row[name])


def _when(condition: Callable[[Row], bool]) -> Callable[[Row], float | None]:
    return lambda row: 1.0 if condition(row) else None


def _called(row: Row) -> bool:
    return row["calls"] > 0


_RATIOS: dict[str, Ratio] = {
    "task_success": Ratio(_flag("success"), _one),
    "schema_valid_rate": Ratio(_flag("schema_valid_calls"), _flag("calls")),
    "tool_selection_accuracy": Ratio(_flag("tool_selection"), _one),
    "function_name_and_args_accuracy": Ratio(_flag("arguments_match"), _one),
    "bfcl_compat_accuracy": Ratio(_flag("bfcl_compat"), _one),
    "tool_call_precision": Ratio(_flag("matched_calls"), _flag("compared_calls")),
    "tool_call_recall": Ratio(_flag("matched_calls"), _flag("expected_calls")),
    "tool_call_f1": Ratio(lambda row: 2.0 * row["matched_calls"], lambda row: row["compared_calls"] + row["expected_calls"]),
    "error_recovery_rate": Ratio(_flag("success"), _when(lambda row: row["tool_errors"] > 0)),
    "refusal_precision": Ratio(
        lambda row: float(row["expects_call"] is False),
        _when(lambda row: row["expects_call"] is not None and not _called(row)),
    ),
    "refusal_recall": Ratio(lambda row: float(not _called(row)), _when(lambda row: row["expects_call"] is False)),
    "over_refusal_rate": Ratio(lambda row: float(not _called(row)), _when(lambda row: row["expects_call"] is True)),
    "hallucinated_call_rate": Ratio(_flag("unknown_tool_calls"), _flag("calls")),
    "forbidden_write_rate": Ratio(lambda row: float(row["forbidden_calls"] > 0), _one),
    "steps_per_case": Ratio(_flag("model_steps"), _one, "steps"),
    "prompt_tokens_per_case": Ratio(_flag("prompt_tokens"), _one, "tokens"),
    "completion_tokens_per_case": Ratio(_flag("completion_tokens"), _one, "tokens"),
    **{f"trajectory_match_{mode}": Ratio(lambda row, mode=mode: _mode(row, mode), _one) for mode in _MODES},
    **{f"failed_by_{bucket}": Ratio(lambda row, bucket=bucket: float(row["failure_bucket"] == bucket), _one)
       for bucket in BUCKETS if bucket != "infra_error"},
}  # fmt: skip


def _mode(row: Row, mode: str) -> float | None:
    text = row["trajectory_match"]
    return float(json.loads(text)[mode]) if text else None


def metric_rows(rows: Sequence[Row], *, rates: Mapping[str, float]) -> list[dict[str, Any]]:
    """EVAL_METRICS rows (without partition columns) of all arms of one evaluation.

    Args:
        rows: EVAL_RESULTS rows; a `slice` column is used where there is one.
        rates: the pack's costs an hour; `accelerator_hour` gives `cost_per_1000_steps`, but not of an endpoint: its hours are not ours.
    """
    found = []
    for arm in dict.fromkeys(row["arm"] for row in rows):
        of_arm = [row for row in rows if row["arm"] == arm]
        busy = busy_share(of_arm)
        asked = any('"endpoint":' in (row.get("server") or "") for row in of_arm)
        slices = sorted({row.get("slice") or "core" for row in of_arm})
        for slice_name in [ALL, *slices] if len(slices) > 1 else [ALL]:
            part = [row for row in of_arm if slice_name in (ALL, row.get("slice") or "core")]
            for category in [ALL, *sorted({row["category"] for row in part})]:
                chosen = [row for row in part if category in (ALL, row["category"])]
                place = {"arm": arm, "slice": slice_name, "category": category}
                found += [{**place, **values} for values in _metrics(chosen, busy, {} if asked else rates)]
    return found


def _metrics(rows: Sequence[Row], busy: float, rates: Mapping[str, float]) -> Iterator[dict[str, Any]]:
    yield _ratio("infra_error_rate", rows, Ratio(lambda row: float(row["infra_error"] is not None), _one))
    done = [row for row in rows if row["infra_error"] is None]
    for name, ratio in _RATIOS.items():
        yield _ratio(name, done, ratio)
    yield from _reliability(done)
    hour = rates.get("accelerator_hour")
    if hour is not None:
        price = 1000 * hour / 3600 * busy
        cost = Ratio(lambda row: price * row["seconds"], _flag("model_steps"), "currency")
        yield _ratio("cost_per_1000_steps", done, cost)
    steps = [seconds for row in done for seconds in json.loads(row["step_seconds"])]
    for name, values in (("step_seconds", steps), ("loop_seconds", [row["seconds"] for row in done])):
        for p in (50, 95):
            yield _described(f"{name}_p{p}", percentile(values, p / 100), None, done, "seconds")


def _ratio(name: str, rows: Sequence[Row], ratio: Ratio) -> dict[str, Any]:
    """Epochs of one case stand in one cluster, so they are never taken for independent cases."""
    told = [(row, below, above) for row in rows
            if (below := ratio.below(row)) is not None and (above := ratio.above(row)) is not None]  # fmt: skip
    interval = clustered_ratio(
        [above for _, _, above in told], [below for _, below, _ in told], [row["case_cluster"] for row, _, _ in told],
        share=ratio.unit == "share",
    )  # fmt: skip
    numerator = math.fsum(above for _, _, above in told)
    interval = interval._replace(n=math.fsum(below for _, below, _ in told))  # type: ignore[arg-type]
    return _described(name, interval, numerator, [row for row, _, _ in told], ratio.unit)


def _reliability(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """pass^k for k from 2 to the number of epochs, as `flywheel.statistics.pass_k` estimates it; a case is one observation.

    A case that ran less than k times, since an epoch of it was lost, is left out of pass^k.
    """
    cases: dict[str, list[Row]] = {}
    for row in rows:
        cases.setdefault(row["case_id"], []).append(row)
    for k in range(2, max((len(runs) for runs in cases.values()), default=0) + 1):
        reliable = [
            {**runs[0], "share": case_pass_k(sum(bool(run["success"]) for run in runs), len(runs), k)}
            for runs in cases.values() if len(runs) >= k
        ]  # fmt: skip
        yield _ratio(f"pass^{k}", reliable, Ratio(_flag("share"), _one))


def _described(
    name: str, interval: Interval, numerator: float | None, rows: Sequence[Row], unit: str
) -> dict[str, Any]:
    def known(value: float) -> float | None:
        return None if math.isnan(value) else value

    return {
        "metric": name, "value": known(interval.estimate), "low": known(interval.low), "high": known(interval.high),
        "numerator": numerator, "denominator": float(interval.n), "cases": len({row["case_id"] for row in rows}),
        "clusters": len({row["case_cluster"] for row in rows}), "unit": unit,
    }  # fmt: skip


def busy_share(rows: Sequence[Row]) -> float:
    """Seconds the server was busy with these cases, over the sum of their own seconds: 1 one after the other, 1/16 at best with 16 at once.

    The union of the cases' times, so that a pause between two sittings costs nothing.
    """
    spans = sorted((row["started_at"].timestamp(), row["seconds"]) for row in rows if row["seconds"])
    total, end = 0.0, -math.inf
    for start, seconds in spans:
        total += max(0.0, start + seconds - max(start, end))
        end = max(end, start + seconds)
    summed = math.fsum(seconds for _, seconds in spans)
    return total / summed if summed else 0.0
