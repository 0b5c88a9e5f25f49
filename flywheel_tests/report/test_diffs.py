"""Cases that changed: regressed first, by path, whatever shape the answer has."""

import json
from collections.abc import Mapping
from typing import Any

import polars as pl
import pytest

from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel.report.diffs import case_diffs, change_line, discordant, example_rows, week_diffs
from flywheel.report.diffs_section import diffs_section
from flywheel_tests.report.conftest import Weeks
from flywheel_tests.report.synthetic import WORKFLOW, arm_rows

HOSTILE = "<script>alert(1)</script>\u202e|`"


def call(name: str, arguments: str) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": name, "arguments": arguments}}]}


Answers = Mapping[str, tuple[bool | None, list[dict[str, Any]]]]


def results(incumbent: Answers, candidate: Answers) -> pl.DataFrame:
    """Rows of both arms: case -> (solved, what the model wrote); the history is one request."""
    rows = []
    for arm, answers in (("incumbent", incumbent), ("candidate", candidate)):
        for one in arm_rows(arm, arm, {case: bool(solved) for case, (solved, _) in answers.items()}):
            solved, wrote = answers[one["case_id"]]
            transcript = json.dumps([{"role": "user", "content": "q"}, *wrote])
            reason = None if solved else f"{arm} failed"
            rows.append({**one, "success": solved, "transcript": transcript, "failure_reason": reason})
    return pl.DataFrame(rows, infer_schema_length=None)


def benchmark(*cases: dict[str, Any]) -> pl.DataFrame:
    rows = [
        {"case_id": case["id"], "case": json.dumps({"messages": [{"role": "user", "content": "q"}], **case})}
        for case in cases
    ]
    return pl.DataFrame(rows, schema={"case_id": pl.String, "case": pl.String})


def case(name: str, expectation: dict[str, Any], tools: list[str] | None = None) -> dict[str, Any]:
    return {"id": name, "exercises": {"buckets": ["wrong_arguments"], "tools": tools or []}, "expectation": expectation}


PAY = case("pay", {"kind": "call", "calls": [{"name": "pay", "arguments": {"id": {"exact": "R1"}}}]}, ["pay"])
SAY = case("say", {"kind": "reply", "includes": [["sorry", "cannot"]], "excludes": ["sure"]})
RUN = case("run", {"kind": "episode", "actions": [{"name": "refund", "arguments": {"id": "R1"}}], "outputs": ["R1"]})


def test_what_changed_is_told_by_path_and_the_failing_arm_gives_the_reason():
    before = {"pay": (True, [call("pay", '{"id": "R1"}')]), "say": (False, [{"role": "assistant", "content": "sure"}])}
    after = {
        "pay": (False, [call("pay", '{"id": "R2", "fast": true}')]),
        "say": (True, [{"role": "assistant", "content": "sorry"}]),
    }
    regressed, fixed = case_diffs(results(before, after), benchmark(PAY, SAY))
    assert (regressed.outcome, regressed.reason, regressed.asked) == ("regressed", "candidate failed", "q")
    assert [change_line(one) for one in regressed.changes] == ['steps[0].calls[0].arguments.id: "R1" → "R2"', "steps[0].calls[0].arguments.fast: + true"]  # fmt: skip
    assert regressed.expected == ['pay(id={"exact": "R1"})'] and regressed.candidate == ['pay(id="R2", fast=true)']
    assert (fixed.outcome, fixed.reason) == ("fixed", "incumbent failed")
    assert fixed.expected == ["no call, and a reply with 'sorry' or 'cannot'", "without 'sure'"]
    assert [change_line(one) for one in fixed.changes] == ['steps[0].says: "sure" → "sorry"']


