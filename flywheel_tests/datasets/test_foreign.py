"""Wrong answers of another base model make no pairs; what people put in their place still trains."""

from pathlib import Path
from typing import Any

from flywheel.datasets.foreign import foreign_traces
from flywheel.datasets.preference import preference_rows
from flywheel.lake import TABLES, Lake

WEEKS = ("2026-01-05", "2026-01-12", "2026-01-19", "2026-01-26")


def blank(table: str, **values: Any) -> dict[str, Any]:
    names = [name for name in TABLES[table].polars_schema() if name not in ("week", "workflow")]
    return {**dict.fromkeys(names), **values}


def house(folder: Path, bases: dict[str, str]) -> Lake:
    """Weeks that trained on the named bases; each week's runs are the base model's own and those of the adapter of the week before."""
    lake = Lake(folder)
    for place, week in enumerate(WEEKS):
        if week in bases:
            row = blank("checkpoint", adapter_id=f"a{place}", base_model_sha256=bases[week])
            lake.replace_partition("checkpoint", [row], workflow="w", week=week)
        adapters = ["base", *([f"a{place - 1}"] if place else [])]
        rows = [blank("production_traces", trace_id=f"{week} {name}", adapter_id=name) for name in adapters]
        lake.replace_partition("production_traces", rows, workflow="w", week=week)
    return lake


def test_one_base_model_reads_no_traces(tmp_path: Path):
    lake = house(tmp_path, dict.fromkeys(WEEKS, "x"))
    assert foreign_traces(lake, "w", "x") == frozenset()
    assert foreign_traces(Lake(tmp_path / "empty"), "w", "x") == frozenset()


def test_runs_count_for_the_base_of_their_adapter_and_bare_ones_for_that_of_their_week(tmp_path: Path):
    lake = house(tmp_path, {WEEKS[0]: "x", WEEKS[2]: "y", WEEKS[3]: "y"})
    old = {f"{WEEKS[0]} base", f"{WEEKS[1]} base", f"{WEEKS[1]} a0"}
    assert foreign_traces(lake, "w", "y") == old
    # a1 was never trained: nobody knows its base.
    assert foreign_traces(lake, "w", "x") == {f"{WEEKS[2]} base", f"{WEEKS[3]} base", f"{WEEKS[3]} a2"}


def test_a_foreign_run_gives_no_pair():
    step = dict.fromkeys(("source_id", "principal_ref", "conversation_id", "bucket", "failure_cluster", "tools_sha256", "prompt_tokens",
                          "rejected_tokens", "target_tokens", "verified_by", "annotator_kind", "qa_mode", "week"))  # fmt: skip
    steps = [
        {**step, "trace_id": name, "pair": True, "tools": "[]", "messages": f'["{name}"]', "target": "{}", "rejected": '{"a": 1}'}
        for name in ("own", "other")
    ]  # fmt: skip
    assert [row["trace_id"] for row in preference_rows(steps, foreign={"other"})] == ["own"]
    assert len(preference_rows(steps)) == 2
