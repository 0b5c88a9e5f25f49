"""From tables to the promotion row: what the next weeks will read, and who may release."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from flywheel.benchmark.cases import Case, benchmark_version, core_of
from flywheel.lake import TABLES, Lake
from flywheel.lake.conform import conform, declared_table
from flywheel.promotion.decision import core_version, judge, promotion_row, releases_itself
from flywheel.promotion.earlier import Earlier, earlier
from flywheel.promotion.gate import Decision
from flywheel.workflows.loader import load_pack
from flywheel_tests.promotion.house import blank
from flywheel_tests.promotion.test_gate import arm, rate

PACK = load_pack(Path(__file__).parent.parent / "packs" / "door")
NONE = pl.DataFrame(schema=TABLES["corrected_traces"].polars_schema())
CHECKPOINT = pl.DataFrame({"forgetting_nats": [0.01], "tool_regression_nats": [None]})


def cases(count: int = 240, **changes) -> list[Case]:
    return [
        Case.model_validate({
            "id": f"c{n:03d}", "cluster": f"k{n // 2}", "category": "tool_calling", "exercises": {"buckets": [], "tools": []},
            "messages": [{"role": "user", "content": f"open {n}"}], "expectation": {"kind": "reply", "includes": [["yes"]]}, **changes,
        })
        for n in range(count)
    ]  # fmt: skip


def results(candidate: list[bool | None], incumbent: list[bool | None]) -> pl.DataFrame:
    version = benchmark_version(cases(len(candidate)), PACK.tools_sha256)
    arms = [
        ("candidate", candidate, "new"),
        ("incumbent", incumbent, "old"),
        ("incumbent_again", incumbent[:60], "old"),
    ]
    return pl.concat([
        arm(success, name, adapter_id=adapter, benchmark_version=version, forbidden_calls=0, slice="core") for name, success, adapter in arms
    ])  # fmt: skip


def before(week: str = "2026-01-12", history: pl.DataFrame | None = None, promoted=("old",)) -> Earlier:
    empty = pl.DataFrame(schema=TABLES["promotion"].polars_schema())
    return Earlier(week, empty if history is None else history, set(promoted), lambda *_: pl.DataFrame(), {})


def row_of(week: str, earlier_weeks: pl.DataFrame | None = None) -> pl.DataFrame:
    """One week judged and written as the table would hold it."""
    judgement = judge(results(rate(0.6), rate(0.05, seed=1)), cases(), NONE, CHECKPOINT, PACK, incumbent="old", before=before(week, earlier_weeks))  # fmt: skip
    row = promotion_row(judgement, PACK, served="new", qa_mode="three")
    return conform(declared_table("promotion"), [row], {"week": week, "workflow": "door"})


def test_the_row_holds_what_later_weeks_need():
    first = row_of("2026-01-05").row(0, named=True)
    assert first["verdict"] == "PROMOTE" and first["looks"] == 1 and first["advisory"] is False
    assert (first["a_a_cases"], first["a_a_flipped"], first["a_a_verdict"], first["a_a_week"]) == (
        60,
        0,
        "SAME",
        "2026-01-05",
    )
    assert (
        first["core_version"] == first["benchmark_version"]
        and first["margin"] == 0.08
        and first["scorer_version"] == "1"
    )
    second = row_of("2026-01-12", row_of("2026-01-05")).row(0, named=True)
    assert second["looks"] == 2 and any(
        "verdict 2 on this benchmark core" in one for one in json.loads(second["reasons"])
    )


def test_a_checkpoint_without_results_is_invalid_and_a_banked_week_is_not():
    none = pl.DataFrame(schema=TABLES["eval_results"].polars_schema())
    empty = judge(none, [], NONE, CHECKPOINT, PACK, incumbent="old", before=before())
    assert empty.decision.verdict == "INVALID" and "the benchmark is empty" in empty.decision.reasons[0]
    assert empty.candidate_adapter_id == empty.incumbent_adapter_id == "old"
    banked = judge(none, [], NONE, CHECKPOINT.clear(), PACK, incumbent="old", before=before())
    assert banked.decision.verdict == "INCONCLUSIVE" and "banked" in banked.decision.reasons[0]


def test_a_case_of_the_core_keeps_its_hash_and_an_added_slice_changes_the_version_but_not_the_core():
    core, added = cases(3), cases(1, id="later", slice="returns")
    assert core_of([*core, *added]) == core
    whole = benchmark_version([*core, *added], PACK.tools_sha256)
    assert core_version([*core, *added], PACK, whole) == benchmark_version(core, PACK.tools_sha256) != whole
    assert (
        core_version(core, PACK, "evaluated before the benchmark changed") == "evaluated before the benchmark changed"
    )


@pytest.mark.parametrize(
    ("decision", "release", "moves"),
    [
        (Decision("PROMOTE", []), "automatic", True),
        (Decision("PROMOTE", []), "approval", False),
        (Decision("PROMOTE", [], advisory=True), "automatic", False),
        (Decision("REJECT", []), "automatic", False),
        (Decision("INVALID", []), "automatic", False),
    ],
)
def test_the_pointer_moves_by_itself_only_on_enough_cases_in_a_pack_that_says_so(decision, release, moves):
    settings = PACK.settings.model_copy(update={"release": release})
    assert releases_itself(decision, PACK.__class__(**{**PACK.__dict__, "settings": settings})) is moves


def test_what_earlier_weeks_left_is_read_from_the_lake(tmp_path: Path):
    lake = Lake(tmp_path)
    for week in ("2026-01-05", "2026-01-12", "2026-01-19"):
        lake.replace_partition("promotion", row_of(week), workflow="door", week=week)
    at = datetime(2026, 2, 1, tzinfo=UTC)
    log = pl.DataFrame(
        {
            "week": ["2026-01-05", "2026-01-19"],
            "served_adapter_id": ["new", "later"],
            "decided_at": [at - timedelta(weeks=1), at],
        }
    )
    for days, verdict in ((-1, "REJECT"), (-1, "INVALID"), (1, "PROMOTE")):
        row = {
            "comparison_id": f"{days}{verdict}",
            "verdict": verdict,
            "benchmark_version": "b",
            "decided_at": at + timedelta(days=days),
        }
        lake.append_new("configuration_verdicts", [blank("configuration_verdicts", **row)], workflow="door")
    found = earlier(lake, "door", "2026-01-19", log)
    assert found.history["week"].to_list() == ["2026-01-05", "2026-01-12"] and found.promoted == {"new"}
    assert not found.results_of("2026-01-05", "candidate").height
    assert found.comparisons == ["b"], "what was compared after the decision is no look that it knew of"
    assert earlier(lake, "door", "2026-01-26", log).comparisons == ["b", "b"]
    print_of_first = earlier(lake, "door", "2026-01-12", log).fingerprint()
    assert found.fingerprint() != print_of_first == earlier(lake, "door", "2026-01-12", log).fingerprint()
