"""Drafts: written as YAML that a person can edit, read back value for value, barred at once, moved when ready and never half."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from typer.testing import CliRunner

from flywheel.benchmark.cases import REQUIRED_CATEGORIES, load_cases
from flywheel.benchmark.drafts import EDIT, bar_drafts, move_ready, read_drafts, write_draft
from flywheel.benchmark.forget import forget_cases, forget_names
from flywheel.benchmark.freeze import frozen_and_retired
from flywheel.benchmark.leaks import LeakCandidate, find_leaks, read_registry
from flywheel.benchmark.lint.run import lint_cases
from flywheel.benchmark.proposals import draft_cases
from flywheel.benchmark.skeletons import skeleton
from flywheel.cli import app
from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel.workflows.loader import load_pack
from flywheel.workflows.pack import Pack
from flywheel_tests.benchmark.test_promote import WEEK, row
from flywheel_tests.conftest import HOME
from flywheel_tests.toolcalls.test_arguments import VALUES

NOW = datetime(2026, 1, 12, tzinfo=UTC)


def finish(file: Path, **words: str) -> None:
    """What a person does: write what is missing and say ready."""
    text = file.read_text().replace("ready: false", "ready: true")
    for old, new in words.items():
        text = text.replace(old, new)
    file.write_text(text.replace(EDIT, ""))


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(VALUES)
def test_what_is_written_is_read_back_value_for_value(pack: Pack, tmp_path: Path, value):
    shutil.rmtree(tmp_path / "benchmark", ignore_errors=True)
    values = {
        "id": "x",
        "cluster": value,
        "messages": [{"role": "user", "content": json.dumps(value)}, {"n": value}],
        "expectation": value,
    }
    write_draft(Pack(**{**vars(pack), "folder": tmp_path}), values, "about\nthis: yes")
    (draft,) = read_drafts(tmp_path / "benchmark")
    assert json.dumps(draft.values, sort_keys=True) == json.dumps(values, sort_keys=True) and not draft.ready


@pytest.mark.parametrize(
    ("text", "said"),
    [("case: [", "not valid YAML"), ("ready: yes\ncase: {id: x}", "neither true nor false"), ("case: {id: x, id: y}", "twice"),
     ("a: &n {b: 1}\ncase: *n", "alias"), ("ready: true", "two keys"), ("case: {1: 2}", "no text"), ("case: {}\nsurprise: 1", "two keys"),
     ("case: " + "[" * 1_200, "not valid YAML"), ("case: !!python/object:os.system {}", "not valid YAML")],
)  # fmt: skip
def test_a_broken_draft_names_its_file(tmp_path: Path, text: str, said: str):
    (tmp_path / "drafts").mkdir()
    (tmp_path / "drafts" / "x.yaml").write_text(text)
    with pytest.raises(FlywheelError, match=said) as caught:
        read_drafts(tmp_path)
    assert "x.yaml" in caught.value.where and caught.value.remedy


def test_yaml_is_read_as_json_with_comments(tmp_path: Path):
    (tmp_path / "drafts").mkdir()
    (tmp_path / "drafts" / "x.yaml").write_text(
        "case: {a: 2026-01-05, b: yes, c: 010, d: 1e3, e: null, f: 12, g: true, h: -0.5}  # note\n"
    )
    (draft,) = read_drafts(tmp_path)
    assert draft.values == {
        "a": "2026-01-05",
        "b": "yes",
        "c": "010",
        "d": 1000.0,
        "e": None,
        "f": 12,
        "g": True,
        "h": -0.5,
    }


def test_nothing_is_moved_when_one_ready_draft_is_wrong(mine: Pack):
    good, bad, later = (
        write_draft(mine, skeleton(mine, "tool_calling", name), "x") for name in ("good", "bad", "later")
    )
    finish(good)
    finish(bad, **{'"exact": "changed_mind"': '"exact": "boredom"'})
    before = (mine.folder / "benchmark" / "first.jsonl").read_bytes()
    with pytest.raises(FlywheelError, match="bad: no call of cancel_order"):
        move_ready(mine)
    assert sorted(path.name for path in (mine.folder / "benchmark").glob("*.jsonl")) == ["first.jsonl"]
    assert (mine.folder / "benchmark" / "first.jsonl").read_bytes() == before and good.exists() and bad.exists()
    bad.unlink()
    moved = move_ready(mine)
    assert [case.id for case in moved.cases] == ["good"] and moved.waiting == ["later"] and later.exists()
    with pytest.raises(FlywheelError, match="draft of later already"):
        write_draft(mine, {"id": "later"}, "x")


def corrected(lake: Lake, *, runs: int) -> None:
    """Runs with accepted corrections: two clusters, each run its own near-duplicate group, the last corrected by words."""
    said = [
        f"run number {n}: where did the parcel of order A{n} end up, nobody here has seen it at all"
        for n in range(runs)
    ]
    call = {"id": "c", "type": "function", "function": {"name": "get_order", "arguments": '{"order_id": "A7"}'}}
    rows: dict[str, list[dict]] = {
        "production_traces": [],
        "near_duplicates": [],
        "production_failures": [],
        "corrected_traces": [],
    }
    for n, text in enumerate(said):
        history = [{"role": "user", "content": text}]
        step = (
            {"role": "assistant", "content": None, "tool_calls": [call]}
            if n < runs - 1
            else {"role": "assistant", "content": "I look into it."}
        )
        rows["production_traces"].append(
            row(
                "production_traces",
                shard=0,
                trace_id=f"t{n}",
                conversation_id=f"k{n}",
                messages=json.dumps([*history, {"role": "assistant", "content": "No."}]),
            )
        )
        rows["near_duplicates"].append(row("near_duplicates", trace_id=f"t{n}", near_duplicate_group=f"t{n}"))
        rows["production_failures"].append(row("production_failures", failure_id=f"f{n}", trace_id=f"t{n}", message_index=1, bucket="wrong_tool_selection",
                                               failure_cluster=f"x{n % 2}", tool="get_order"))  # fmt: skip
        rows["corrected_traces"].append(row("corrected_traces", correction_id=f"c{n}", trace_id=f"t{n}", first_bad_message_index=1, failure_cluster=f"x{n % 2}",
                                            near_duplicate_group=f"t{n}", bucket="wrong_tool_selection", messages=json.dumps([*history, step])))  # fmt: skip
    for table, some in rows.items():
        lake.replace_partition(table, some, workflow="mine", week=WEEK)


def test_drafting_takes_a_fifth_of_the_corrections_and_bars_them_before_they_are_frozen(mine: Pack, lake: Lake):
    corrected(lake, runs=10)
    lake.replace_partition("benchmark", frozen_and_retired(lake.empty("benchmark"), []), workflow="mine")
    files = draft_cases(lake, mine, corrections=5, refusals=0, adversarial=0)
    assert len(files) == 2, "a fifth of ten, one of each failure cluster first"
    drafts = read_drafts(mine.folder / "benchmark")
    assert {draft.values["origin"]["trace_id"] for draft in drafts} == {"t0", "t1"}
    rows = [LeakCandidate("same run", "k0", "x"), LeakCandidate("its words", "z", "order A0 parcel: " + drafts[0].values["messages"][0]["content"]),
            LeakCandidate("other", "k9", "cancel my order, I do not want it any more")]  # fmt: skip
    assert bar_drafts(lake, mine, NOW) == 2
    assert {leak.row_id for leak in find_leaks(read_registry(lake, "mine"), rows)} == {"same run", "its words"}
    assert draft_cases(lake, mine, corrections=5, refusals=0, adversarial=0) == [], "the fifth is used up"
    files[0].write_text("case: [")
    assert bar_drafts(lake, mine, NOW) == 2, "half-edited, and still barred"
    files[0].unlink()
    assert bar_drafts(lake, mine, NOW) == 1
    assert "same run" not in {leak.row_id for leak in find_leaks(read_registry(lake, "mine"), rows)}, "let go"


def test_a_draft_of_a_run_bars_it_whatever_its_history_looks_like(mine: Pack, lake: Lake):
    """A run may be no flawless conversation, such as one that was cut in the middle: it is drafted, so it trains no more."""
    corrected(lake, runs=10)
    lake.replace_partition("benchmark", frozen_and_retired(lake.empty("benchmark"), []), workflow="mine")
    file, _ = draft_cases(lake, mine, corrections=5, refusals=0, adversarial=0)
    said = file.read_text()
    file.write_text(said.replace('"role": "user"', '"role": "customer"'))
    assert bar_drafts(lake, mine, NOW) == 2
    held = [LeakCandidate("same run", "k0", "x")]
    assert [leak.row_id for leak in find_leaks(read_registry(lake, "mine"), held)] == ["same run"]


def test_a_correction_in_words_asks_which_of_them_must_be_said(mine: Pack, lake: Lake):
    corrected(lake, runs=1)
    one = lake.read_partition("corrected_traces", workflow="mine", week=WEEK).drop("week", "workflow")
    copies = [
        {**one.row(0, named=True), "correction_id": f"d{n}", "trace_id": f"u{n}", "near_duplicate_group": "t0"}
        for n in range(9)
    ]
    lake.replace_partition("corrected_traces", [one.row(0, named=True), *copies], workflow="mine", week=WEEK)
    (file,) = draft_cases(lake, mine, corrections=5, refusals=0, adversarial=0)
    assert "# The expert wrote: I look into it." in file.read_text() and EDIT in file.read_text(), (
        "one a near-duplicate group"
    )


def test_an_erased_person_leaves_the_drafts_too(mine: Pack, lake: Lake):
    corrected(lake, runs=10)
    files = draft_cases(lake, mine, corrections=2, refusals=0, adversarial=0)
    files[1].write_text(files[1].read_text() + "\n: broken [")
    gone = forget_cases(lake, "mine", mine.folder / "benchmark", {"t0", "t1"}, mine.tools_sha256)
    assert (
        read_drafts(mine.folder / "benchmark") == []
        and gone.lines == 2
        and set(gone.case_ids) == {file.stem for file in files}
    )


def test_drafts_of_others_forget_an_erased_persons_conversation(mine: Pack, lake: Lake):
    corrected(lake, runs=10)
    near = lake.read_partition("near_duplicates", workflow="mine", week=WEEK).drop("week", "workflow")
    lake.replace_partition(
        "near_duplicates", near.with_columns(near_duplicate_group=pl.lit("g")), workflow="mine", week=WEEK
    )
    draft_cases(lake, mine, corrections=1, refusals=0, adversarial=0)
    bar_drafts(lake, mine, NOW)
    forget_names(lake, "mine", mine.folder / "benchmark", {"t5"}, {"k5"})
    (draft,) = read_drafts(mine.folder / "benchmark")
    (marks,) = lake.read_partition("benchmark_drafts", workflow="mine")["conversations"]
    assert "k5" not in draft.file.read_text() and "k5" not in marks and "k6" in marks
    bar_drafts(lake, mine, NOW)
    assert "k5" not in lake.read_partition("benchmark_drafts", workflow="mine")["conversations"][0]


def test_drafted_refusals_and_adversarial_cases_are_sound_once_edited(mine: Pack, lake: Lake):
    tools = [
        {**tool, "x-forbidden-without": "get_order"} if tool["function"]["name"] == "refund_order" else tool
        for tool in mine.tools
    ]
    mine = Pack(**{**vars(mine), "tools": tools})
    files = draft_cases(lake, mine, corrections=0, refusals=100, adversarial=100)
    assert bar_drafts(lake, mine, NOW) == 0, "nothing is written yet that could be learned"
    for file in files:
        finish(file)
    cases = [draft.case() for draft in read_drafts(mine.folder / "benchmark")]
    assert [found for found in lint_cases(cases, mine) if found.level == "error"] == []
    assert bar_drafts(lake, mine, NOW) == len(files)
    kinds = {case.id.split("-")[0] for case in cases if "adversarial" in case.tags}
    assert (
        kinds == {"injection", "pressure", "near", "poisoned"}
        and sum("adversarial" not in case.tags for case in cases) >= 7
    )
    assert draft_cases(lake, mine, corrections=0, refusals=100, adversarial=100) == [], "a draft is never written over"


def test_the_commands_write_drafts_and_say_what_comes_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mine: Pack):
    monkeypatch.setenv("FLYWHEEL_HOME", str(tmp_path))
    run = CliRunner()
    first = run.invoke(
        app, ["benchmark", "draft", "--refusals", "1", "--adversarial", "0", "--workflow", "mine"]
    ).stdout
    assert "needs a recovery case: flywheel benchmark new recovery --workflow mine" in first
    for file in (mine.folder / "benchmark" / "drafts").glob("ask-*.yaml"):
        assert "needs a refusal case" not in first
        file.unlink()
    for category in REQUIRED_CATEGORIES:
        assert run.invoke(app, ["benchmark", "new", category, "--workflow", "mine"]).exit_code == 0
    made = sorted(draft.file.stem for draft in read_drafts(mine.folder / "benchmark"))
    assert made == ["multi-step-1", "recovery-1", "refusal-1", "tool-calling-1"]
    said = run.invoke(app, ["benchmark", "draft", "--workflow", "mine"])
    assert said.exit_code == 0 and "12 drafts written" in said.stdout and "benchmark freeze" in said.stdout
    assert run.invoke(app, ["benchmark", "supersede", "call-get-order-00", "--workflow", "mine"]).exit_code == 0
    linted = run.invoke(app, ["benchmark", "lint", "--workflow", "mine"])
    assert linted.exit_code == 0 and "0 errors" in linted.stdout and "detects" in linted.stdout
    (mine.folder / "benchmark" / "wrong.jsonl").write_text("{")
    assert run.invoke(app, ["benchmark", "lint", "--workflow", "mine"]).exit_code == 1
    for wrong in (
        ["new", "magic"],
        ["new", "refusal", "--id", "call-get-order-00"],
        ["new", "refusal", "--tool", "fly"],
    ):
        assert isinstance(run.invoke(app, ["benchmark", *wrong, "--workflow", "mine"]).exception, FlywheelError)


@pytest.mark.slow
def test_freezing_by_the_command_moves_what_is_ready_and_supersedes_what_was_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    (tmp_path / "dagster").mkdir()
    (tmp_path / "dagster" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("FLYWHEEL_HOME", str(tmp_path))
    door = tmp_path / "workflows" / "door"
    shutil.copytree(HOME / "workflows" / "door", door)
    lake, run = Lake(tmp_path / "lake"), CliRunner()

    def command(*words: str) -> str:
        done = run.invoke(app, ["benchmark", *words, "--workflow", "door"])
        assert done.exit_code == 0, done.exception
        return done.stdout

    command("freeze")
    before = lake.read_partition("benchmark", workflow="door")
    file = write_draft(load_pack(door), skeleton(load_pack(door), "refusal", "please-no"), "x")
    assert "not ready: please-no" in command("freeze")
    finish(file)
    assert "please-no enters the benchmark (refusal, reply)" in command("freeze")
    after = lake.read_partition("benchmark", workflow="door")
    assert (
        set(after["case_id"]) - set(before["case_id"]) == {"please-no"}
        and lake.read_weeks("benchmark_drafts", workflow="door").height == 0
    )
    old = next(case for case in load_cases(door / "benchmark", load_pack(door).tools) if case.id == "call-open-red-0")
    command("supersede", old.id, "--ready")
    assert f"{old.id} is retired" in command("freeze")
    retired = lake.read_partition("benchmark", workflow="door").filter(pl.col("retired"))
    assert retired["case_id"].to_list() == [old.id] and old.id in set(read_registry(lake, "door")["case_id"]), (
        "and stays barred"
    )
    assert "smallest true difference" in command("stats")
