"""Configurations through the gate: the verdict, its exit code, what is kept, and what counts as evaluated afterwards."""

import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from flywheel.benchmark.row_digest import DIGEST, row_sha256
from flywheel.lake import TABLES, Lake
from flywheel.promotion.comparison import EXIT_CODES, Sides, evaluated_in, judge_configurations, verdict_row
from flywheel.promotion.gate import Decision
from flywheel.promotion.pointer import entry
from flywheel.promotion.pointer_file import pointer_of
from flywheel.serving.configuration import Configuration, configuration_sha256
from flywheel.workflows.evaluation_settings import Decoding
from flywheel_tests.promotion.house import WEEKS, blank, make_house

AT = datetime(2026, 3, 2, tzinfo=UTC)


def rows(solved: dict[str, Any], **changes: Any) -> pl.DataFrame:
    """EVAL_RESULTS rows of the three arms: arm -> share of 120 cases solved."""
    made = [
        blank("eval_results", case_id=f"c{n}", case_cluster=f"c{n}", category="tool_calling", arm=arm, epoch=0, adapter_id="base",
              success=n < share * 120, calls=1, schema_valid_calls=1, scorer_version="s",
              **{"decoding": "greedy_auto", "benchmark_version": "b", **(changes if arm == "candidate" else {})})
        for arm, share in solved.items() for n in range(120)
    ]  # fmt: skip
    return pl.DataFrame([{**row, DIGEST: row_sha256(row)} for row in made], infer_schema_length=None)


@pytest.fixture
def sides(tmp_path: Path) -> Sides:
    acts = make_house(tmp_path / "home")
    plain = Configuration("pack", acts.pack, acts.base, "base")
    return Sides(
        plain,
        dataclasses.replace(plain, name="short", pack=dataclasses.replace(acts.pack, system="Doors only.")),
        ("0.32.0", "0.32.0"),
    )


def empty(table: str) -> pl.DataFrame:
    return pl.DataFrame(schema=TABLES[table].polars_schema())


def judged(
    sides: Sides, found: pl.DataFrame, history: pl.DataFrame | None = None, verdicts: pl.DataFrame | None = None
) -> Decision:
    frozen: Any = [SimpleNamespace(id=f"c{n}", tags=[], exercises=SimpleNamespace(tools=[])) for n in range(120)]
    return judge_configurations(
        found, frozen, sides, metrics={}, checkpoint=empty("checkpoint"), history=empty("promotion") if history is None else history,
        verdicts=empty("configuration_verdicts") if verdicts is None else verdicts, core_version="core",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("candidate", "verdict", "code"),
    [(0.9, "PROMOTE", 0), (0.3, "REJECT", 1), (0.58, "INCONCLUSIVE", 2), (None, "INVALID", 3)],
)
def test_each_verdict_has_its_exit_code(sides: Sides, candidate: float | None, verdict: str, code: int):
    arms = {"incumbent": 0.6, "incumbent_again": 0.6, **({} if candidate is None else {"candidate": candidate})}
    found = rows(arms)
    if candidate == 0.58:  # as many fixed as broken, and more than the margin can bear
        moved = (
            pl.when((pl.col("arm") == "candidate") & pl.col("case_id").str.tail(1).is_in(["1", "2", "3", "4"]))
            .then(~pl.col("success"))
            .otherwise(pl.col("success"))
        )
        found = pl.DataFrame(
            [{**row, DIGEST: row_sha256(row)} for row in found.with_columns(success=moved).to_dicts()],
            infer_schema_length=None,
        )
    decision = judged(sides, found)
    assert (decision.verdict, EXIT_CODES[decision.verdict]) == (verdict, code), decision.reasons


def test_an_earlier_comparison_on_the_benchmark_is_a_look_and_failed_cases_cannot_be_left_out(sides: Sides):
    found = rows({"incumbent": 0.6, "incumbent_again": 0.6, "candidate": 0.55})
    decision = judged(sides, found)
    assert any("verdict 1 on this benchmark core" in one for one in decision.reasons)
    known = [
        verdict_row(decision, sides, found.with_columns(benchmark_version=pl.lit(version)), AT) for version in "bbc"
    ]
    invalid = {**known[0], "verdict": "INVALID"}
    verdicts = pl.DataFrame([*known, invalid], schema=TABLES["configuration_verdicts"].polars_schema())
    assert any("verdict 3 on this benchmark core" in one for one in judged(sides, found, verdicts=verdicts).reasons)
    lost = set(found.filter(~pl.col("success"), arm="candidate")["case_id"])
    flattered = judged(sides, found.filter(~pl.col("case_id").is_in(list(lost))))
    assert flattered.verdict == "INVALID" and "54 of 120 are missing" in " ".join(flattered.reasons)


