"""Fix receipts: whose they are, what they count, and what they never show."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flywheel.cli import app
from flywheel.corrections.receipts import Who, receipts
from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel_tests.report.synthetic import WORKFLOW, decide, evaluate, freeze, move, production, row

WEEKS = ["2026-01-05", "2026-01-12", "2026-01-19"]
CLUSTER = "pay · wrong_arguments"
USER = {"role": "user", "content": "Settle invoice R77"}


def corrected(lake: Lake, week: str, *people: dict[str, str]) -> None:
    rows = [row("corrected_traces", correction_id=f"{week}-{n}", item_id=f"{week}-i{n}", failure_cluster=CLUSTER, bucket="wrong_arguments", **one)
            for n, one in enumerate(people)]  # fmt: skip
    lake.replace_partition("corrected_traces", rows, workflow=WORKFLOW, week=week)


def answer(order: str) -> str:
    function = {"name": "pay", "arguments": json.dumps({"order_id": order})}
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": function}]}
    return json.dumps([USER, call])


def story(lake: Lake) -> None:
    """ann and the partner's bob correct in the first week; a1 learns it, serves, and is asked two steps of the second week."""
    freeze(lake, 8)
    for week, count in zip(WEEKS, (40, 30, 5), strict=True):
        production(lake, week, "base", {"wrong_arguments": count})
    corrected(
        lake,
        WEEKS[0],
        {"annotator": "ann", "reviewer": "rob"},
        {"annotator": "ann", "reviewer": "acme/eve"},
        {"annotator": "acme/bob", "reviewer": "ann"},
    )
    lake.replace_partition("checkpoint", [row("checkpoint", adapter_id="a1")], workflow=WORKFLOW, week=WEEKS[0])
    learned = [
        row("sft_dataset", row_id=f"r{n}", source="correction", source_id=f"{WEEKS[0]}-{n}", messages="[]")
        for n in (0, 2)
    ]
    lake.replace_partition("sft_dataset", learned, workflow=WORKFLOW, week=WEEKS[0])
    evaluate(lake, WEEKS[0], "base", "a1", (0.25, 1.0), cases=8)
    decide(lake, WEEKS[0], "PROMOTE", "base", "a1", "a1", cases=8)
    corrected(lake, WEEKS[1], {"annotator": "ann", "reviewer": "rob"}, {"annotator": "kim", "reviewer": "rob"})
    asked: list[dict[str, Any]] = [
        row("prequential_results", case_id=f"step-{n}", arm=arm, epoch=0, adapter_id=adapter, success=right, transcript=answer("R77" if right else "R9"),
            item_id=f"{WEEKS[1]}-i{n}", failure_cluster=CLUSTER)
        for n in range(2) for arm, adapter, right in (("checkpoint", "a1", True), ("incumbent", "base", False))
    ]  # fmt: skip
    lake.replace_partition("prequential_results", asked, workflow=WORKFLOW, week=WEEKS[1])


def test_a_persons_receipt_goes_from_corrections_to_what_came_back(lake: Lake):
    story(lake)
    newest, first = receipts(lake, WORKFLOW, Who("ann"))
    assert (first.week, first.wrote, first.judged, first.trained) == (WEEKS[0], 2, 1, 2)
    assert (first.adapter_id, first.verdict, first.served_since) == ("a1", "PROMOTE", WEEKS[0])
    assert (
        first.headline()
        == f"2 corrections and 1 judged → 1 cluster → 2 trained a1 (PROMOTE), which serves since week {WEEKS[0]}"
    )
    (one,) = first.clusters
    assert (one.corrections, one.then, one.later, one.steps) == (3, (40, 200), (5, 200), (2, 0, 2))
    assert one.cases[0] == 4 and one.cases[1] < one.cases[2] == 4, "the cases about that bucket and tool"
    assert one.sibling is not None and (one.sibling.asked, one.sibling.before_right, one.sibling.after_right) == (
        "Settle invoice R77",
        False,
        True,
    )
    assert (newest.week, newest.adapter_id, newest.trained) == (
        WEEKS[1],
        None,
        0,
    ) and "nothing was trained since" in newest.headline()


def test_an_adapter_that_was_taken_back_is_not_said_to_serve(lake: Lake):
    story(lake)
    move(lake, WEEKS[0], "PROMOTE", "a1", "base", datetime(2026, 1, 9, tzinfo=UTC))
    first = receipts(lake, WORKFLOW, Who("ann"))[-1]
    assert first.headline().endswith(f"trained a1 (PROMOTE), which served from week {WEEKS[0]} on and no longer does")


def test_text_is_shown_only_to_those_who_worked_on_the_very_step(lake: Lake):
    story(lake)
    for who in (Who("acme", partner=True), Who("acme/bob"), Who("acme/eve")):
        (first,) = receipts(lake, WORKFLOW, who)
        assert first.clusters[0].sibling is None and first.clusters[0].steps == (2, 0, 2)
    (partner,) = receipts(lake, WORKFLOW, Who("acme", partner=True))
    assert (partner.wrote, partner.judged, partner.trained) == (1, 1, 1)
    assert receipts(lake, WORKFLOW, Who("ac", partner=True)) == [] == receipts(lake, WORKFLOW, Who("acme")), (
        "a name is no prefix of another"
    )


def test_no_frozen_case_and_no_other_name_ever_stands_on_a_receipt(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    story(lake)
    monkeypatch.setenv("FLYWHEEL_HOME", str(tmp_path))

    def flywheel(*words: str) -> str:
        return CliRunner().invoke(app, ["receipts", "--workflow", WORKFLOW, *words], catch_exceptions=False).output

    told = flywheel("--person", "ann") + flywheel("--partner", "acme") + flywheel("--person", "ann", "--week", WEEKS[0])
    assert (
        "of 4 frozen cases about it" in told
        and 'after, right: pay({"order_id": "R77"})' in told
        and "two weeks later 5 of 200" in told
    )
    asked = [
        json.loads(case)["messages"][0]["content"]
        for case in lake.read_partition("benchmark", workflow=WORKFLOW)["case"]
    ]
    assert asked and not any(text in told for text in asked) and "case-0" not in told
    assert not any(name in told for name in ("rob", "kim", "bob", "eve"))
    with pytest.raises(FlywheelError, match="no accepted correction of nobody"):
        flywheel("--person", "nobody")
    with pytest.raises(FlywheelError, match="whose receipts"):
        flywheel("--person", "a", "--partner", "b")
