"""What must stay, and why: adapters that serve or may serve again, and the table versions that they were made from and judged on.

Backup copies what is named here, prune leaves it alone. Both ask the lake; nothing is remembered elsewhere.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping

import polars as pl
from deltalake import DeltaTable

from flywheel.lake import Lake
from flywheel.lake.cut import readable
from flywheel.lake.place import local_folder
from flywheel.promotion.pointer import BASE, decisions, history, serving
from flywheel.workflows.serving_settings import is_endpoint

# What a checkpoint's lineage does not name as its inputs: itself, and what it was judged by.
_EVIDENCE = ("checkpoint", "eval_results", "eval_metrics", "promotion")


def adapters_to_keep(lake: Lake, workflow: str, weeks: int | None) -> dict[str, str]:
    """Adapter id -> why it stays. `weeks`: so many newest weeks keep what they trained, promoted or not; None: all of them."""
    log = lake.read_weeks("promotion_log", workflow=workflow)
    trained = lake.read_columns("checkpoint", ("week", "adapter_id"), workflow=workflow).sort("week", descending=True)
    newest = sorted(set(trained["week"]), reverse=True)
    reasons = {
        row["adapter_id"]: f"trained for {row['week']}, one of the newest {weeks} weeks"
        if weeks
        else f"trained for {row['week']}"
        for row in trained.iter_rows(named=True)
        if weeks is None or row["week"] in newest[:weeks]
    }
    return {**reasons, **promoted_adapters(log)}


def promoted_adapters(log: pl.DataFrame) -> dict[str, str]:
    """Adapters of a promotion log that were promoted, have served, or serve -> which of these."""
    reasons: dict[str, str] = {}
    for row in decisions(log).filter(verdict="PROMOTE").sort("week").iter_rows(named=True):
        if row["candidate_adapter_id"]:
            reasons[row["candidate_adapter_id"]] = f"promoted in the week of {row['week']}"
    for row in log.sort("week", "decided_at").iter_rows(named=True):
        reasons.setdefault(
            row["served_adapter_id"], f"has served since an act in the week of {row['week'] or 'none yet'}"
        )
        reasons.setdefault(row["previous_adapter_id"], "has served")
    standing = history(log)
    if len(standing) > 1:
        reasons[standing[-2].adapter_id] = "a rollback would let it serve again"
    reasons[serving(log)] = "serves"
    return {adapter: why for adapter, why in reasons.items() if adapter != BASE and not is_endpoint(adapter)}


def pinned_versions(lake: Lake, workflows: Iterable[str]) -> dict[str, dict[int, str]]:
    """Table -> version -> which promoted adapter was made from it or judged on it."""
    pins: defaultdict[str, dict[int, str]] = defaultdict(dict)
    for workflow in workflows:
        promoted = promoted_adapters(lake.read_weeks("promotion_log", workflow=workflow))
        for adapter, week in _weeks_of(lake, workflow, set(promoted)).items():
            for table, version in _made_from(lake, workflow, week, adapter):
                pins[table].setdefault(version, f"{adapter} of {workflow} {promoted[adapter]}")
    return {table: dict(sorted(versions.items())) for table, versions in sorted(pins.items())}


def _weeks_of(lake: Lake, workflow: str, adapters: set[str]) -> dict[str, str]:
    """Adapter -> week that trained it; a week may have been trained again since, so the decisions are asked too."""
    judged = decisions(lake.read_weeks("promotion_log", workflow=workflow)).sort("week", descending=True)
    weeks = dict(judged.select("candidate_adapter_id", "week").rows())
    trained = lake.read_columns("checkpoint", ("adapter_id", "week"), workflow=workflow)
    weeks |= dict(trained.select("adapter_id", "week").rows())
    return {adapter: weeks[adapter] for adapter in sorted(adapters) if adapter in weeks}


def _made_from(lake: Lake, workflow: str, week: str, adapter: str) -> list[tuple[str, int]]:
    written = lake.read_columns("checkpoint", ("adapter_id", "week"), workflow=workflow, where=pl.col("week") == week)
    known = {
        row["table_name"]: row for row in lake.all_lineage(workflow=workflow).filter(week=week).iter_rows(named=True)
    }
    if adapter in set(written["adapter_id"]) and "checkpoint" in known:
        pins = [(table, known[table]["version"]) for table in _EVIDENCE if table in known]
        return [*pins, *_tables(json.loads(known["checkpoint"]["inputs"]))]
    return _earlier(lake, workflow, week, adapter)


def _earlier(lake: Lake, workflow: str, week: str, adapter: str) -> list[tuple[str, int]]:
    """The same of a checkpoint that its week's later one replaced, from the commits of the table, as long as they are kept."""
    folder = local_folder(lake.root, "looking for the versions that adapters were made from") / "checkpoint"
    for commit in DeltaTable(str(folder)).history() if (folder / "_delta_log").is_dir() else []:
        where = str(commit.get("operationParameters", {}).get("predicate", ""))
        if f"'{week}'" not in where or f"'{workflow}'" not in where or readable(folder, commit["version"]) is None:
            continue
        rows = lake.read_partition("checkpoint", workflow=workflow, week=week, version=commit["version"])
        if adapter in set(rows["adapter_id"]):
            return [("checkpoint", commit["version"]), *_tables(json.loads(commit.get("inputs", "{}")))]
    return []


def _tables(inputs: Mapping[str, int]) -> list[tuple[str, int]]:
    """`sft_dataset/2026-01-05: 7` as table and version."""
    return [(place.split("/")[0], version) for place, version in inputs.items()]
