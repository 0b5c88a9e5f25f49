"""`flywheel bootstrap` in a house of its own: plan, old runs, review and the dataset of week zero, through Dagster, without a model."""

import json
from datetime import UTC, datetime

import dagster as dg
import pytest
from typer.testing import CliRunner

from flywheel.cli import app
from flywheel.datasets.week_zero.ledger import add_drafts, ledger_of
from flywheel.defs.report import weekly_report
from flywheel.defs.resources import House
from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel.operations.bootstrap import build, next_command, overview, prepare, summary, take_old_runs, week_zero
from flywheel.operations.launch import instance
from flywheel.operations.screen import Screen
from flywheel.partitions import partition_key
from flywheel.promotion.pointer import entry
from flywheel.settings import Settings
from flywheel_tests.datasets.samples import said
from flywheel_tests.datasets.week_zero.shown import written
from flywheel_tests.operations.bootstrap.house import ZERO, a_model, accepted, frozen, pack_of, typed


def test_the_plan_is_shown_and_what_the_dataset_waits_for_is_said(settings: Settings):
    told = typed("--plan")
    assert f"door, week zero is {ZERO}" in told and "0 of " in told and "targets from the benchmark's cases" in told
    assert "written in the workbench" in told and "cost" in told and not settings.bootstrap().exists()
    seen = overview(settings, "door")
    figures = json.loads(typed("--json"))
    assert figures == json.loads(json.dumps(summary(seen))) and figures["counts"] == 0
    waits = prepare(settings, seen)
    said_of_it = "; ".join(what for what, _ in waits)
    assert "no demonstration counts yet" in said_of_it and "not frozen" in said_of_it and "tiny-random" in said_of_it
    assert next_command(settings, seen, waits).startswith("flywheel bootstrap door --prompts 30")


def test_week_zero_is_before_the_first_week_and_is_begun_once(settings: Settings, lake: Lake):
    assert (
        week_zero(lake, "door", None, "UTC") < "2100" and week_zero(Lake(settings.lake()), "door", None, "UTC") == ZERO
    )
    row = {"week_zero": ZERO, "category": "refusal", "tool": "", "target": 1, "counted": 0, "waiting": 0, "refused": 0}
    lake.replace_partition("week_zero", [row], workflow="door")
    assert week_zero(lake, "door", ZERO, "UTC") == week_zero(lake, "door", None, "UTC") == ZERO
    with pytest.raises(FlywheelError, match=f"week zero of door is {ZERO} already"):
        week_zero(lake, "door", "2026-02-02", "UTC")
    with pytest.raises(FlywheelError, match="is no Monday"):
        week_zero(lake, "door", "2026-02-03", "UTC")


@pytest.mark.parametrize("case", ["decided", "batch", "partition"])
def test_a_week_that_cannot_be_week_zero_is_told(settings: Settings, case: str):
    lake, week = Lake(settings.lake()), {"batch": "2026-01-12", "partition": "2025-12-29"}.get(case)
    if case == "decided":
        lake.append_new(
            "promotion_log",
            [entry("2026-01-12", "d", "REJECT", "base", "base", datetime(2026, 1, 20, tzinfo=UTC))],
            workflow="door",
        )
    if case == "batch":
        lake.replace_partition("correction_batch", [], workflow="door", week="2026-01-12")
    what, command = prepare(settings, overview(settings, "door", week))[-1]
    wanted = {"decided": ("is decided", "flywheel run"), "batch": ("has a correction batch", f"--week {ZERO}"),
              "partition": ("before this installation's first week", "export FLYWHEEL_FIRST_WEEK=2025-12-29")}[case]  # fmt: skip
    assert wanted[0] in what and wanted[1] in command


@pytest.mark.slow
def test_from_old_runs_to_the_dataset_of_week_zero_and_the_second_time_nothing_is_new(settings: Settings):
    frozen(settings)
    a_model(settings)
    lake, pack = Lake(settings.lake()), pack_of(settings)
    taken = take_old_runs(settings, overview(settings, "door"))
    assert (len(taken.verified), len(taken.proposed)) == (4, 1)
    asked = ("a poem about autumn in the hills", "will it rain in Bern tomorrow morning", "tell my aunt that I am late")
    add_drafts(
        ledger_of(settings.bootstrap(), pack.folder), [written(pack, text, said("Doors only.")) for text in asked]
    )
    accepted(settings, "bob", "cat")
    with instance() as on:
        screen = Screen(settings.home / "run.log")
        seen = overview(settings, "door")
        assert not prepare(settings, seen)
        built = build(settings, seen, on, screen)
        assert built.rows == 13, "five runs of two steps, and three answers"
        assert next_command(settings, seen, []) == f"flywheel run --workflow door --week {ZERO} --stage learn"
        versions = {
            name: lake.version(name) for name in ("sft_dataset", "demonstrations", "week_zero", "corrected_traces")
        }
        assert not take_old_runs(settings, seen).verified
        assert build(settings, overview(settings, "door"), on, screen).rows == 13
        assert {name: lake.version(name) for name in versions} == versions, "nothing was written the second time"
    rows = lake.read_partition("sft_dataset", workflow="door", week=ZERO)
    assert set(rows["source"]) == {"demonstration"} and set(rows["qa_mode"]) <= {"two", "sampled"}
    assert not lake.read_partition("corrected_traces", workflow="door", week=ZERO).height
    weekly_report(dg.build_asset_context(partition_key=partition_key(ZERO, "door")), House(home=str(settings.home)))
    assert settings.report("door", ZERO).is_file(), "a week without traces has a page, too"
    plan = lake.read_partition("week_zero", workflow="door")
    assert plan["counted"].sum() == 8 and plan["target"].sum() == sum(
        line.target for line in overview(settings, "door").lines
    )


def test_people_review_at_the_terminal_and_nobody_looks_twice(settings: Settings):
    told = typed("--review", "--by", "bob")
    assert "asked about" not in told and "0 wait for a person" in told
    assert "old runs: 4 that a verifier of the pack passed, 1 that a person is asked about" in typed()
    told = typed("--review", "--by", "bob", input="a\n" * 5)
    assert "you are the second, after verifier_reward; it changes something" in told and "you are the first" in told
    assert "4 of " in told and "1 wait for a person" in told and "0.0%" in told
    assert "1 wait for somebody other than bob" in typed("--review", "--by", "bob")
    told = typed("--review", "--by", "cat", input="r\n")
    assert "0 wait for a person" in told and "1 of 5 = 20.0%" in told
    assert len((settings.workflows() / "door" / "demonstrations" / "week_zero.jsonl").read_text().splitlines()) == 4


def test_a_review_without_a_name_or_workflow_is_refused(settings: Settings):
    del settings
    with pytest.raises(FlywheelError, match="nobody is named"):
        typed("--review")
    with pytest.raises(FlywheelError, match="no workflow pack named 'nowhere'"):
        CliRunner().invoke(app, ["bootstrap", "nowhere"], catch_exceptions=False)
