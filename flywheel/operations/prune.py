"""`flywheel prune`: what policy says may go, why everything else stays, and the taking away itself.

The plan is made first and is all that `--dry-run` shows; the same plan is then carried out, thing by thing. What serves, was promoted or
was handed to people never stands in it. Corrections and the promotion log are append-only and stay: `flywheel erase` is for people.
"""

import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import dagster as dg
import polars as pl

from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel.lake.cut import LOG
from flywheel.lake.place import is_remote
from flywheel.lake.retention import drop_old_versions, is_pruned, old_versions, partition_sizes, take_rows_away
from flywheel.operations.alone import alone
from flywheel.operations.keeping import adapters_to_keep, pinned_versions, promoted_adapters
from flywheel.operations.prune_runs import drop_run, runs_to_judge
from flywheel.promotion.pointer import decisions, history
from flywheel.settings import Settings
from flywheel.workflows.loader import find_pack, installed_workflows

# Rows of production that are pruned together: runs, their near-duplicates, and what was refused.
TRACES = ("production_traces", "near_duplicates", "quarantined_records")
_YOUNG = timedelta(days=7)  # what no row names yet may be in the making


class Thing(NamedTuple):
    """Something that goes or stays.

    Attributes:
        kind: traces, inbox, adapter, bundle, scratch, versions or runs.
        workflow: whose it is; empty for what all share.
        name, bytes: what it is called, and what it takes on disk.
        goes: whether policy takes it away.
        why: one sentence for either.
        take: takes it away; nothing for what stays.
    """

    kind: str
    workflow: str
    name: str
    bytes: int
    goes: bool
    why: str
    take: Callable[[], object] = lambda: None


def plan(settings: Settings, on: dg.DagsterInstance | None, today: date | None = None) -> list[Thing]:
    """Everything policy speaks of, in the order in which it is taken away. Nothing is changed.

    Args:
        on: the instance whose runs are looked at; None leaves Dagster alone.
        today: the day that weeks are counted back from.

    Raises FlywheelError when a pack cannot be read.
    """
    lake, day = Lake(settings.lake()), today or datetime.now(UTC).date()
    workflows = installed_workflows(settings.workflows())
    sizes = partition_sizes(lake)
    things: list[Thing] = []
    for workflow in workflows:
        policy = find_pack(
            settings.workflows(), workflow
        ).settings.retention  # a broken pack must not mean the defaults
        log = lake.read_weeks("promotion_log", workflow=workflow)
        things += _traces(settings, lake, workflow, sizes, _weeks_back(day, policy.traces_weeks))
        things += _adapters(settings, lake, workflow, policy.adapters_weeks)
        things += _bundles(settings, workflow, log)
        things += _scratch(settings, workflow, log, _weeks_back(day, policy.scratch_weeks))
    things += _versions(settings, lake, workflows)
    return [*things, *(_runs(settings, lake, workflows, on, day) if on else [])]


def prune(settings: Settings, on: dg.DagsterInstance | None, today: date | None = None) -> list[Thing]:
    """Make the plan and take away what goes; returns the plan. Raises FlywheelError while a backup or an erasure is running."""
    with alone(settings, "a prune"):
        things = plan(settings, on, today)
        for thing in things:
            if thing.goes:
                try:
                    thing.take()
                except OSError as error:
                    raise FlywheelError(f"{thing.kind} {thing.name} cannot be removed: {error}", where=str(settings.home),
                                        remedy="mend its rights, then run it again: what is gone already is not looked for") from None  # fmt: skip
        return things


def _weeks_back(day: date, weeks: int | None) -> str | None:
    """The first week that stays; None: all of them."""
    monday = day - timedelta(days=day.weekday())
    return None if weeks is None else (monday - timedelta(weeks=weeks)).isoformat()


def _traces(settings: Settings, lake: Lake, workflow: str, sizes: pl.DataFrame, first: str | None) -> Iterator[Thing]:
    held = sizes.filter(pl.col("table").is_in(TRACES), pl.col("rows") > 0, workflow=workflow)
    if first is None:
        yield Thing(
            "traces", workflow, "all weeks", int(held["bytes"].sum()), False, "retention.traces_weeks is null: for ever"
        )
        return
    origins = _origins(lake, workflow)
    for row in held.filter(pl.col("week") < first).iter_rows(named=True):
        table, week = row["table"], row["week"]
        why = f"older than retention.traces_weeks, which begins with {first}"
        left = lake.read_columns(table, ("week", "trace_id"), workflow=workflow, where=pl.col("week") == week)
        if (
            is_pruned(lake, table, workflow=workflow, week=week)
            and "trace_id" in left.columns
            and set(left["trace_id"]) <= origins
        ):
            yield Thing(
                "traces",
                workflow,
                f"{table} {week}",
                row["bytes"],
                False,
                f"benchmark cases were made of its {left.height} runs",
            )
            continue
        yield Thing("traces", workflow, f"{table} {week}", row["bytes"], True, why,
                    lambda table=table, week=week: take_rows_away(lake, table, workflow=workflow, week=week, but=origins))  # fmt: skip
    young = held.filter(pl.col("week") >= first)
    if young.height:
        yield Thing("traces", workflow, f"{young['week'].n_unique()} weeks from {young['week'].min()}", int(young["bytes"].sum()), False,
                    f"not older than retention.traces_weeks, which begins with {first}")  # fmt: skip
    for row in lake.read_weeks("inbox_ledger", workflow=workflow).iter_rows(named=True):
        file = settings.inbox(workflow) / row["source_file"]
        newest = max([*json.loads(row["weeks"]), row["first_read_week"]])
        if newest < first and file.is_file():
            yield Thing(
                "inbox",
                workflow,
                row["source_file"],
                file.stat().st_size,
                True,
                f"its newest run is of {newest}",
                file.unlink,
            )


