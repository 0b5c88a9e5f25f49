"""The base model as an arm of `eval_results`: asked once a benchmark, carried while nothing else that decides its answers changes."""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from flywheel.benchmark.row_digest import DIGEST, row_sha256
from flywheel.chat import Renderer
from flywheel.defs.evaluation import eval_results
from flywheel.defs.resources import House
from flywheel.evaluation.servers import Servers
from flywheel.lake.judge_tables import ASKED_HERE
from flywheel.operations.budget import estimate
from flywheel.partitions import partition_key
from flywheel.promotion.decision import judge
from flywheel.report.costs import week_costs
from flywheel.report.facts import success_rows
from flywheel.report.plots import success_by_category
from flywheel_tests.defs.test_evaluation import WEEK, WORKFLOW, Week, raise_scorers
from flywheel_tests.stand_ins.training import write_adapter

NEXT, AFTER = "2026-01-12", "2026-01-19"
BASE_MODEL = "tiny-random-000000000000"


class Weeks(Week):
    """Weeks in each of which another adapter is judged; the first one's serves from the second on. `asked` has each session's arms."""

    def __init__(self, home: Path, renderer: Renderer, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(home, renderer, monkeypatch)
        self.asked: list[list[str]] = []
        self.first = write_adapter(home / "checkpoints" / WORKFLOW, BASE_MODEL)
        self.trained(WEEK, self.first)
        for week in (NEXT, AFTER):
            self.trained(week, f"of-{week}")

    def trained(self, week: str, adapter: str) -> None:
        row = self.lake.empty("checkpoint").drop("week", "workflow")
        told = {**dict.fromkeys(row.columns), "adapter_id": adapter, "base_model_sha256": "b", "seconds": 1.0}
        told["chat_template_sha256"] = self.renderer.template_sha256
        self.lake.replace_partition("checkpoint", [told], workflow=WORKFLOW, week=week)

    def promote(self) -> None:
        names = [name for name in self.lake.empty("promotion_log").columns if name not in ("workflow", "decided_at")]
        row = {**dict.fromkeys(names, "x"), "week": WEEK, "served_adapter_id": self.first, "decided_at": None}
        self.lake.append_new("promotion_log", [row], workflow=WORKFLOW)

    def _evaluate(self, benchmark, arms, spec, renderer, **rest):
        self.asked.append([arm.name for arm in arms])
        return super()._evaluate(benchmark, arms, spec, renderer, **rest)

    def turn(self, week: str) -> dict[str, Any]:
        done = dg.materialize([eval_results], partition_key=partition_key(week, WORKFLOW), instance=self.instance,
                              resources={"house": House(home=str(self.home))})  # fmt: skip
        return dict(done.asset_materializations_for_node("eval_results")[-1].metadata)

    def rows(self, week: str, arm: str) -> pl.DataFrame:
        return self.lake.read_partition("eval_results", workflow=WORKFLOW, week=week).filter(arm=arm)


@pytest.fixture
def weeks(tmp_path: Path, renderer: Renderer, monkeypatch: pytest.MonkeyPatch) -> Weeks:
    made = Weeks(tmp_path, renderer, monkeypatch)
    made.turn(WEEK)
    made.promote()
    return made


ALL = ["incumbent", "candidate", "incumbent_again"]


def test_a_base_model_that_was_the_incumbent_is_carried_into_the_weeks_after(weeks: Weeks):
    facts = weeks.turn(NEXT)
    assert weeks.asked == [ALL, ALL], "week one has it as incumbent, week two takes those answers"
    assert facts["base_model_answered_in"].value == WEEK and facts["base_success"].value == 0.0
    then, now = weeks.rows(WEEK, "incumbent"), weeks.rows(NEXT, "base")
    same = [
        "case_id",
        "epoch",
        "seed",
        "transcript",
        "completion_ids",
        "started_at",
        "seconds",
        "success",
        "benchmark_version",
    ]
    assert now.select(same).equals(then.select(same)) and set(now["adapter_id"]) == {"base"}
    assert set(now["generation_sha256"]) == set(weeks.rows(NEXT, "candidate")["generation_sha256"])
    assert {json.loads(server)["answered_in"] for server in now["server"]} == {WEEK}
    assert weeks.turn(NEXT)["unchanged"].value is True
    assert weeks.turn(AFTER)["base_model_answered_in"].value == WEEK, "carried twice, it still says who asked"
    assert len(weeks.asked) == 3 and "base" not in weeks.asked[-1]


def test_answers_that_were_carried_cost_the_week_nothing(weeks: Weeks):
    weeks.turn(NEXT)
    stored = weeks.lake.read_partition("eval_results", workflow=WORKFLOW, week=NEXT)
    assert stored.filter(~ASKED_HERE)["arm"].unique().to_list() == ["base"]
    spent = {one.week: one.evaluated_tokens for one in week_costs(weeks.lake, WORKFLOW, [WEEK, NEXT])}
    own = stored.filter(ASKED_HERE)
    assert spent[NEXT] == own["prompt_tokens"].sum() + own["completion_tokens"].sum()
    _, because = estimate(weeks.lake, WORKFLOW, NEXT, "eval_results", 10)
    assert f"for {own.height:,}" in because


@pytest.mark.parametrize("how", ["lost", "edited", "fewer", "changed"])
def test_stored_answers_that_are_not_whole_are_asked_anew(weeks: Weeks, how: str):
    stored = weeks.lake.read_partition("eval_results", workflow=WORKFLOW, week=WEEK).drop("week", "workflow")
    one = (pl.col("arm") == "incumbent") & (pl.col("case_id") == weeks.cases[0].id)
    if how == "fewer":
        stored = stored.filter(~one)
    else:
        column, value = {"lost": ("infra_error", "ReadTimeout"), "edited": ("stop_reason", "max_steps"),
                         "changed": ("server", '{"changed":"another vLLM"}')}[how]  # fmt: skip
        stored = stored.with_columns(pl.when(one).then(pl.lit(value)).otherwise(pl.col(column)).alias(column))
    if how == "changed":  # as evaluation wrote it
        stored = pl.DataFrame(
            [{**row, DIGEST: row_sha256(row)} for row in stored.iter_rows(named=True)], schema=stored.schema
        )
    weeks.lake.replace_partition("eval_results", stored, workflow=WORKFLOW, week=WEEK)
    assert weeks.turn(NEXT)["base_model_answered_in"].value == NEXT
    assert weeks.asked[-1] == [*ALL, "base"] and weeks.rows(NEXT, "base").height == len(weeks.cases)
    assert weeks.turn(AFTER)["base_model_answered_in"].value == NEXT and weeks.asked[-1] == ALL


def test_another_benchmark_or_prompt_asks_the_base_model_anew(weeks: Weeks):
    weeks.freeze(weeks.cases[1:])
    assert weeks.turn(NEXT)["base_model_answered_in"].value == NEXT
    (weeks.home / "workflows" / WORKFLOW / "system.md").write_text("You move doors.")
    assert weeks.turn(AFTER)["base_model_answered_in"].value == AFTER
    assert weeks.asked[1:] == [[*ALL, "base"]] * 2


def test_who_else_was_asked_is_no_part_of_its_question(weeks: Weeks, monkeypatch: pytest.MonkeyPatch):
    """After a change of base, or beside an endpoint, the other arms add to what decides a week; the week after has that no more."""
    weeks.freeze(weeks.cases[1:])
    real = Servers.decides
    monkeypatch.setattr(Servers, "decides", lambda own, **arms: {**real(own, **arms), "others": {"old": ["o", "t"]}})
    assert weeks.turn(NEXT)["base_model_answered_in"].value == NEXT
    monkeypatch.setattr(Servers, "decides", real)
    assert weeks.turn(AFTER)["base_model_answered_in"].value == NEXT
    assert weeks.asked[1:] == [[*ALL, "base"], ALL]


def test_errors_of_the_base_model_alone_generate_nothing_anew(weeks: Weeks):
    weeks.turn(NEXT)
    known = weeks.lake.lineage("eval_results", workflow=WORKFLOW, week=NEXT)
    assert known
    stored = weeks.lake.read_partition("eval_results", workflow=WORKFLOW, week=NEXT).drop("week", "workflow")
    lost = stored.with_columns(infra_error=pl.when(arm="base").then(pl.lit("ReadTimeout")).otherwise("infra_error"))
    weeks.lake.replace_partition("eval_results", lost, workflow=WORKFLOW, week=NEXT, fingerprint=known.fingerprint,
                                 code_version=known.code_version)  # fmt: skip
    assert weeks.turn(NEXT)["unchanged"].value is True


def test_other_scorers_score_carried_answers_again_and_weeks_without_the_arm_too(
    weeks: Weeks, monkeypatch: pytest.MonkeyPatch
):
    weeks.turn(NEXT)
    raise_scorers(monkeypatch, "next")
    assert weeks.turn(NEXT)["scored_again"].value == sum(len(weeks.rows(NEXT, arm)) for arm in (*ALL, "base"))
    before = weeks.lake.read_partition("eval_results", workflow=WORKFLOW, week=NEXT).drop("week", "workflow")
    weeks.lake.replace_partition("eval_results", before.filter(pl.col("arm") != "base"), workflow=WORKFLOW, week=NEXT)
    raise_scorers(monkeypatch, "later")
    weeks.turn(NEXT)
    assert len(weeks.asked) == 2 and set(weeks.rows(NEXT, "candidate")["scorer_version"]) == {"later"}


def test_the_gate_does_not_read_the_base_model_and_the_page_shows_it(weeks: Weeks):
    weeks.turn(NEXT)
    results = weeks.lake.read_partition("eval_results", workflow=WORKFLOW, week=NEXT)
    none = weeks.lake.empty
    rest = (weeks.cases, none("corrected_traces"), none("checkpoint"), weeks.pack)
    with_it, without = (
        judge(part, *rest, incumbent=weeks.first) for part in (results, results.filter(pl.col("arm") != "base"))
    )
    assert with_it == without and with_it.decision.verdict != "INVALID"
    rows = success_rows(results)
    assert rows[-1]["base"][0] == 0.0 and rows[-1]["candidate"][0] == 1.0
    assert success_by_category(rows).count("<svg") == 1
    assert "base" not in success_rows(results.filter(pl.col("arm") != "base"))[-1]
