"""The prequential score on weeks made up for it: samples apart, weights that are production's, intervals that do not claim too much."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from flywheel.cli import app
from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel.report.curve import learning_curve
from flywheel.report.facts import week_facts
from flywheel.report.page import render
from flywheel.report.prequential import RANDOM_SLICE, SELECTED, Score, over_weeks, prequential, week_score
from flywheel.report.prequential_section import pooled_sentence, prequential_figure, prequential_section
from flywheel.statistics.paired import wilson
from flywheel_tests.report.synthetic import WORKFLOW, decide, evaluate, freeze, production, row

WEEKS = ["2026-01-05", "2026-01-12", "2026-01-19"]


def asked(
    lake: Lake, week: str, solved: Mapping[tuple[str, str], Sequence[bool | None]], made_by: str = "base"
) -> None:
    """PREQUENTIAL_RESULTS rows: (arm, sample) -> whether each step was solved, null after an infrastructure error."""
    rows = [
        row("prequential_results", case_id=f"step-{sample}-{n}", case_cluster=f"{sample}-{n // 2}", slice=sample, arm=arm, epoch=0,
            adapter_id={"checkpoint": "a1", "incumbent": "base"}[arm], success=one, made_by=made_by, answer="corrected", trace_id=f"t{n}", category="tool_calling")
        for (arm, sample), values in solved.items() for n, one in enumerate(values)
    ]  # fmt: skip
    lake.replace_partition("prequential_results", rows, workflow=WORKFLOW, week=week)


def two_arms(lake: Lake, week: str) -> None:
    asked(lake, week, {
        ("checkpoint", SELECTED): [True] * 6 + [False] * 4, ("incumbent", SELECTED): [False] * 10,
        ("checkpoint", RANDOM_SLICE): [True, True, True, False], ("incumbent", RANDOM_SLICE): [True] * 4,
    })  # fmt: skip


def test_the_weights_are_productions_and_the_samples_stay_apart(lake: Lake):
    production(lake, WEEKS[1], "base", {"wrong_arguments": 80})
    two_arms(lake, WEEKS[1])
    (found,) = prequential(lake, WORKFLOW)
    assert (found.flagged, found.unflagged, found.steps, found.infra_errors) == (80, 320, 14, 0)
    one, other = found.arm("checkpoint"), found.arm("incumbent")
    assert one is not None and other is not None and (one.made, other.made) == (0, 14)
    selected = one.scores[SELECTED].rate
    assert selected is not None and selected.estimate == pytest.approx(0.6)
    assert one.weighted is not None and one.weighted.estimate == pytest.approx(0.2 * 0.6 + 0.8 * 0.75)
    assert other.weighted is not None and other.weighted.estimate == pytest.approx(0.8), (
        "what was picked for its failures weighs as they do"
    )
    assert found.gain[SELECTED].estimate == pytest.approx(0.6) and found.gain[RANDOM_SLICE].estimate == pytest.approx(
        -0.25
    )
    assert found.gain["weighted"].estimate == pytest.approx(0.2 * 0.6 - 0.8 * 0.25)
    assert found.gain["weighted"].low < 0 < found.gain["weighted"].high, "four steps of the slice decide nothing"


def test_a_part_of_production_that_nobody_was_asked_about_leaves_the_whole_unknown(lake: Lake):
    asked(lake, WEEKS[1], {("checkpoint", SELECTED): [True, None, False]})
    found = week_score(lake.read_weeks("prequential_results", workflow=WORKFLOW), flagged=3, unflagged=9)
    arm = found.arm("checkpoint")
    assert (
        arm is not None
        and arm.weighted is None
        and arm.scores[SELECTED].n == 2
        and found.infra_errors == 1
        and found.gain == {}
    )
    said = prequential_section([found._replace(accepted=9)], WEEKS[1])
    assert "could not be asked" in said and "3 of the week&#x27;s 9 accepted corrections and 0 runs" in said


def test_steps_that_share_nothing_have_wilsons_interval_and_others_a_clustered_one():
    def scored(clusters: str) -> Score:
        rows = pl.DataFrame(
            [{"week": WEEKS[1], "case_id": str(n), "case_cluster": cluster, "slice": RANDOM_SLICE, "arm": "checkpoint", "epoch": 0,
              "adapter_id": "a", "success": n > 0, "made_by": "base", "answer": "confirmed"} for n, cluster in enumerate(clusters)]
        )  # fmt: skip
        arm = week_score(rows, 0, 9).arm("checkpoint")
        assert arm is not None
        return arm.scores[RANDOM_SLICE]

    alone, together = scored("abcd").rate, scored("aabb").rate
    assert alone is not None and together is not None and (alone.low, alone.high) == pytest.approx(wilson(3, 4)[1:3])
    assert together.low < alone.low


def test_the_slice_of_all_weeks_is_pooled(lake: Lake):
    for week in WEEKS[1:]:
        production(lake, week, "base", {"wrong_arguments": 80})
        two_arms(lake, week)
    weeks = prequential(lake, WORKFLOW)
    pooled = over_weeks(weeks)["checkpoint"]
    assert (
        (pooled.solved, pooled.n) == (6.0, 8) and pooled.rate is not None and pooled.rate.low < 0.75 < pooled.rate.high
    )
    assert "checkpoint 6 of 8" in pooled_sentence(weeks) and prequential(lake, WORKFLOW, WEEKS[1]) == weeks[:1]


def test_epochs_are_averaged_before_anything_is_counted():
    rows = pl.DataFrame(
        [{"week": WEEKS[1], "case_id": "s", "case_cluster": "g", "slice": SELECTED, "arm": "checkpoint", "epoch": n, "adapter_id": "a",
          "success": n < 1, "made_by": "base", "answer": "confirmed"} for n in range(4)]
    )  # fmt: skip
    arm = week_score(rows, 1, 0).arm("checkpoint")
    assert (
        arm is not None
        and (arm.scores[SELECTED].solved, arm.scores[SELECTED].n) == (0.25, 1)
        and arm.weighted is not None
    )


def test_pages_show_it_beside_the_frozen_benchmark_and_say_which_is_which(lake: Lake):
    freeze(lake, 8)
    production(lake, WEEKS[0], "base", {"wrong_arguments": 80})
    evaluate(lake, WEEKS[0], "base", "a1", (0.25, 0.5), cases=8)
    decide(lake, WEEKS[0], "PROMOTE", "base", "a1", "a1", cases=8)
    production(lake, WEEKS[1], "a1", {"wrong_arguments": 40})
    two_arms(lake, WEEKS[1])
    page = render(week_facts(lake, WORKFLOW, WEEKS[1]))
    for words in (
        "Last week's adapter on this week's steps",
        "random slice (95 % interval)",
        "at a disadvantage",
        "weighted to production",
    ):
        assert words in page, words
    html = prequential_figure(prequential(lake, WORKFLOW), learning_curve(lake, WORKFLOW))
    assert "on the frozen benchmark" in html and "6 of 10: 60%" in html
    assert prequential_figure([]) == "" and prequential_section([], WEEKS[1]) == ""


def test_the_command_scores_only_what_is_not_scored(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    ran: list[str] = []
    monkeypatch.setenv("FLYWHEEL_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "220")
    monkeypatch.setattr("flywheel.workflows.loader.find_pack", lambda *_: None)
    monkeypatch.setattr("flywheel.operations.launch.instance", lambda: __import__("contextlib").nullcontext())

    def run_job(job: str, *, week: str, stages: list[str], **_: object) -> str:
        assert (job, stages) == ("learn", ["prequential_results"])
        ran.append(week)
        two_arms(lake, week)
        return "run"

    monkeypatch.setattr("flywheel.operations.launch.run_job", run_job)

    def flywheel(*words: str) -> str:
        return CliRunner().invoke(app, ["prequential", "--workflow", WORKFLOW, *words], catch_exceptions=False).output

    with pytest.raises(FlywheelError, match="no week has corrections yet"):
        flywheel()
    for week in WEEKS[1:]:
        production(lake, week, "base", {"wrong_arguments": 80})
        lake.replace_partition("corrected_traces", [], workflow=WORKFLOW, week=week)
    assert "checkpoint minus incumbent" in flywheel("--week", WEEKS[2]) and ran == [WEEKS[2]]
    assert "1 of 2 weeks are scored already" in flywheel() and ran == [WEEKS[2], WEEKS[1]]
    assert "2 of 2 weeks are scored already" in flywheel() and len(ran) == 2
    with pytest.raises(FlywheelError, match="week 2026-01-05 has no corrections"):
        flywheel("--week", WEEKS[0])