def test_decoding_may_differ_here_and_the_margin_of_the_core_holds(sides: Sides):
    found = rows({"incumbent": 0.6, "incumbent_again": 0.6, "candidate": 0.9}, decoding="sampled_auto")
    assert judged(sides, found).verdict == "PROMOTE"
    past = pl.DataFrame([{"week": WEEKS[0], "verdict": "REJECT", "cases": 120, "margin": 0.04, "core_version": "core"}],
                        schema={**TABLES["promotion"].polars_schema()})  # fmt: skip
    decision = judged(sides, found, past)
    assert (
        decision.margin
        and decision.margin.value == 0.04
        and any("verdict 2 on this benchmark core" in one for one in decision.reasons)
    )
    other = judged(sides, rows({"incumbent": 0.6, "candidate": 0.9}, benchmark_version="c"))
    assert other.verdict == "INVALID"


def test_what_was_promoted_counts_as_evaluated_and_the_pointer_says_by_what(sides: Sides, tmp_path: Path, lake: Lake):
    acts = make_house(tmp_path / "two")
    found = rows({"incumbent": 0.6, "incumbent_again": 0.6, "candidate": 0.9})
    row = verdict_row(judged(sides, found), sides, found, AT)
    lake.append_new("configuration_verdicts", [row], workflow="door")
    assert (
        row["verdict"] == "PROMOTE"
        and json.loads(row["candidate"])["system_sha256"] != json.loads(row["baseline"])["system_sha256"]
    )
    log = acts.log()
    evaluated = evaluated_in(lake, "door", log)
    assert list(evaluated.values()) == [f"comparison {row['comparison_id']}"]
    edited = dataclasses.replace(acts.pack, system="Doors only.")
    assert (
        pointer_of(acts.settings, edited, acts.base, log, evaluated).evaluated_by
        == f"comparison {row['comparison_id']}"
    )
    pointer = pointer_of(acts.settings, acts.pack, acts.base, log, evaluated)
    assert (
        pointer.evaluated_by is None and pointer.configuration["decoding"] == acts.pack.settings.decoding.model_dump()
    )
    refused = verdict_row(
        judged(sides, rows({"incumbent": 0.9, "incumbent_again": 0.9, "candidate": 0.2})), sides, found, AT
    )
    lake.append_new("configuration_verdicts", [refused], workflow="door")
    assert len(evaluated_in(lake, "door", log)) == 1, "a rejected configuration is not one to serve"


def test_both_sides_of_a_weekly_decision_were_evaluated_with_what_it_noted(tmp_path: Path):
    acts = make_house(tmp_path / "home")
    parts = Configuration("pack", acts.pack, acts.base, "").parts()
    noted = entry(WEEKS[0], "d", "REJECT", "base", "base", AT, candidate="new", configuration=json.dumps(parts))
    edited = entry(WEEKS[1], "e", "REJECT", "base", "base", AT, candidate="newer")  # the pack was edited in between
    acts.lake.append_new("promotion_log", [noted, edited], workflow="door")
    evaluated = evaluated_in(acts.lake, "door", acts.log())
    assert evaluated == {
        configuration_sha256({**parts, "adapter_id": one}): f"decision d of week {WEEKS[0]}" for one in ("base", "new")
    }
    assert (
        pointer_of(acts.settings, acts.pack, acts.base, acts.log(), evaluated).evaluated_by
        == f"decision d of week {WEEKS[0]}"
    )
    sampled = acts.pack.settings.model_copy(update={"decoding": Decoding(mode="sampled_auto", temperature=0.7)})
    assert (
        pointer_of(
            acts.settings, dataclasses.replace(acts.pack, settings=sampled), acts.base, acts.log(), evaluated
        ).evaluated_by
        is None
    )
