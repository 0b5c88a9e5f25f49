"""What a verdict asks for: failed cases of those that ran, the remedy, how many corrections; and nothing of it ever trains."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import flywheel
from flywheel.benchmark.cases import Case
from flywheel.lake import TABLES, Lake
from flywheel.promotion.next_asks import MEND_SCHEMA, NO_TOOL, Asking, next_asks
from flywheel.report.next_asks import asks_of
from flywheel_tests.promotion.house import blank

CORRECTIONS = pl.DataFrame(schema=TABLES["corrected_traces"].polars_schema())


def case(name: str, expectation: dict[str, Any], *tools: str) -> Case:
    return Case(id=name, cluster=name, category="tool_calling", exercises={"buckets": ["wrong_arguments"], "tools": list(tools)},
                messages=[{"role": "user", "content": "q"}], expectation=expectation)  # type: ignore[arg-type]  # fmt: skip


def call(name: str, tool: str = "pay", *tools: str) -> Case:
    return case(name, {"kind": "call", "calls": [{"name": tool, "arguments": {}}]}, *tools)


def rows(arm: str, solved: dict[str, bool | None], called: str = "refund", **more: Any) -> list[dict[str, Any]]:
    step = {"role": "assistant", "tool_calls": [{"function": {"name": called, "arguments": "{}"}}]}
    transcript = json.dumps([{"role": "user", "content": "q"}, step])
    return [
        blank("eval_results", case_id=name, arm=arm, epoch=0, adapter_id=arm, success=ok, transcript=transcript, failure_fault="agent",
              failure_reason=None if ok else "no", **more)
        for name, ok in solved.items()
    ]  # fmt: skip


def asking(corrections: pl.DataFrame = CORRECTIONS, verdict: str = "REJECT") -> Asking:
    return Asking(
        lambda bucket: ("steps", "pair") if bucket == "refusal_error" else ("steps",), 3, corrections, verdict
    )


def frame(*parts: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame([row for part in parts for row in part], infer_schema_length=None)


CASES = [call("a"), call("b"), call("c"), case("d", {"kind": "reply"}), call("gone", "pay", "pay")]


def test_failed_cases_of_those_that_ran_with_remedy_and_items_and_most_first(lake: Lake):
    before = rows("incumbent", {"a": True, "b": False, "c": True, "d": True})
    after = rows("candidate", {"a": False, "b": False, "c": True, "d": False, "gone": None})
    first, second = next_asks(frame(before, after), CASES, asking())
    assert (first["bucket"], first["tool"], first["failed"], first["cases"], first["regressed"]) == (
        "wrong_arguments",
        "pay",
        2,
        3,
        1,
    )
    assert (first["remedy"], first["items_wanted"], first["confused_with"]) == ("steps", 6, '["refund"]')
    assert second["tool"] == NO_TOOL and second["failed"] == 1
    lake.replace_partition("next_asks", [second, first], workflow="door", week="2026-01-05")
    asks = asks_of(lake.read_partition("next_asks", workflow="door", week="2026-01-05"))
    assert asks[0].sentence() == (
        "wrong arguments with pay: 2 of 3 cases failed, 1 of them solved by the incumbent; correct 6 runs like it (they train the right steps)"
    )


def test_the_bucket_is_triages_and_repetitions_are_one_case():
    found = rows("candidate", {"a": False}, failure_bucket="refusal_error") + [
        {**row, "epoch": 1, "success": True} for row in rows("candidate", {"a": True})
    ]
    (ask,) = next_asks(frame(found), CASES, asking())
    assert (ask["bucket"], ask["failed"], ask["cases"], ask["remedy"]) == ("refusal_error", 1, 1, "steps+pair")


def test_what_was_corrected_already_is_counted_and_the_advice_changes():
    right = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "tool_calls": [{"function": {"name": "pay", "arguments": "{}"}}]},
    ]
    corrected = pl.DataFrame(
        [blank("corrected_traces", bucket="wrong_arguments", messages=json.dumps(right), first_bad_message_index=1)] * 4, schema=CORRECTIONS.drop("week", "workflow").schema
    )  # fmt: skip
    (ask,) = next_asks(frame(rows("candidate", {"a": False})), CASES, asking(corrected))
    assert ask["corrected"] == 4 and ask["items_wanted"] == 3
    assert "4 corrections of it trained this week and did not help" in asks_of(pl.DataFrame([ask]))[0].advice()


def test_a_tool_nobody_can_call_asks_for_its_schema_and_a_broken_run_for_nothing():
    unusable = [{**row, "failure_fault": "environment"} for row in rows("candidate", {"a": False})]
    (ask,) = next_asks(frame(unusable), CASES, asking())
    assert (ask["remedy"], ask["items_wanted"]) == (MEND_SCHEMA, 0)
    assert asks_of(pl.DataFrame([ask]))[0].advice().startswith("mend the tool's schema")
    assert next_asks(frame(unusable), CASES, asking(verdict="INVALID")) == []
    assert next_asks(frame(rows("candidate", {"a": True})), CASES, asking()) == []


@pytest.mark.parametrize("stage", ["datasets", "training"])
def test_nothing_that_trains_reads_the_asks_or_the_evaluation(stage: str):
    for file in (Path(flywheel.__file__).parent / stage).rglob("*.py"):
        assert "next_asks" not in file.read_text() and '"eval_results"' not in file.read_text(), file
