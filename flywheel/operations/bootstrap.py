"""Week zero from plan to dataset: which week it is, how far its demonstrations are, old runs taken for it, and its dataset built.

What goes here: the order of things, and the lake. What does not: the plan, the ledger and the old runs (`flywheel.datasets.week_zero`).
"""

from collections import Counter
from datetime import UTC, datetime
from typing import Any, NamedTuple

import dagster as dg
import polars as pl

from flywheel.benchmark.cases import Case, coverage, load_cases
from flywheel.benchmark.leaks import Registry, read_registry
from flywheel.datasets.teacher import add_row, read_tasks
from flywheel.datasets.week_zero.cells import Cell
from flywheel.datasets.week_zero.ledger import Ledger, Lot, add_drafts, ledger_of, lot_of, write_counting
from flywheel.datasets.week_zero.old_runs import Taken, old_runs
from flywheel.datasets.week_zero.plan import Effort, efforts, missing, targets
from flywheel.datasets.week_zero.prompts import TASKS, Asked, prompts_of_runs
from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel.lake.week_zero import begun
from flywheel.operations.launch import run_job
from flywheel.operations.screen import Screen
from flywheel.partitions import checked_week, partition_key, week_before, week_by_workflow, week_of
from flywheel.promotion.pointer import newest_decided
from flywheel.settings import Settings
from flywheel.workflows.base_model import find_base_model
from flywheel.workflows.loader import find_pack
from flywheel.workflows.pack import Pack

_STAGES = ["corrected_traces", "sft_dataset", "preference_dataset"]


class Line(NamedTuple):
    """One cell of the plan: demonstrations wanted, those that count, wait for a person, and were refused."""

    cell: Cell
    target: int
    counted: int
    waiting: int
    refused: int


class Overview(NamedTuple):
    """Where week zero of a workflow stands; `by_benchmark` says what the targets were made from, `efforts` what is missing takes."""

    pack: Pack
    week: str
    lines: list[Line]
    lot: Lot
    efforts: list[Effort]
    by_benchmark: bool


class Built(NamedTuple):
    """What became of the dataset: rows of it, and rows left out by reason."""

    rows: int
    left_out: dict[str, int]


def overview(settings: Settings, workflow: str, week: str | None = None) -> Overview:
    """The plan and how far it is; nothing is written.

    Args:
        week: the Monday of week zero; by default the week before the first collected one, and once the dataset was begun that week.
    """
    pack, lake = find_pack(settings.workflows(), workflow), Lake(settings.lake())
    cases = load_cases(pack.folder / "benchmark", pack.tools)
    lot = lot_of(_ledger(settings, pack), pack)
    writing = pack.write_tools()
    wanted = targets(pack.tools, cases, writing, pack.settings.datasets.examples_per_branch)
    lines = _lines(wanted, lot)
    still = missing(wanted, {line.cell: line.counted + line.waiting for line in lines})
    took = efforts(still, writing, pack.settings.week_zero, pack.settings.rates)
    return Overview(pack, week_zero(lake, workflow, week, settings.time_zone), lines, lot, took, bool(cases))


def take_old_runs(settings: Settings, seen: Overview) -> Taken:
    """Put old runs that fill the plan's open cells into the ledger; run again, only what is new."""
    lake, ledger = Lake(settings.lake()), _ledger(settings, seen.pack)
    known = {row["trace_id"] for one in seen.lot.standings if (row := one.row).get("trace_id")}
    wanted = missing(
        {line.cell: line.target for line in seen.lines}, {line.cell: line.counted + line.waiting for line in seen.lines}
    )
    taken = old_runs(lake, seen.pack, wanted, known, _registry(lake, seen.pack))
    add_drafts(ledger, [*taken.verified, *taken.proposed])
    return taken


def take_prompts(settings: Settings, seen: Overview, count: int) -> Asked:
    """Add up to `count` tasks made of collected runs to the pack's `tasks.jsonl`; those that are there stay as they are."""
    lake, file = Lake(settings.lake()), seen.pack.folder / TASKS
    known = {task.id for task in read_tasks(file, seen.pack)} if file.is_file() else set()
    asked = prompts_of_runs(lake, seen.pack, count, known, _registry(lake, seen.pack))
    for task in asked.tasks:
        add_row(file, task)
    return asked


