"""The plan of week zero: cells add up, targets come from the benchmark or the schemas, and hours and money from the pack's figures."""

import pytest

from flywheel.benchmark.cases import load_cases
from flywheel.datasets.week_zero.cells import Cell, cell_of_case, cell_of_run, changes_state
from flywheel.datasets.week_zero.plan import efforts, missing, targets
from flywheel.workflows.learn_settings import WeekZero
from flywheel.workflows.pack import Pack
from flywheel_tests.conftest import SUPPORT_DESK
from flywheel_tests.datasets.samples import called, said
from flywheel_tests.datasets.week_zero.shown import conversation


def tool(name: str, access: str, **properties) -> dict:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": properties, "required": list(properties)}},
            "x-access": access}  # fmt: skip


LOOK, MOVE = (
    tool("look", "read_only", at={"type": "string"}),
    tool("move", "write", to={"enum": ["a", "b", "c", "d"]}, now={"type": "boolean"}),
)


def test_a_run_stands_in_one_cell_by_its_steps_and_its_last_write(pack: Pack):
    def cell(*steps, result="{}", trains_from=0):
        return cell_of_run(conversation(pack, "please", *steps, result=result), trains_from, {"move"})

    assert cell(said("I cannot sing.")) == Cell("refusal", "")
    assert cell(called("look", at="x"), said("There.")) == Cell("tool_calling", "look")
    assert cell(called("look", at="x"), called("move", to="a"), called("look", at="y"), said("Done.")) == Cell(
        "multi_step", "move"
    )
    assert cell(called("move", to="a"), said("It is stuck."), result='{"error": "JAMMED"}') == Cell("recovery", "move")
    assert cell(called("move", to="a"), said("Stuck, sorry."), result='{"error": "JAMMED"}', trains_from=4) == Cell(
        "recovery", ""
    )
    given = conversation(pack, "please", called("move", to="a"), said("Done."))
    assert changes_state(given, 0, {"move"}) and not changes_state(given, 4, {"move"})


def test_without_a_benchmark_the_widest_field_of_each_schema_decides():
    wanted = targets([LOOK, MOVE], [], {"move"}, 3)
    assert wanted[Cell("tool_calling", "look")] == 3 and wanted[Cell("tool_calling", "move")] == 12
    assert {cell: n for cell, n in wanted.items() if cell.category != "tool_calling"} == {
        Cell("multi_step", "move"): 3, Cell("recovery", "look"): 3, Cell("recovery", "move"): 3, Cell("refusal", ""): 3,
    }  # fmt: skip


def test_with_a_benchmark_the_targets_follow_its_cases():
    from flywheel.workflows.loader import load_pack

    desk = load_pack(SUPPORT_DESK)
    cases = load_cases(desk.folder / "benchmark", desk.tools)
    writing = desk.write_tools()
    wanted = targets(desk.tools, cases, writing, 3)
    exercised = {cell_of_case(case, writing) for case in cases}
    assert exercised <= set(wanted) and min(wanted.values()) >= 3
    assert {cell.category for cell in wanted} == {"tool_calling", "multi_step", "refusal", "recovery"}
    tickets = sum(count for cell, count in wanted.items() if cell.tool == "create_ticket")
    assert tickets >= 15, "five topics, three examples each"


def test_what_is_missing_is_costed_by_source_and_rate():
    wanted = missing(
        {Cell("tool_calling", "move"): 10, Cell("refusal", ""): 20, Cell("tool_calling", "look"): 4},
        {Cell("tool_calling", "look"): 7},
    )
    assert wanted == {Cell("tool_calling", "move"): 10, Cell("refusal", ""): 20}
    settings = WeekZero(review=0.2, minutes_to_write=12, minutes_to_review=6)
    by_person, teacher, proposed, verified = efforts(
        wanted, {"move"}, settings, {"annotator_hour": 50, "expert_hour": 100}
    )
    assert (by_person.demonstrations, by_person.writing_hours, by_person.review_hours) == (
        30,
        pytest.approx(6),
        pytest.approx(1.4),
    )
    assert by_person.cost == pytest.approx(6 * 50 + 1.4 * 100)
    assert teacher.review_hours == proposed.review_hours == pytest.approx(
        4.4
    ) and verified.review_hours == pytest.approx(1.4)
    assert efforts(wanted, {"move"}, settings, {"annotator_hour": 50})[0].cost is None, "no rate for those who look"
    assert efforts({}, {"move"}, settings, {})[0].cost == 0
