"""Cases load whole or say which line is wrong; the shipped benchmark is as large as promised."""

import json
from pathlib import Path

import pytest

from flywheel.benchmark.cases import benchmark_version, case_content, coverage, load_cases, read_cases, tools_of
from flywheel.benchmark.freeze import active, frozen_and_retired, frozen_row, refuse_changed_cases
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
     ({"tags": ["Not a tag"]}, "tags"), ({"tools": [{"function": {}}]}, "tools"), ({"tools": []}, "tools"),
     ({"expectation": {"kind": "call", "calls": [{"name": "get_order", "arguments": {"order_id": {"regex": "(a"}}}]}}, "linear time"),
     ({"expectation": {"kind": "call", "calls": [{"name": "get_order", "arguments": {"order_id": {"equals": 1}}}]}}, "unknown matcher"),
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


def test_every_wrong_line_is_found_and_each_says_where(pack: Pack, tmp_path: Path):
    spaced = {**CASE, "id": "b", "messages": [{"role": "user", "content": "x\u2028y"}]}
    lines = [
        json.dumps(CASE),
        "{",
        json.dumps({**CASE, "id": "!"}),
        json.dumps(spaced, ensure_ascii=False),
        '{"id": NaN}',
        "[" * 5_000,
    ]
    (tmp_path / "x.jsonl").write_text("\n".join(lines))
    (tmp_path / "y.jsonl").write_bytes(b"\xff\xfe")
    located, problems = read_cases(tmp_path, pack.tools)
    assert [case.id for case, _ in located] == ["a", "b"]
    assert [problem.where.rsplit("/")[-1] for problem in problems] == [
        "x.jsonl:2",
        "x.jsonl:3",
        "x.jsonl:5",
        "x.jsonl:6",
        "y.jsonl",
    ]
    assert all(problem.remedy for problem in problems)


def test_a_matcher_carries_its_own_remedy(pack: Pack, tmp_path: Path):
    wrong = {"kind": "call", "calls": [{"name": "get_order", "arguments": {"order_id": {"regex": "(?=a)"}}}]}
    (tmp_path / "x.jsonl").write_text(json.dumps({**CASE, "expectation": wrong}))
    with pytest.raises(FlywheelError) as caught:
        load_cases(tmp_path, pack.tools)
    assert "look-around" in caught.value.remedy


def test_tags_may_be_added_to_a_frozen_case_and_change_nothing_that_counts(pack: Pack, lake: Lake, tmp_path: Path):
    (tmp_path / "x.jsonl").write_text(json.dumps(CASE))
    (plain,) = load_cases(tmp_path, pack.tools)
    tagged = plain.model_copy(update={"tags": ["adversarial"]})
    assert case_content(plain) == case_content(tagged) and benchmark_version([plain], "t") == benchmark_version(
        [tagged], "t"
    )
    first = frozen_and_retired(lake.empty("benchmark"), [frozen_row(plain, "t")])
    lake.replace_partition("benchmark", first, workflow="desk")
    known = lake.read_partition("benchmark", workflow="desk")
    refuse_changed_cases(known, [frozen_row(tagged, "t")])
    again = frozen_and_retired(known, [frozen_row(tagged, "t")])
    assert active(again) == [tagged] and again["case"].to_list() == first["case"].to_list()
    (retired,) = frozen_and_retired(again, []).iter_rows(named=True)
    assert retired["retired"] and json.loads(retired["tags"]) == ["adversarial"]


def test_a_case_may_bring_its_own_tools(pack: Pack, tmp_path: Path):
    tools = [{"type": "function", "function": {"name": "area", "parameters": {"type": "object"}}}]
    asked = {"kind": "call", "calls": [{"name": "area", "arguments": {}}]}
    (tmp_path / "x.jsonl").write_text(json.dumps({**CASE, "tools": tools, "expectation": asked}))
    (case,) = load_cases(tmp_path, pack.tools)
    assert tools_of(case, pack.tools) == tools
    (tmp_path / "x.jsonl").write_text(json.dumps({**CASE, "expectation": asked}))
    with pytest.raises(FlywheelError, match="unknown tool"):
        load_cases(tmp_path, pack.tools)
