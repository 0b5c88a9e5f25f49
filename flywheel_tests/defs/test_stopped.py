"""A machine without a trainer or a server: learn stops there, green and undecided, and every place says what to do."""

import shutil
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from flywheel.cli.run import _say_where_it_stopped
from flywheel.defs.evaluation import eval_results
from flywheel.defs.promotion import promotion
from flywheel.defs.report import weekly_report
from flywheel.defs.resources import House
from flywheel.defs.stopped import stopped_at
from flywheel.defs.training import checkpoint
from flywheel.lake import TABLES
from flywheel.operations.status import status
from flywheel.partitions import partition_key
from flywheel.workflows.base_model import write_manifest
from flywheel_tests.conftest import HOME

WEEK, WORKFLOW = "2026-01-12", "door"
EXPORT = f"flywheel checkpoint export-job {WORKFLOW} {WEEK} DIR"


def row(table: str, **values: Any) -> dict[str, Any]:
    names = (name for name in TABLES[table].polars_schema() if name not in ("week", "workflow"))
    return {**dict.fromkeys(names), **values}


class Week:
    """A week whose datasets are ready, in a house of its own; `run` runs the stages after them."""

    def __init__(self, home: Path, *, accepted: int = 5) -> None:
        self.house, self.home = House(home=str(home)), home
        shutil.copytree(HOME / "workflows", home / "workflows")
        model = home / "models" / "tiny-random-000000000000"
        model.mkdir(parents=True)
        (model / "tokenizer.json").write_text("{}")
        write_manifest(model, sha256="0" * 64, source="a test")
        self.lake = self.house.lake()
        self.put("sft_dataset", [row("sft_dataset", row_id="r")])
        self.put("preference_dataset", [])
        self.put("corrected_traces", self.corrected(accepted))
        self.lake.replace_partition("benchmark", [], workflow=WORKFLOW)

    def corrected(self, count: int) -> list[dict[str, Any]]:
        return [
            row("corrected_traces", correction_id=str(n), messages="[]", trainable_indices="[]", bucket="b")
            for n in range(count)
        ]

    def put(self, table: str, rows: list[dict[str, Any]]) -> None:
        self.lake.replace_partition(table, rows, workflow=WORKFLOW, week=WEEK)

    def say(self, text: str) -> None:
        with (self.home / "workflows" / WORKFLOW / "workflow.yaml").open("a") as opened:
            opened.write(f"\n{text}\n")

    def context(self) -> Any:
        return dg.build_asset_context(partition_key=partition_key(WEEK, WORKFLOW))

    def run(self, *stages: Any) -> dict[str, str]:
        """Notes of the stages, by name."""
        notes = {}
        for stage in stages:
            more = (dg.PipesSubprocessClient(),) if stage is checkpoint else ()
            notes[stage.key.to_user_string()] = (stage(self.context(), self.house, *more).metadata or {}).get(
                "note", ""
            )
        return notes

    def decision(self) -> dict[str, Any]:
        return self.lake.read_partition("promotion", workflow=WORKFLOW, week=WEEK).row(0, named=True)

    def decided(self) -> list[str]:
        return self.lake.read_weeks("promotion_log", workflow=WORKFLOW)["week"].to_list()

    def status(self) -> dict[str, Any]:
        return next(one for one in status(self.house.settings()) if one["workflow"] == WORKFLOW)

    def last_line(self) -> list[str]:
        said: list[str] = []

        class Screen:
            def say(self, text: str) -> None:
                said.append(text)

        _say_where_it_stopped(self.house.settings(), WEEK, WORKFLOW, Screen())
        return said


@pytest.fixture(autouse=True)
def nothing_leaks_and_no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flywheel.defs.training.leaks_in", lambda *_: [])
    monkeypatch.setattr(
        "flywheel.defs.report.render", lambda facts: "\n".join([facts.verdict.headline, *facts.verdict.reasons])
    )
    monkeypatch.setattr("flywheel.defs.report.render_weeks", lambda *_: "")


def test_without_a_trainer_learn_stops_at_the_datasets_and_says_so_everywhere(tmp_path: Path):
    week = Week(tmp_path)
    week.say("trainer: elsewhere")
    notes = week.run(checkpoint, eval_results, promotion, weekly_report)
    assert all(EXPORT in notes[name] for name in ("checkpoint", "eval_results", "weekly_report"))
    decision = week.decision()
    assert (decision["verdict"], decision["stopped_at"], decision["served_adapter_id"]) == (
        "INCONCLUSIVE",
        "checkpoint",
        "base",
    )
    assert week.decided() == [], "the week is undecided: what is imported later may still move the pointer"
    page = week.house.settings().report(WORKFLOW, WEEK).read_text()
    assert "Learn stopped at the datasets, because nothing is trained on this machine." in page and EXPORT in page
    assert week.last_line() and EXPORT in week.last_line()[0]
    told = week.status()
    assert EXPORT in told["next"] and any(EXPORT in one for one in told["waits_for"])
    # Trained elsewhere meanwhile, and no server either: it stops one stage later.
    week.say("serving: elsewhere")
    week.put("checkpoint", [row("checkpoint", adapter_id="adapter-new")])
    assert "the benchmark is empty" in week.run(eval_results, promotion)["eval_results"]
    assert week.decision()["stopped_at"] == "eval_results" and week.decided() == []
    assert "serving: elsewhere" in week.status()["next"] and "serving: elsewhere" in week.last_line()[0]


def test_a_banked_week_has_not_stopped_whoever_trains(tmp_path: Path):
    week = Week(tmp_path, accepted=1)
    nothing = week.lake.empty("checkpoint")
    for said, accepted, stops in (("", 5, False), ("trainer: elsewhere", 1, False), ("", 5, True)):
        week.say(said)
        week.put("corrected_traces", week.corrected(accepted))
        found = stopped_at(
            week.lake, week.house.pack(WORKFLOW), week.house.base_model(week.house.pack(WORKFLOW)), WEEK, nothing
        )
        assert (found is not None) is stops
