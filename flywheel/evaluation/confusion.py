"""The tool confusion matrix: which tool a case expects, against the one that was called, over failed and passed cases alike.

Counted are tools, not successes: a right tool with wrong arguments stands on the diagonal. Of an episode only the tools that change
something count, because reading more than the gold path does is not wrong.
"""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import polars as pl

from flywheel.benchmark.cases import Case, tools_of
from flywheel.evaluation.scorers.score import calls_of, writing_tools

NO_CALL, UNKNOWN_TOOL = "no call", "unknown tool"


class Cell(NamedTuple):
    """Expected and called tool, how often, in how many cases, and one of them."""

    expected: str
    called: str
    count: int
    cases: int
    example: str

    @property
    def confused(self) -> bool:
        """Whether it lies off the diagonal."""
        return self.expected != self.called


def confusion(results: pl.DataFrame, cases: Sequence[Case], tools: list[dict[str, Any]]) -> list[Cell]:
    """Cells of the matrix, by name; each expected call is counted once a run, and each call nobody expected.

    Args:
        results: EVAL_RESULTS rows of one arm; runs that ended in an infrastructure error are left out.
        cases: the frozen cases they were run on; rows of others are left out.
        tools: the pack's tools, for cases without their own.
    """
    known = {case.id: case for case in cases}
    counts: Counter[tuple[str, str]] = Counter()
    where: dict[tuple[str, str], set[str]] = {}
    for row in results.filter(pl.col("infra_error").is_null()).iter_rows(named=True):
        case = known.get(row["case_id"])
        if case is None:
            continue
        for pair in _pairs(case, json.loads(row["transcript"])[len(case.messages) :], tools_of(case, tools)):
            counts[pair] += 1
            where.setdefault(pair, set()).add(case.id)
    return [Cell(*pair, counts[pair], len(where[pair]), min(where[pair])) for pair in sorted(counts)]


def largest(cells: Sequence[Cell], limit: int) -> list[Cell]:
    """The largest cells off the diagonal, without calls of tools that do not exist: no contrast teaches those."""
    off = [cell for cell in cells if cell.confused and cell.called != UNKNOWN_TOOL]
    return sorted(off, key=lambda cell: (-cell.count, cell.expected, cell.called))[:limit]


def matrix_lines(cells: Sequence[Cell]) -> list[str]:
    """The matrix as text: a row an expected tool, a column a called one, numbered alike; a dot for nothing."""
    names = sorted({cell.expected for cell in cells} | {cell.called for cell in cells}, key=lambda name: (name in (NO_CALL, UNKNOWN_TOOL), name))  # fmt: skip
    found = {(cell.expected, cell.called): cell.count for cell in cells}
    width = max((len(name) for name in names), default=0)
    wide = max([len(str(len(names))), *(len(str(count)) for count in found.values())], default=1) + 1
    lines = [f"{'expected':<{width + 4}}" + "".join(f"{number:>{wide}}" for number in range(1, len(names) + 1))]
    lines += [
        f"{number:>2} {name:<{width + 1}}" + "".join(f"{found.get((name, called), '.'):>{wide}}" for called in names)
        for number, name in enumerate(names, 1)
        if any((name, called) in found for called in names)
    ]
    only_called = [name for name in names if not any((name, called) in found for called in names)]
    return lines + [f"{names.index(name) + 1:>2} {name} (called, never expected)" for name in only_called]


def _pairs(case: Case, own: list[dict[str, Any]], tools: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Expected and called tools paired: equal names first, then in their order; what is left over stands against no call."""
    expectation, names = case.expectation, {tool["function"]["name"] for tool in tools}
    writing = writing_tools(tools)
    made = [call["function"]["name"] for call in calls_of(own)]
    match expectation.kind:
        case "call":
            wanted = [call.name for call in expectation.calls]
        case "episode":
            wanted = [action.name for action in expectation.actions if action.name in writing]
            made = [name for name in made if name in writing or name not in names]
        case _:
            wanted = []
    called = Counter(name if name in names else UNKNOWN_TOOL for name in made)
    right = Counter(wanted) & called
    pairs = [(name, name) for name in right.elements()]
    missing, extra = sorted((Counter(wanted) - right).elements()), sorted((called - right).elements())
    while missing or extra:
        pairs.append((missing.pop(0) if missing else NO_CALL, extra.pop(0) if extra else NO_CALL))
    return pairs or [(NO_CALL, NO_CALL)]