def prepare(settings: Settings, seen: Overview) -> list[tuple[str, str]]:
    """Write what counts into the pack; what the dataset still needs, each with the command, and nothing where it can be built."""
    write_counting(_ledger(settings, seen.pack), seen.lot)
    return _waits_for(settings, Lake(settings.lake()), seen)


def build(settings: Settings, seen: Overview, on: dg.DagsterInstance, screen: Screen) -> Built:
    """Write the plan into the lake and build week zero's dataset, once `prepare` found nothing missing; unchanged inputs are no work."""
    pack, lake = seen.pack, Lake(settings.lake())
    _write_plan(lake, seen)
    run_job("freeze", workflow=pack.name, week=None, on=on, screen=screen, stages=["demonstrations"])
    run_job("learn", workflow=pack.name, week=seen.week, on=on, screen=screen, stages=_STAGES)
    rows = lake.read_partition("sft_dataset", workflow=pack.name, week=seen.week).height
    left = lake.read_columns("dataset_left_out", ("week", "reason"), workflow=pack.name).filter(week=seen.week)
    return Built(rows, dict(sorted(Counter(left["reason"]).items())))


def week_zero(lake: Lake, workflow: str, asked: str | None, time_zone: str) -> str:
    """The Monday of week zero: as begun, as asked, or the week before the first one that was collected (else before the newest ended one).

    Raises FlywheelError when another one was begun already.
    """
    known = begun(lake, workflow)
    if asked is not None:
        checked_week(asked)
        if known and known != asked:
            raise FlywheelError(
                f"week zero of {workflow} is {known} already", where="--week", remedy="leave --week out"
            )
    if known:
        return known
    collected = lake.all_lineage(workflow=workflow, tables=["production_traces"])["week"]
    first = min(collected, default=week_before(week_of(datetime.now(UTC), time_zone)))
    return asked or week_before(first)


def _registry(lake: Lake, pack: Pack) -> Registry | None:
    """Fingerprints of the benchmark; None where nothing was ever frozen."""
    return Registry(read_registry(lake, pack.name)) if lake.has_partition("benchmark", workflow=pack.name) else None


def _ledger(settings: Settings, pack: Pack) -> Ledger:
    return ledger_of(settings.bootstrap(), pack.folder)


def _lines(wanted: dict[Cell, int], lot: Lot) -> list[Line]:
    """The plan's cells, and those that have demonstrations without being asked for."""
    by_cell: dict[Cell, Counter[str]] = {cell: Counter() for cell in wanted}
    for one in lot.standings:
        by_cell.setdefault(one.cell, Counter())[one.status] += 1
    return [Line(cell, wanted.get(cell, 0), had["counts"], had["first"] + had["second"], had["refused"])
            for cell, had in sorted(by_cell.items())]  # fmt: skip


def _write_plan(lake: Lake, seen: Overview) -> None:
    rows = [{"week_zero": seen.week, "category": line.cell.category, "tool": line.cell.tool, "target": line.target,
             "counted": line.counted, "waiting": line.waiting, "refused": line.refused} for line in seen.lines]  # fmt: skip
    known = lake.read_weeks("week_zero", workflow=seen.pack.name).drop("workflow")
    if not known.sort("category", "tool").equals(pl.DataFrame(rows, schema=known.schema).sort("category", "tool")):
        lake.replace_partition("week_zero", rows, workflow=seen.pack.name)