def _origins(lake: Lake, workflow: str) -> set[str]:
    """Runs that benchmark cases were made of: they stay, so that an erasure finds the case by the person."""
    tables = ("benchmark", "benchmark_drafts")
    return {
        run
        for table in tables
        for run in lake.read_columns(table, ("origin_trace_id",), workflow=workflow)["origin_trace_id"]
        if run
    }


def _adapters(settings: Settings, lake: Lake, workflow: str, weeks: int | None) -> Iterator[Thing]:
    kept, folder = adapters_to_keep(lake, workflow, weeks), settings.checkpoints(workflow)
    known = set(lake.read_columns("checkpoint", ("adapter_id",), workflow=workflow)["adapter_id"])
    for path in _folders(folder):
        named = (
            f"never promoted, and not of the newest {weeks} weeks" if path.name in known else "no checkpoint names it"
        )
        young = path.name not in known and _is_young(path)
        why = kept.get(path.name) or ("made in the last seven days" if young else named)
        yield _folder("adapter", workflow, path, path.name not in kept and not young, why)


def _bundles(settings: Settings, workflow: str, log: pl.DataFrame) -> Iterator[Thing]:
    standing = {served.adapter_id for served in history(log)[-2:]}
    waiting = set(decisions(log).sort("week").tail(1)["candidate_adapter_id"]) & set(promoted_adapters(log))
    for path in _folders(settings.bundles(workflow)):
        try:
            adapter = json.loads((path / "bundle.json").read_text(encoding="utf-8"))["adapter_id"]
        except (OSError, ValueError, KeyError):
            adapter = None
        stays = adapter in standing | waiting or _is_young(path)
        why = (
            f"of {adapter}, which serves, may serve again or is new"
            if stays
            else f"of {adapter}, which does not serve; flywheel bundle makes it again"
        )
        yield _folder("bundle", workflow, path, not stays, why)


def _scratch(settings: Settings, workflow: str, log: pl.DataFrame, first: str | None) -> Iterator[Thing]:
    decided = set(decisions(log)["week"])
    for path in _folders(settings.home / "scratch" / workflow):
        old = first is not None and path.name < first
        why = (
            "its week is not decided" if path.name not in decided else "decided, and older than retention.scratch_weeks" if old
            else "newer than retention.scratch_weeks"
        )  # fmt: skip
        yield _folder("scratch", workflow, path, old and path.name in decided, why)


def _versions(settings: Settings, lake: Lake, workflows: Iterable[str]) -> Iterator[Thing]:
    if is_remote(lake.root):
        yield Thing(
            "versions",
            "",
            str(lake.root),
            0,
            False,
            "they lie in a bucket: its own rules are for old objects (docs/deployment.md)",
        )
        return
    days, pins = settings.keep_versions_days, pinned_versions(lake, workflows)
    for folder in sorted(path.parent for path in Path(lake.root).glob(f"*/{LOG}")):
        mine = pins.get(folder.name, {})
        found = old_versions(folder, days=days, pins=mine)
        if found.data or found.log:
            yield Thing("versions", "", f"{folder.name}: {len(found.data)} data files, {len(found.log)} log entries", found.bytes, True,
                        f"only versions older than {days} days need them",
                        lambda folder=folder, mine=mine: drop_old_versions(folder, days=days, pins=mine))  # fmt: skip
        for version in found.pinned:
            yield Thing("versions", "", f"{folder.name} version {version}", 0, False, mine[version])


def _runs(
    settings: Settings, lake: Lake, workflows: Iterable[str], on: dg.DagsterInstance, day: date
) -> Iterator[Thing]:
    wrote = {run for workflow in workflows for run in lake.all_lineage(workflow=workflow)["run_id"]} - {""}
    for run in runs_to_judge(on, before=day - timedelta(days=settings.keep_runs_days), wrote=wrote):
        take = (lambda run_id=run.run_id: drop_run(on, run_id)) if run.goes else (lambda: None)
        yield Thing("runs", run.workflow, run.run_id, run.bytes, run.goes, run.why, take)


def _folder(kind: str, workflow: str, path: Path, goes: bool, why: str) -> Thing:
    return Thing(kind, workflow, path.name, folder_bytes(path), goes, why, lambda: shutil.rmtree(path))


def _folders(folder: Path) -> list[Path]:
    return (
        sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink()) if folder.is_dir() else []
    )


def _is_young(path: Path) -> bool:
    return datetime.now(UTC).timestamp() - path.stat().st_mtime < _YOUNG.total_seconds()


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below a folder; files that vanish meanwhile do not count."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_size if path.is_file() else 0
        except OSError:
            continue
    return total
