"""Cases load whole or say which line is wrong; the shipped benchmark is as large as promised."""

import json
from pathlib import Path

import pytest

from flywheel.benchmark.cases import benchmark_version, coverage, load_cases
from flywheel.benchmark.freeze import frozen_row, refuse_changed_cases
from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel.workflows.pack import Pack

CASE = {"id": "a", "cluster": "c", "category": "refusal", "exercises": {"buckets": [], "tools": []},
        "messages": [{"role": "user", "content": "x"}], "expectation": {"kind": "reply", "includes": [["no"]]}}  # fmt: skip


def test_the_shipped_benchmark_has_240_cases_in_four_categories_within_the_step_budget(pack: Pack):
    cases = load_cases(pack.folder / "benchmark", pack.tools)
    assert len(cases) >= 240 and coverage(cases) == [] and len({case.cluster for case in cases}) >= 60
    assert sum(4 if case.expectation.kind == "episode" else 1 for case in cases) <= 360


@pytest.mark.parametrize(
    ("change", "said"),
    [({"category": "magic"}, "category"), ({"id": "A B"}, "id"), ({"exercises": {"buckets": [], "tools": ["nope"]}}, "unknown tool"),
     ({"expectation": {"kind": "guess"}}, "expectation"), ({"surprise": 1}, "surprise"), ({"messages": []}, "messages")],
)  # fmt: skip
def test_a_wrong_case_names_file_line_and_field(pack: Pack, tmp_path: Path, change: dict, said: str):
    (tmp_path / "x.jsonl").write_text("\n" + json.dumps({**CASE, **change}) + "\n")
    with pytest.raises(FlywheelError, match=said) as caught:
        load_cases(tmp_path, pack.tools)
    assert caught.value.where.endswith("x.jsonl:2")


def test_broken_json_and_repeated_ids_are_refused(pack: Pack, tmp_path: Path):
    (tmp_path / "x.jsonl").write_text(json.dumps(CASE) + "\n{")
    with pytest.raises(FlywheelError, match="not valid JSON"):
        load_cases(tmp_path, pack.tools)
    (tmp_path / "x.jsonl").write_text(json.dumps(CASE) + "\n" + json.dumps(CASE))
    with pytest.raises(FlywheelError, match="stands twice"):
        load_cases(tmp_path, pack.tools)


def test_no_benchmark_at_all_is_four_missing_categories(pack: Pack, tmp_path: Path):
    assert coverage(load_cases(tmp_path / "none", pack.tools)) == ["tool_calling", "multi_step", "refusal", "recovery"]


def test_a_frozen_case_may_not_change(pack: Pack, lake: Lake, tmp_path: Path):
    (tmp_path / "x.jsonl").write_text(json.dumps(CASE))
    (case,) = load_cases(tmp_path, pack.tools)
    row = frozen_row(case, pack.tools_sha256)
    lake.append_new("benchmark", [row], workflow="desk")
    refuse_changed_cases(lake.read_partition("benchmark", workflow="desk"), [row])
    edited = case.model_copy(update={"cluster": "other"})
    with pytest.raises(FlywheelError, match="new id"):
        refuse_changed_cases(lake.read_partition("benchmark", workflow="desk"), [frozen_row(edited, pack.tools_sha256)])
    assert benchmark_version([case], "t") != benchmark_version([edited], "t") != benchmark_version([edited], "u")