def test_structured_answers_are_told_field_by_field():
    expectation = {"kind": "answer", "response": "refund", "fields": {"state": {"exact": "paid"}}}
    wrote = [{"role": "assistant", "content": json.dumps({"state": state, "id": 1})} for state in ("open", "paid")]
    before, after = ({"pay": (solved, [message])} for solved, message in zip((False, True), wrote, strict=True))
    (fixed,) = case_diffs(results(before, after), benchmark(case("pay", expectation)))
    assert fixed.expected == ['no call, and the structured answer refund(state={"exact": "paid"})']
    assert [change_line(one) for one in fixed.changes] == ['steps[0].says.state: "open" → "paid"']
    assert fixed.candidate == ['{"state": "paid", "id": 1}']
    (words,) = case_diffs(
        results({"pay": (False, [{"role": "assistant", "content": "paid"}])}, after),
        benchmark(case("pay", expectation)),
    )
    assert words.incumbent == ["“paid”"] and words.changes[0].before == "paid"


def test_episodes_broken_json_and_silence_are_told_too():
    before = {
        "run": (
            True,
            [call("refund", '{"id": "R1"}'), {"role": "tool", "content": "ok"}, {"role": "assistant", "content": "R1"}],
        )
    }
    after = {"run": (False, [call("refund", '{"id": ')])}
    (one,) = case_diffs(results(before, after), benchmark(RUN))
    assert one.expected == ['the end state of: refund(id="R1")', "and says 'R1'"]
    assert one.incumbent == ['refund(id="R1")', "“R1”"] and one.candidate == ['refund({"id": )']
    assert [change.kind for change in one.changes] == ["changed", "removed"]
    (silent,) = case_diffs(results({"run": (True, [])}, {"run": (False, [])}), benchmark(RUN))
    assert silent.candidate == ["nothing"] and not silent.changes


def test_an_unscored_case_is_no_regression_and_an_erased_case_says_so():
    (one,) = case_diffs(results({"pay": (True, [])}, {"pay": (None, [])}), benchmark(PAY))
    assert one.outcome == "not comparable" and not discordant([one])
    (gone,) = case_diffs(results({"pay": (True, [])}, {"pay": (False, [])}), benchmark())
    assert gone.expected == ["the case is no longer in the benchmark"] and gone.outcome == "regressed"


def test_repetitions_are_one_case_and_the_first_that_differs_is_shown():
    before = {"pay": (True, [call("pay", "{}")])}
    once = results(before, {"pay": (True, [call("pay", "{}")])})
    twice = results(before, {"pay": (False, [call("stop", "{}")])}).with_columns(epoch=pl.lit(1, pl.Int64))
    (one,) = case_diffs(pl.concat([once, twice], how="vertical_relaxed"), benchmark(PAY))
    assert one.outcome == "regressed" and one.candidate == ["stop()"]


def test_the_section_shows_so_many_of_each_and_stays_inert(weeks: Weeks):
    diffs = week_diffs(weeks.lake, WORKFLOW, weeks.mondays[2])
    assert [one.outcome for one in discordant(diffs, 2)] == ["regressed"] * 2 + ["fixed"] * 2
    html = diffs_section(diffs, WORKFLOW, weeks.mondays[2])
    assert html.count('class="case regressed"') == 6 and "flywheel diff" not in html, "all of them are shown"
    first = diffs_section(week_diffs(weeks.lake, WORKFLOW, weeks.mondays[0]), WORKFLOW, weeks.mondays[0])
    assert first.count('class="case fixed"') == 6 and "all: flywheel diff --workflow door --week 2026-01-05" in first
    written = {"pay": (False, [call(HOSTILE, json.dumps({HOSTILE: HOSTILE}))])}
    page = diffs_section(case_diffs(results({"pay": (True, [])}, written), benchmark(PAY)), WORKFLOW, "w")
    assert "<script" not in page and "\u202e" not in page and "&lt;script&gt;" in page
    assert len(example_rows(diffs)) <= 12 and set(example_rows(diffs)[0]) >= {"case", "outcome", "reason"}
    assert diffs_section([], WORKFLOW, "w") == ""


def test_a_week_without_evaluation_says_where_to_look(lake: Lake):
    with pytest.raises(FlywheelError, match="nothing was evaluated"):
        week_diffs(lake, WORKFLOW, "2026-01-05")
