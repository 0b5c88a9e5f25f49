"""The stage `eval_results`: stored outputs are scored again without a server, and what is gone or empty becomes a verdict, not a crash."""

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from flywheel.benchmark.cases import load_cases
from flywheel.benchmark.freeze import frozen_row
from flywheel.chat import Renderer
from flywheel.defs.evaluation import eval_results
from flywheel.defs.resources import House
from flywheel.evaluation import decides, scoring
from flywheel.evaluation.runner import run_arm
from flywheel.evaluation.session import Session, cases_of
from flywheel.lake import TABLES, Lake
from flywheel.partitions import partition_key
from flywheel.promotion.decision import judge
from flywheel.serving.client import ChatClient
from flywheel.workflows.loader import load_pack
from flywheel_tests.evaluation.fake_server import completion, door_model, serving
from flywheel_tests.packs import door_simulation

WEEK, WORKFLOW = "2026-01-05", "door"


class Week:
    """One house with a frozen benchmark and a checkpoint; `materialize` runs the stage, `servers` counts the servers it started."""

    def __init__(self, home: Path, renderer: Renderer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home, self.renderer, self.servers = home, renderer, 0
        self.instance = dg.DagsterInstance.ephemeral()
        shutil.copytree(door_simulation.FOLDER, home / "workflows" / WORKFLOW)
        file = home / "workflows" / WORKFLOW / "workflow.yaml"
        file.write_text(file.read_text().replace("repeat_cases: 20", "repeat_cases: 5"))
        self.pack = load_pack(home / "workflows" / WORKFLOW)
        model = home / "models" / "tiny-random-000000000000"
        model.mkdir(parents=True)
        shutil.copy(renderer.tokenizer_file, model / "tokenizer.json")
        (model / "manifest.json").write_text('{"sha256": "b", "source": "test"}')
        self.lake = Lake(home / "lake")
        self.freeze(load_cases(self.pack.folder / "benchmark", self.pack.tools)[::11])
        empty = {name: None for name in TABLES["checkpoint"].polars_schema() if name not in ("week", "workflow")}
        self.lake.replace_partition("checkpoint", [{**empty, "adapter_id": "new"}], workflow=WORKFLOW, week=WEEK)
        monkeypatch.setattr("flywheel.evaluation.servers.check_weights", lambda base: None)
        monkeypatch.setattr("flywheel.evaluation.servers.evaluate", self._evaluate)

    def freeze(self, cases: list) -> None:
        self.cases = cases
        rows = [frozen_row(case, self.pack.tools_sha256) for case in cases]
        self.lake.replace_partition("benchmark", rows, workflow=WORKFLOW)

    def _evaluate(self, benchmark, arms, spec, renderer, **rest) -> Session:
        """The session without vLLM: the base model says nothing useful, an adapter does everything right."""
        self.servers += 1
        self.served = sorted(spec.adapters)
        good = door_model(self.renderer)

        def answer(body):
            return completion(self.renderer, "hm") if body["model"] == "base" else good(body)

        async def work() -> list[dict[str, Any]]:
            with tempfile.TemporaryDirectory() as folder:
                socket = Path(folder) / "s"
                async with serving(socket, answer), ChatClient(socket, renderer) as client:
                    parts = [benchmark._replace(cases=cases_of(benchmark, [arm])[arm.name]) for arm in arms]
                    pairs = zip(arms, parts, strict=True)
                    return [
                        row
                        for arm, part in pairs
                        for row in await run_arm(client, arm, part, server={}, finished=lambda: None)
                    ]

        return Session(asyncio.run(work()), 0, [], 0.0)

    def serve_before(self, adapter: str) -> None:
        entry = {
            name: "x" for name in TABLES["promotion_log"].polars_schema() if name not in ("workflow", "decided_at")
        }
        row = {**entry, "week": "2025-12-29", "served_adapter_id": adapter, "decided_at": None}
        self.lake.append_new("promotion_log", [row], workflow=WORKFLOW)

    def materialize(self) -> dict[str, Any]:
        done = dg.materialize([eval_results], partition_key=partition_key(WEEK, WORKFLOW), instance=self.instance,
                              resources={"house": House(home=str(self.home))})  # fmt: skip
        return dict(done.asset_materializations_for_node("eval_results")[-1].metadata)

    def table(self, name: str) -> pl.DataFrame:
        return self.lake.read_partition(name, workflow=WORKFLOW, week=WEEK)


@pytest.fixture
def week(tmp_path: Path, renderer: Renderer, monkeypatch: pytest.MonkeyPatch) -> Week:
    return Week(tmp_path, renderer, monkeypatch)


def fail(*args, **rest):
    raise AssertionError("a server was started")


def raise_scorers(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(scoring, "SCORER_VERSION", version)
    monkeypatch.setattr(decides, "SCORER_VERSION", version)


def test_a_changed_scorer_scores_stored_outputs_again_and_starts_no_server(week: Week, monkeypatch: pytest.MonkeyPatch):
    week.materialize()
    first, metrics = week.table("eval_results"), week.table("eval_metrics")
    assert first.filter(arm="candidate")["success"].all() and not first.filter(arm="incumbent")["success"].any()
    assert (
        set(metrics["arm"]) == {"candidate", "incumbent", "incumbent_again"}
        and metrics["denominator"].null_count() == 0
    )
    monkeypatch.setattr("flywheel.evaluation.servers.evaluate", fail)
    assert week.materialize()["unchanged"].value is True
    raise_scorers(monkeypatch, "next")
    again = week.materialize()
    assert again["scored_again"].value == first.height
    second = week.table("eval_results")
    assert set(second["scorer_version"]) == {"next"}
    assert second.drop("scorer_version", "row_sha256").equals(first.drop("scorer_version", "row_sha256")), (
        "the scores are pure"
    )


def test_outputs_that_were_changed_or_made_otherwise_are_generated_anew(week: Week, monkeypatch: pytest.MonkeyPatch):
    week.materialize()
    rows = week.table("eval_results").drop("week", "workflow")
    week.lake.replace_partition("eval_results", rows.with_columns(success=pl.lit(True)), workflow=WORKFLOW, week=WEEK)
    week.materialize()
    assert week.servers == 2 and not week.table("eval_results").filter(arm="incumbent")["success"].any()
    file = week.home / "workflows" / WORKFLOW / "environment.py"
    file.write_text(file.read_text() + "\n# another world\n")
    week.materialize()
    assert week.servers == 3
    raise_scorers(monkeypatch, "next")
    file.with_name("system.md").write_text("You move doors.")
    week.materialize()
    assert week.servers == 4


def test_after_a_change_of_base_model_each_side_answers_from_its_own_server(
    week: Week, monkeypatch: pytest.MonkeyPatch
):
    other = week.home / "models" / "other-111111111111"
    other.mkdir()
    shutil.copy(week.renderer.tokenizer_file, other / "tokenizer.json")
    (other / "manifest.json").write_text('{"sha256": "o", "source": "test"}')
    empty = {name: None for name in TABLES["checkpoint"].polars_schema() if name not in ("week", "workflow")}
    trained = {
        **empty,
        "adapter_id": "old",
        "base_model_sha256": "o",
        "chat_template_sha256": week.renderer.template_sha256,
    }
    week.lake.replace_partition("checkpoint", [trained], workflow=WORKFLOW, week="2025-12-29")
    week.serve_before("old")
    asked: list[tuple[str, str]] = []
    monkeypatch.setattr(
        "flywheel.evaluation.servers.unusable",
        lambda folder, adapters, base_model: asked.extend((one, base_model) for one in sorted(adapters)) or {},
    )
    facts = week.materialize()
    assert week.servers == 2 and asked == [("old", "other-111111111111")]
    assert facts["servers"].value == (
        "a server for each base model: incumbent, incumbent_again on other (chatml_hermes); candidate, base on tiny-random (chatml_hermes)"
    )
    results = week.table("eval_results")
    bases = {(arm, base) for arm, base in results.select("arm", "base_model_sha256").iter_rows()}
    assert bases == {("incumbent", "o"), ("incumbent_again", "o"), ("candidate", "b"), ("base", "b")}
    none = week.lake.empty
    judged = judge(results, week.cases, none("corrected_traces"), none("checkpoint"), week.pack, incumbent="old")
    assert judged.decision.verdict != "INVALID", judged.decision.reasons
    assert week.materialize()["unchanged"].value is True
    shutil.rmtree(other)
    assert "not in the cache any more" in week.materialize()["not_evaluated"].value


def test_results_that_the_server_broke_are_generated_anew_by_the_same_command(week: Week):
    week.materialize()
    rows = week.table("eval_results").drop("week", "workflow")
    lost = pl.when((pl.col("arm") == "candidate") & (pl.int_range(pl.len()) % 2 == 0))
    known = week.lake.lineage("eval_results", workflow=WORKFLOW, week=WEEK)
    assert known
    errors = rows.with_columns(infra_error=lost.then(pl.lit("ReadTimeout")).otherwise("infra_error"))
    week.lake.replace_partition("eval_results", errors, workflow=WORKFLOW, week=WEEK, fingerprint=known.fingerprint,
                                code_version=known.code_version)  # fmt: skip
    assert week.materialize()["infra_errors"].value == 0 and week.servers == 2
    assert week.materialize()["unchanged"].value is True


def test_an_incumbent_whose_adapter_is_gone_makes_the_week_invalid_and_stays(week: Week):
    week.serve_before("lost")
    facts = week.materialize()
    assert "adapter lost is missing" in facts["not_evaluated"].value and week.served == ["new"]
    results = week.table("eval_results")
    assert set(results.filter(arm="incumbent")["infra_error"]) == {"adapter lost is missing"}
    empty = week.lake.empty
    judgement = judge(results, week.cases, empty("corrected_traces"), empty("checkpoint"), week.pack, incumbent="lost")
    assert judgement.decision.verdict == "INVALID" and judgement.incumbent_adapter_id == "lost"
    said = f"{len(week.cases)} of {len(week.cases)} runs of the incumbent ended in a server or network error"
    assert said in judgement.decision.reasons[0] and judgement.decision.reasons[0].endswith("adapter lost is missing")


def test_a_row_that_was_changed_afterwards_makes_the_week_invalid(week: Week):
    week.materialize()
    results, empty = week.table("eval_results"), week.lake.empty
    edited = results.with_columns(
        success=pl.when(arm="incumbent", case_id=week.cases[0].id).then(True).otherwise("success")
    )
    rest = (week.cases, empty("corrected_traces"), empty("checkpoint"), week.pack)
    assert judge(results, *rest, incumbent="base").decision.verdict != "INVALID"
    decision = judge(edited, *rest, incumbent="base").decision
    assert decision.verdict == "INVALID" and "not what evaluation wrote" in decision.reasons[0]


def test_an_empty_benchmark_is_said_and_nothing_is_started(week: Week):
    week.freeze([])
    assert "the benchmark is empty" in week.materialize()["note"].value
    assert week.servers == 0 and not week.table("eval_results").height and not week.table("eval_metrics").height


def test_a_week_over_its_budget_starts_no_server(week: Week):
    file = week.pack.folder / "workflow.yaml"
    file.write_text(file.read_text() + "\nbudget: {accelerator_hours: 1}\n")
    trained = week.table("checkpoint").drop("week", "workflow")
    week.lake.replace_partition("checkpoint", trained, workflow=WORKFLOW, week=WEEK, seconds=7200.0)
    with pytest.raises(
        dg.Failure, match=r"an unknown time, and the week has spent 2.00 of 1.00 h \(budget.accelerator_hours\)"
    ):
        week.materialize()
    assert week.servers == 0 and not week.lake.has_partition("eval_results", workflow=WORKFLOW, week=WEEK)