def _waits_for(settings: Settings, lake: Lake, seen: Overview) -> list[tuple[str, str]]:
    """What the dataset needs and has not: (what, command)."""
    pack, name = seen.pack, seen.pack.name
    cases: list[Case] = load_cases(pack.folder / "benchmark", pack.tools)
    found: list[tuple[str, str]] = []
    if not seen.lot.of("counts"):
        found.append(("no demonstration counts yet", _next_demonstration(lake, seen)))
    if gone := coverage(cases):
        found.append((f"the benchmark has no {', '.join(gone)} cases, and nothing trains before it covers all four categories",
                      f"flywheel benchmark new {gone[0]} --workflow {name}"))  # fmt: skip
    elif not lake.has_partition("benchmark", workflow=name):
        found.append(
            ("the benchmark is not frozen", f"flywheel run --workflow {name} --week {seen.week} --stage freeze")
        )
    found += _model(settings, pack)
    newest = newest_decided(lake.read_weeks("promotion_log", workflow=name))
    if newest > seen.week:
        found.append((f"week {newest} is decided: week zero comes too late, demonstrations train with the next week by themselves",
                      f"flywheel run --workflow {name} --week MONDAY"))  # fmt: skip
    elif lake.has_partition("correction_batch", workflow=name, week=seen.week):
        found.append((f"week {seen.week} has a correction batch, and week zero has none",
                      f"flywheel bootstrap {name} --week {week_zero(lake, name, None, settings.time_zone)}"))  # fmt: skip
    elif not _has_partition(seen.week, name):
        later = seen.week >= settings.first_week
        found.append((f"week {seen.week} has not ended" if later else f"week {seen.week} is before this installation's first week, {settings.first_week}",
                      "wait for its end" if later else f"export FLYWHEEL_FIRST_WEEK={seen.week}, for good; then flywheel bootstrap {name}"))  # fmt: skip
    return found


def _model(settings: Settings, pack: Pack) -> list[tuple[str, str]]:
    try:
        find_base_model(settings.models(), settings.base_model or pack.settings.base_model)
    except FlywheelError as error:
        return [(error.what, error.remedy)]
    return []


def _has_partition(week: str, workflow: str) -> bool:
    return week_by_workflow.has_partition_key(partition_key(week, workflow))


def _next_demonstration(lake: Lake, seen: Overview) -> str:
    """The command that brings demonstrations: people who look, prompts that are there, prompts of collected runs, or runs."""
    name = seen.pack.name
    if seen.lot.of("first", "second"):
        return f"flywheel bootstrap {name} --review --by YOUR_NAME"
    if (seen.pack.folder / TASKS).is_file():
        return f"flywheel workbench --workflow {name} (8 demonstrates), or flywheel bootstrap {name} --teacher URL --model NAME"
    if lake.all_lineage(workflow=name, tables=["production_traces"]).height:
        return f"flywheel bootstrap {name} --prompts 30, for experts and teachers to show"
    return f"flywheel run --workflow {name} --week MONDAY --stage collect; or write {TASKS} into the pack"


def too_few(seen: Overview) -> str | None:
    """Why `learn` would bank week zero, or None."""
    counted, wanted = len(seen.lot.of("counts")), seen.pack.settings.learn_when.min_accepted
    return (
        None if counted >= wanted else f"{counted} demonstrations count, and learn_when.min_accepted asks for {wanted}"
    )


def next_command(settings: Settings, seen: Overview, waits: list[tuple[str, str]]) -> str:
    """What to type now: what the dataset waits for, more demonstrations where they are too few to train, else the training."""
    if waits:
        return waits[0][1]
    if too_few(seen):
        return _next_demonstration(Lake(settings.lake()), seen)
    return f"flywheel run --workflow {seen.pack.name} --week {seen.week} --stage learn"


def summary(seen: Overview) -> dict[str, Any]:
    """Figures of an overview, for those who read them by machine."""
    counts = {status: len(seen.lot.of(status)) for status in ("counts", "first", "second", "refused")}  # type: ignore[arg-type]
    return {"workflow": seen.pack.name, "week_zero": seen.week, "share": seen.lot.share, "looked_at": seen.lot.looked_at,
            "refused_there": seen.lot.refused_there, **counts,
            "cells": [{**line.cell._asdict(), **{k: v for k, v in line._asdict().items() if k != "cell"}} for line in seen.lines],
            "efforts": [one._asdict() for one in seen.efforts]}  # fmt: skip
