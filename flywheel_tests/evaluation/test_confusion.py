"""Expected against called tools: pairs by name first, episodes by their writes, and the matrix as text."""

import json
from typing import Any

import polars as pl

from flywheel.benchmark.cases import Case
from flywheel.evaluation.confusion import NO_CALL, UNKNOWN_TOOL, Cell, confusion, largest, matrix_lines

TOOLS: list[dict[str, Any]] = [
    {"type": "function", "x-access": access, "function": {"name": name, "parameters": {"type": "object"}}}
    for name, access in (("find", "read_only"), ("pay", "write"), ("refund", "write"))
]


def case(name: str, expectation: dict[str, Any]) -> Case:
    return Case(id=name, cluster=name, category="tool_calling", exercises={"buckets": ["wrong_tool_selection"], "tools": []},
                messages=[{"role": "user", "content": "q"}], expectation=expectation)  # type: ignore[arg-type]  # fmt: skip


def expects(name: str, *tools: str) -> Case:
    return case(name, {"kind": "call", "calls": [{"name": tool, "arguments": {}} for tool in tools]})


EPISODE = case(
    "e",
    {
        "kind": "episode",
        "environment": {"seed": 0},
        "actions": [{"name": "find", "arguments": {}}, {"name": "pay", "arguments": {}}],
    },
)
REPLY = case("r", {"kind": "reply"})


def ran(**called: tuple[str, ...] | None) -> pl.DataFrame:
    rows = []
    for name, tools in called.items():
        calls = [{"function": {"name": tool, "arguments": "{}"}} for tool in tools or ()]
        transcript = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "", "tool_calls": calls}]
        rows.append(
            {"case_id": name, "infra_error": "gone" if tools is None else None, "transcript": json.dumps(transcript)}
        )
    return pl.DataFrame(rows, schema_overrides={"infra_error": pl.String})


def counted(cells: list[Cell]) -> dict[tuple[str, str], int]:
    return {(cell.expected, cell.called): cell.count for cell in cells}


def test_equal_names_pair_first_and_what_is_left_stands_against_no_call():
    cases = [expects("a", "pay", "find"), expects("b", "pay"), expects("c", "pay"), expects("d", "pay"), EPISODE, REPLY]
    cells = confusion(
        ran(
            a=("refund", "pay"),
            b=(),
            c=("make_up",),
            d=("pay", "pay"),
            e=("find", "find", "refund"),
            r=("find",),
            gone=("pay",),
        ),
        cases,
        TOOLS,
    )
    assert counted(cells) == {
        ("pay", "pay"): 2, ("find", "refund"): 1, ("pay", NO_CALL): 1, ("pay", UNKNOWN_TOOL): 1, (NO_CALL, "pay"): 1,
        ("pay", "refund"): 1, (NO_CALL, "find"): 1,
    }  # fmt: skip
    assert [cell.called for cell in largest(cells, 9)] and all(
        cell.called != UNKNOWN_TOOL for cell in largest(cells, 9)
    )
    assert len(largest(cells, 2)) == 2


def test_silence_where_silence_is_right_is_on_the_diagonal_and_errors_of_the_server_are_left_out():
    cells = confusion(ran(r=(), b=None), [REPLY, expects("b", "pay")], TOOLS)
    assert counted(cells) == {(NO_CALL, NO_CALL): 1} and largest(cells, 5) == []
    assert confusion(ran(e=("find",)), [EPISODE], TOOLS)[0][:3] == ("pay", NO_CALL, 1), "the gold read is not asked for"


def test_the_matrix_names_rows_and_numbers_columns():
    cells = [Cell("pay", "pay", 40, 40, "a"), Cell("pay", "refund", 3, 2, "b"), Cell(NO_CALL, "pay", 11, 9, "c")]
    lines = matrix_lines(cells)
    assert lines[1].split() == ["1", "pay", "40", "3", "."] and lines[2].split() == ["3", "no", "call", "11", ".", "."]
    assert lines[3].strip() == "2 refund (called, never expected)" and len(matrix_lines([])) == 1
