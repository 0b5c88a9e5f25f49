"""The held-out split: near-duplicate groups that never train, by time, stratified by failure bucket and tool, stable as data grows.

A group is decided once, in the week that first brings it: of the groups of its stratum, in order of arrival, every so-and-so-many-th
is held out. The table only grows, so later weeks change nothing; a group that trained before, or that a demonstration or a verified run
showed before, is never held out afterwards. A stratum with a single group stays in training: there is nothing to compare it with.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import polars as pl

from flywheel.benchmark.fingerprints import calls_in, fingerprints_of, tool_vocabulary
from flywheel.datasets.steps import user_text
from flywheel.toolcalls.arguments import sha256_of

Row = Mapping[str, Any]


def stratum_of(row: Row) -> str:
    """Failure bucket and tool: what a held-out row stands for."""
    return f"{row['bucket'] or 'none'} · {row['tool'] or 'no call'}"


def known_groups(rows: pl.DataFrame, trained: pl.DataFrame, week: str) -> set[str]:
    """Groups that it is too late to hold out in `week`: one that trained before is no test of what was learned.

    Args:
        rows: candidates of every source up to `week`, with near_duplicate_group, week and kept_out.
        trained: row_id and near_duplicate_group of every row in a dataset that was written. Groups may have become one since, so
            that a row counts by its id too.
    """
    groups = pl.col("near_duplicate_group")
    shown = (pl.col("week") < week) & (pl.col("kept_out") == "")
    again = pl.col("row_id").is_in(trained["row_id"].unique().implode())
    return {*rows.filter(shown | again).select(groups.unique()).to_series(), *trained["near_duplicate_group"].unique()}


def newly_held_out(rows: Iterable[Row], share: float, week: str, known: Collection[str] = ()) -> dict[str, str]:
    """Groups to hold out in `week`: near_duplicate_group -> stratum.

    Args:
        rows: all correction steps up to `week`, with near_duplicate_group and week.
        share: of each stratum's groups, 0 to 1.
        known: groups that are not held out; they are counted.

    Counting goes over all groups in order of arrival, so weeks decide what one pass over all of them would.
    """
    first: dict[str, tuple[str, str, str]] = {}
    for row in rows:
        key = (row["week"], sha256_of(row["near_duplicate_group"]), stratum_of(row))
        group = row["near_duplicate_group"]
        first[group] = min(first.get(group, key), key)
    strata: dict[str, list[tuple[str, str, str]]] = {}
    for group, (arrived, spread, stratum) in first.items():
        strata.setdefault(stratum, []).append((arrived, spread, group))
    held: dict[str, str] = {}
    for stratum, groups in strata.items():
        for place, (arrived, _, group) in enumerate(sorted(groups)):
            due = int((place + 1) * share + 1e-9) > int(place * share + 1e-9)
            if due and arrived == week and group not in known:
                held[group] = stratum
    return held


def held_out_row(row: Row, week: str, stratum: str) -> dict[str, Any]:
    """HELD_OUT row without partition columns: a step with its fingerprints, so that nothing near it trains."""
    messages, target, tools = (json.loads(row[name]) for name in ("messages", "target", "tools"))
    calls = calls_in([*messages, target])
    return {
        **{name: row[name] for name in ("row_id", "source_id", "conversation_id", "principal_ref", "near_duplicate_group", "tools",
                                        "messages", "target")},
        "held_out_week": week,
        "stratum": stratum,
        **fingerprints_of(user_text(messages), calls, [row["conversation_id"]], tool_vocabulary(tools)),
    }  # fmt: skip
