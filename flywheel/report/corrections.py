"""The weekly page's section on the corrections: how good they were, what they cost, and what that is against the training."""

from typing import Any

import polars as pl

# figure -> what the page calls it, and how its value is written
_QUALITY = {
    "accepted": ("items accepted", "{:.0%}"),
    "audit_failed": ("audited items found wrong", "{:.0%}"),
    "audit_minor": ("audited items with a minor defect", "{:.0%}"),
    "gold_pass_rate": ("gold answers right", "{:.0%}"),
    "known_bad_caught": ("spoiled corrections caught in review", "{:.0%}"),
    "agreement_step": ("agreement on the first wrong step", "{:.2f}"),
    "agreement_kind": ("agreement on the kind of fix", "{:.2f}"),
    "agreement_tool": ("agreement on the tool", "{:.2f}"),
    "agreement_arguments": ("agreement on the arguments", "{:.2f}"),
}
_COST = {
    "active_seconds": ("active seconds in all", "{:,.0f}"),
    "active_seconds_per_accepted": ("active seconds per accepted correction", "{:,.0f}"),
    "seconds_to_first_edit": ("seconds to the first edit", "{:.1f}"),
    "cost": ("cost of the experts", "{:,.2f}"),
    "cost_per_accepted": ("cost per accepted correction", "{:,.2f}"),
}


def quality_rows(quality: pl.DataFrame) -> list[list[Any]]:
    """Measure, value with interval, on how many, note; unknown is said so. Empty before the batch is through its gate."""
    return _rows(quality, _QUALITY)


def cost_rows(quality: pl.DataFrame, checkpoint: pl.DataFrame) -> list[list[Any]]:
    """The same for time and money, with the cost of the people over the cost of the training where both are known."""
    rows = _rows(quality, _COST)
    known = dict(zip(quality["figure"], quality["value"], strict=True))
    cost, rate = known.get("cost"), known.get("accelerator_hour")
    if rows and checkpoint.height and cost is not None and rate:
        trained = checkpoint["seconds"][0] / 3600 * rate
        if trained > 0:
            rows.append(["people over training, in cost", f"{cost / trained:,.0f} to 1", 1, f"training {trained:,.2f}"])
    return rows


def fixed_rows(clusters: pl.DataFrame, quality: pl.DataFrame, week: str) -> list[list[Any]]:
    """What a failure that no longer comes cost: all corrections so far over the weekly failures of the clusters that are fixed.

    Args:
        clusters, quality: `failure_clusters` and `correction_quality` of all weeks up to `week`.

    A fixed cluster counts with its failures of the last week that saw it. Empty where no cost is known: the pack states no rates.
    """
    spent = sum(quality.filter(figure="cost")["value"].drop_nulls().to_list(), 0.0)
    if not spent:
        return []
    removed, names = removed_failures(clusters, week)
    note = f"{removed} failures a week of {names} clusters; all corrections so far cost {spent:,.2f}"
    return [
        ["cost per fixed failure", f"{spent / removed:,.2f}" if removed else "no cluster is fixed yet", removed, note]
    ]


def removed_failures(clusters: pl.DataFrame, week: str) -> tuple[int, int]:
    """Failures a week that no longer come in `week`, and of how many clusters: each counts as in the last week that saw it."""
    fixed = clusters.filter(week=week, status="fixed").select("failure_cluster", week=pl.col("last_seen_week"))
    return sum(clusters.join(fixed, on=["failure_cluster", "week"], how="semi")["failures"].to_list()), fixed.height


def effort_rows(effort: pl.DataFrame) -> list[list[Any]]:
    """Person, role, items, active seconds, left as it was, changed, returned, mean edit distance, cost."""
    columns = (
        "name",
        "role",
        "items",
        "active_seconds",
        "accepted_as_is",
        "changed",
        "returned",
        "edit_distance",
        "cost",
    )
    mine = effort.filter(grouping="person").sort("role", "name")
    return [[_short(row[name]) for name in columns] for row in mine.iter_rows(named=True)]


def _rows(quality: pl.DataFrame, wanted: dict[str, tuple[str, str]]) -> list[list[Any]]:
    found = {row["figure"]: row for row in quality.iter_rows(named=True)}
    rows = []
    for name, (title, style) in wanted.items():
        if row := found.get(name):
            value = "unknown" if row["value"] is None else style.format(row["value"])
            if row["low"] is not None:
                value += f" ({style.format(row['low'])} to {style.format(row['high'])})"
            rows.append([title, value, row["n"], row["note"]])
    return rows


def _short(value: Any) -> Any:
    return "–" if value is None else f"{value:,.1f}" if isinstance(value, float) else value
