"""The plan: how many demonstrations each cell wants, and what it takes to have them, by source.

A tool wants `datasets.examples_per_branch` demonstrations for each branch of the widest field of its schema: one call takes one branch of
every field, so the widest decides. Where there is a benchmark, they are spread over the categories as its cases of that tool are; where
there is none, they are all tool_calling, and the other categories get `examples_per_branch` a tool.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from flywheel.benchmark.cases import Case
from flywheel.datasets.coverage import branches_of
from flywheel.datasets.week_zero.cells import Cell, cell_of_case
from flywheel.workflows.learn_settings import WeekZero

_DEFAULT_RATE = "expert_hour"


class Effort(NamedTuple):
    """What the missing demonstrations take from one source: hours of those who write, of those who look, and money where rates are known."""

    source: str
    demonstrations: int
    writing_hours: float
    review_hours: float
    cost: float | None


def targets(
    tools: Sequence[Mapping[str, Any]], cases: Sequence[Case], writing: Collection[str], examples: int
) -> dict[Cell, int]:
    """Demonstrations wanted by cell; cases with tools of their own say nothing about the pack's and are passed over."""
    need = {tool["function"]["name"]: examples * _widest(tool) for tool in tools}
    counted = Counter(cell_of_case(case, writing) for case in cases if case.tools is None)
    return _as_the_benchmark(need, counted, examples) if counted else _as_the_schemas(need, writing, examples)


def missing(wanted: Mapping[Cell, int], there: Mapping[Cell, int]) -> dict[Cell, int]:
    """What is still wanted by cell, cells that have enough left out."""
    return {cell: count - there.get(cell, 0) for cell, count in wanted.items() if count > there.get(cell, 0)}


def efforts(
    wanted: Mapping[Cell, int], writing: Collection[str], settings: WeekZero, rates: Mapping[str, float]
) -> list[Effort]:
    """What the wanted demonstrations take, for each source they could be taken from.

    Every demonstration whose deciding tool writes is looked at by a second person, of the others the share. A person looks at each one a
    teacher shows, and at each old run that no verifier passed.

    Args:
        rates: costs an hour, as in `workflow.yaml`; annotator_hour for writing, reviewer_hour for looking, else expert_hour.
    """
    count = sum(wanted.values())
    second = sum(n if cell.tool in writing else n * settings.review for cell, n in wanted.items())
    write, look = settings.minutes_to_write / 60, settings.minutes_to_review / 60
    hours = {
        "written in the workbench": (count * write, second * look),
        "shown by a teacher": (0.0, (count + second) * look),
        "old runs, each accepted by a person": (0.0, (count + second) * look),
        "old runs, passed by a verifier": (0.0, second * look),
    }
    return [Effort(source, count, *both, _cost(*both, rates)) for source, both in hours.items()]


def _widest(tool: Mapping[str, Any]) -> int:
    """Branches of the tool's widest field; 1 for a tool without any."""
    fields = Counter((branch.path, branch.kind) for branch in branches_of([tool]))
    return max(fields.values(), default=1)


def _as_the_benchmark(need: Mapping[str, int], counted: Counter[Cell], examples: int) -> dict[Cell, int]:
    wanted: dict[Cell, int] = {}
    exercised = 0
    for tool, count in need.items():
        mine = {cell: cases for cell, cases in counted.items() if cell.tool == tool}
        total = sum(mine.values())
        exercised += total
        if not total:
            wanted[Cell("tool_calling", tool)] = count
        wanted |= {cell: max(examples, round(count * cases / total)) for cell, cases in mine.items()}
    called = sum(wanted.values())
    for cell, cases in counted.items():
        if not cell.tool:
            wanted[cell] = max(examples, round(called * cases / max(1, exercised)))
    return _in_order(wanted.items())


def _as_the_schemas(need: Mapping[str, int], writing: Collection[str], examples: int) -> dict[Cell, int]:
    wanted = {Cell("tool_calling", tool): count for tool, count in need.items()}
    wanted |= {Cell("multi_step", tool): examples for tool in need if tool in writing}
    wanted |= {Cell("recovery", tool): examples for tool in need}
    wanted[Cell("refusal", "")] = examples * max(1, sum(tool in writing for tool in need))
    return _in_order(wanted.items())


def _in_order(cells: Iterable[tuple[Cell, int]]) -> dict[Cell, int]:
    return dict(sorted(cells))


def _cost(writing: float, looking: float, rates: Mapping[str, float]) -> float | None:
    """Money for the hours; None where a rate that is needed is not stated."""
    total = 0.0
    for hours, role in ((writing, "annotator_hour"), (looking, "reviewer_hour")):
        rate = rates.get(role, rates.get(_DEFAULT_RATE))
        if hours and rate is None:
            return None
        total += hours * (rate or 0.0)
    return total
