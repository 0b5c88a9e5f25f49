"""`flywheel bootstrap` in a house of its own: plan, old runs, review and the dataset of week zero, through Dagster, without a model."""

import json
import threading
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
import yaml
from typer.testing import CliRunner

from flywheel.benchmark.cases import load_cases
from flywheel.benchmark.fingerprints import tool_vocabulary
from flywheel.benchmark.freeze import frozen_and_retired, frozen_row
from flywheel.chat.families import find_family
from flywheel.cli import app
from flywheel.corrections.stores import open_store
from flywheel.corrections.workbench.demonstrate import BATCH
from flywheel.datasets.teacher import read_tasks
from flywheel.datasets.week_zero.ledger import add_drafts, decide, ledger_of, lot_of, may_look
from flywheel.datasets.week_zero.prompts import prompt_id
from flywheel.defs.report import weekly_report
from flywheel.defs.resources import House
from flywheel.demo.week import lay_out_pack
from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel.operations.bootstrap import build, next_command, overview, prepare, summary, take_old_runs, week_zero
from flywheel.operations.demonstrations import PackPrompts
from flywheel.operations.erase import erase
from flywheel.operations.launch import instance
from flywheel.operations.screen import Screen
from flywheel.partitions import partition_key
from flywheel.privacy.vault import Vault
from flywheel.promotion.pointer import entry
from flywheel.settings import Settings
from flywheel.training.tiny_tokenizer import train_tokenizer
from flywheel.workflows.base_model import write_manifest
from flywheel.workflows.loader import load_pack
from flywheel.workflows.pack import Pack
from flywheel_tests.conftest import SUPPORT_DESK
from flywheel_tests.datasets.samples import called, said
from flywheel_tests.datasets.test_teacher import Teacher
from flywheel_tests.datasets.week_zero.shown import collected, old_run, refusals, written

DOOR = Path(__file__).parent.parent / "packs" / "door"
ZERO = "2026-01-05"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A house with the door pack, which names a verifier, and one week of old runs."""
    monkeypatch.setenv("FLYWHEEL_HOME", str(tmp_path))
    (tmp_path / "dagster").mkdir()
    (tmp_path / "dagster" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    folder = tmp_path / "workflows" / "door"
    lay_out_pack(DOOR, folder)
    values = yaml.safe_load((folder / "workflow.yaml").read_text())
    (folder / "workflow.yaml").write_text(
        yaml.safe_dump({**values, "verifiers": ["reward"], "rates": {"expert_hour": 60}})
    )
    pack, found = load_pack(folder), Settings()
    runs = [
        old_run(
            pack,
            f"good-{door}",
            f"guest {n} would love the {door} one open",
            called("open_door", door=door),
            said("It is open."),
            reward=1.0,
        )
        for n, door in enumerate(("red", "green", "blue", "gold"))
    ]
    asked = old_run(
        pack,
        "asked",
        "could the gold one be shut for the night",
        called("close_door", door="gold"),
        said("It is shut."),
    )
    collected(Lake(found.lake()), pack, *runs, asked)
    return found


def pack_of(settings: Settings) -> Pack:
    return load_pack(settings.workflows() / "door")


def typed(*words: str, **more) -> str:
    ended = CliRunner().invoke(app, ["bootstrap", "door", *words], catch_exceptions=False, **more)
    assert ended.exit_code == 0, ended.output
    return ended.output


def accepted(settings: Settings, *people: str) -> None:
    """People accept everything that waits for them."""
    pack = pack_of(settings)
    ledger = ledger_of(settings.bootstrap(), pack.folder)
    for by in people:
        for one in lot_of(ledger, pack).of("first", "second"):
            if may_look(one, by):
                decide(ledger, pack, one.row["id"], by=by, accept=True)
    assert not lot_of(ledger, pack).of("first", "second")


def frozen(settings: Settings) -> None:
    pack, lake = pack_of(settings), Lake(settings.lake())
    words = tool_vocabulary(pack.tools)
    rows = [frozen_row(case, pack.tools_sha256, words) for case in load_cases(pack.folder / "benchmark", pack.tools)]
    lake.replace_partition("benchmark", frozen_and_retired(lake.empty("benchmark"), rows), workflow="door")


def a_model(settings: Settings) -> None:
    model = settings.models() / "tiny-random-000000000000"
    model.mkdir(parents=True)
    train_tokenizer(SUPPORT_DESK, find_family("chatml_hermes").special_tokens).save(str(model / "tokenizer.json"))
    write_manifest(model, sha256="0" * 64, source="a test")


def test_the_plan_is_shown_and_what_the_dataset_waits_for_is_said(settings: Settings):
    told = typed("--plan")
    assert f"door, week zero is {ZERO}" in told and "0 of " in told and "targets from the benchmark's cases" in told
    assert "written in the workbench" in told and "cost" in told and not settings.bootstrap().exists()
    seen = overview(settings, "door")
    figures = json.loads(typed("--json"))
    assert figures == json.loads(json.dumps(summary(seen))) and figures["counts"] == 0
    waits = prepare(settings, seen)
    said_of_it = "; ".join(what for what, _ in waits)
    assert "no demonstration counts yet" in said_of_it and "not frozen" in said_of_it and "tiny-random" in said_of_it
    assert next_command(settings, seen, waits).startswith("flywheel bootstrap door --prompts 30")


def test_week_zero_is_before_the_first_week_and_is_begun_once(settings: Settings, lake: Lake):
    assert (
        week_zero(lake, "door", None, "UTC") < "2100" and week_zero(Lake(settings.lake()), "door", None, "UTC") == ZERO
    )
    row = {"week_zero": ZERO, "category": "refusal", "tool": "", "target": 1, "counted": 0, "waiting": 0, "refused": 0}
    lake.replace_partition("week_zero", [row], workflow="door")
    assert week_zero(lake, "door", ZERO, "UTC") == week_zero(lake, "door", None, "UTC") == ZERO
    with pytest.raises(FlywheelError, match=f"week zero of door is {ZERO} already"):
        week_zero(lake, "door", "2026-02-02", "UTC")
    with pytest.raises(FlywheelError, match="is no Monday"):
        week_zero(lake, "door", "2026-02-03", "UTC")


@pytest.mark.parametrize("case", ["decided", "batch", "partition"])
def test_a_week_that_cannot_be_week_zero_is_told(settings: Settings, case: str):
    lake, week = Lake(settings.lake()), {"batch": "2026-01-12", "partition": "2025-12-29"}.get(case)
    if case == "decided":
        lake.append_new(
            "promotion_log",
            [entry("2026-01-12", "d", "REJECT", "base", "base", datetime(2026, 1, 20, tzinfo=UTC))],
            workflow="door",
        )
    if case == "batch":
        lake.replace_partition("correction_batch", [], workflow="door", week="2026-01-12")
    what, command = prepare(settings, overview(settings, "door", week))[-1]
    wanted = {"decided": ("is decided", "flywheel run"), "batch": ("has a correction batch", f"--week {ZERO}"),
              "partition": ("before this installation's first week", "export FLYWHEEL_FIRST_WEEK=2025-12-29")}[case]  # fmt: skip
    assert wanted[0] in what and wanted[1] in command


@pytest.mark.slow
def test_from_old_runs_to_the_dataset_of_week_zero_and_the_second_time_nothing_is_new(settings: Settings):
    frozen(settings)
    a_model(settings)
    lake, pack = Lake(settings.lake()), pack_of(settings)
    taken = take_old_runs(settings, overview(settings, "door"))
    assert (len(taken.verified), len(taken.proposed)) == (4, 1)
    asked = ("a poem about autumn in the hills", "will it rain in Bern tomorrow morning", "tell my aunt that I am late")
    add_drafts(
        ledger_of(settings.bootstrap(), pack.folder), [written(pack, text, said("Doors only.")) for text in asked]
    )
    accepted(settings, "bob", "cat")
    with instance() as on:
        screen = Screen(settings.home / "run.log")
        seen = overview(settings, "door")
        assert not prepare(settings, seen)
        built = build(settings, seen, on, screen)
        assert built.rows == 13, "five runs of two steps, and three answers"
        assert next_command(settings, seen, []) == f"flywheel run --workflow door --week {ZERO} --stage learn"
        versions = {
            name: lake.version(name) for name in ("sft_dataset", "demonstrations", "week_zero", "corrected_traces")
        }
        assert not take_old_runs(settings, seen).verified
        assert build(settings, overview(settings, "door"), on, screen).rows == 13
        assert {name: lake.version(name) for name in versions} == versions, "nothing was written the second time"
    rows = lake.read_partition("sft_dataset", workflow="door", week=ZERO)
    assert set(rows["source"]) == {"demonstration"} and set(rows["qa_mode"]) <= {"two", "sampled"}
    assert not lake.read_partition("corrected_traces", workflow="door", week=ZERO).height
    weekly_report(dg.build_asset_context(partition_key=partition_key(ZERO, "door")), House(home=str(settings.home)))
    assert settings.report("door", ZERO).is_file(), "a week without traces has a page, too"
    plan = lake.read_partition("week_zero", workflow="door")
    assert plan["counted"].sum() == 8 and plan["target"].sum() == sum(
        line.target for line in overview(settings, "door").lines
    )


def test_an_erased_person_leaves_the_demonstrations(settings: Settings):
    pack, lake = pack_of(settings), Lake(settings.lake())
    reference = Vault(settings.vault()).principal_ref("somebody")
    theirs = old_run(pack, "theirs", "x", said("Doors only."), principal_ref=reference)
    lake.replace_partition("production_traces", [theirs], workflow="door", week="2026-01-12")
    ledger = ledger_of(settings.bootstrap(), pack.folder)
    add_drafts(ledger, [*refusals(pack, 2), refusals(pack, 9)[8] | {"trace_id": "theirs", "principal_ref": reference}])
    (pack.folder / "tasks.jsonl").write_text(
        json.dumps({"id": "run-theirs"}) + "\n" + json.dumps({"id": "mine"}) + "\n"
    )
    store = open_store(settings, "door")
    store.save_draft(BATCH, prompt_id("run-theirs"), "ann", {"tail": ["their words"]})
    done = erase(settings, "somebody", reason="asked", by="dana")
    assert done.demonstrations == 2 and not done.left and len(lot_of(ledger, pack).standings) == 2
    assert (pack.folder / "tasks.jsonl").read_text() == '{"id": "mine"}\n'
    assert store.draft(BATCH, prompt_id("run-theirs"), "ann") is None


def test_requests_of_failed_runs_become_prompts_once(settings: Settings):
    pack, lake = pack_of(settings), Lake(settings.lake())
    runs = [old_run(pack, key, f"{text} please", called("open_door", door="gold"), said("Sorry."), result='{"error": "JAMMED"}', outcome_status="failure")
            for key, text in (("one", "let the painter through"), ("two", "air the hall"), ("twin", "air the hall now"))]  # fmt: skip
    silent = old_run(
        pack, "silent", "x", outcome_status="unknown", messages=json.dumps([called("open_door", door="red")])
    )
    collected(
        lake,
        pack,
        *runs,
        silent,
        old_run(pack, "good", "fine", said("Doors only.")),
        failed=("two",),
        groups={"twin": "two"},
    )
    told = typed("--prompts", "2")
    assert "2 prompts added" in told and "flywheel workbench --workflow door" in told
    first, second = read_tasks(pack.folder / "tasks.jsonl", pack)
    assert {first.id, second.id} == {"run-two", "run-one"} and first.id == "run-two", (
        "failed runs first, no twin, no success"
    )
    assert first.conversation_id == "k-two" and [one["role"] for one in first.messages] == ["system", "user"]
    told = typed("--prompts", "5")
    assert "0 prompts added" in told and "1 runs passed over: it does not begin with a person" in told
    prompt = PackPrompts(settings, pack).prompts()[0]
    answer = [
        called("open_door", door="gold"),
        {"role": "tool", "tool_call_id": "call_0", "content": "{}"},
        said("It is stuck."),
    ]
    PackPrompts(settings, pack).keep(prompt, [*prompt.messages, *answer], by="ann", effort={})
    (one,) = lot_of(ledger_of(settings.bootstrap(), pack.folder), pack).standings
    assert (one.row["trace_id"], one.row["conversation_id"], one.status) == ("two", "k-two", "second")


def test_people_review_at_the_terminal_and_nobody_looks_twice(settings: Settings):
    told = typed("--review", "--by", "bob")
    assert "asked about" not in told and "0 wait for a person" in told
    assert "old runs: 4 that a verifier of the pack passed, 1 that a person is asked about" in typed()
    told = typed("--review", "--by", "bob", input="a\n" * 5)
    assert "you are the second, after verifier_reward; it changes something" in told and "you are the first" in told
    assert "4 of " in told and "1 wait for a person" in told and "0.0%" in told
    assert "1 wait for somebody other than bob" in typed("--review", "--by", "bob")
    told = typed("--review", "--by", "cat", input="r\n")
    assert "0 wait for a person" in told and "1 of 5 = 20.0%" in told
    assert len((settings.workflows() / "door" / "demonstrations" / "week_zero.jsonl").read_text().splitlines()) == 4


def test_a_teacher_shows_tasks_that_wait_for_people_and_is_asked_once(settings: Settings):
    task = {
        "id": "t1",
        "messages": [{"role": "user", "content": "a guest stands at the blue one"}],
        "environment": {"seed": 1},
    }
    (settings.workflows() / "door" / "tasks.jsonl").write_text(json.dumps(task) + "\n")
    server = Teacher()
    server.answers = [called("open_door", door="blue"), said("It is open now.")]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        asked = ("--teacher", server.url, "--model", "large")
        assert (
            "nothing was sent" in typed(*asked, "--dry-run") and not server.asked and not settings.bootstrap().exists()
        )
        told = typed(*asked)
        assert (
            "1 shown and waiting" in told
            and "flywheel bootstrap door --review" in told
            and "1 wait for a person" in told
        )
        assert "1 done before" in typed(*asked) and len(server.asked) == 2
        (one,) = lot_of(ledger_of(settings.bootstrap(), settings.workflows() / "door"), pack_of(settings)).standings
        assert (one.status, one.writes, one.row["annotator"], one.cell.tool) == (
            "first",
            True,
            "large at 127.0.0.1",
            "open_door",
        )
        accepted(settings, "bob", "cat")
        assert "1 of " in typed("--no-runs")
        assert "0 of " in typed("--refuse", one.row["id"], "--by", "dan"), "one that counts may still be refused"
        for wrong, said_of_it in ((("--teacher", server.url), "no model is named"), (("--dry-run",), "only a teacher"),
                                  (("--teacher", "https://api.example.org/v1", "--model", "m"), "the pack does not list it")):  # fmt: skip
            with pytest.raises(FlywheelError, match=said_of_it):
                typed(*wrong)
    finally:
        server.shutdown()
        server.server_close()


def test_a_review_without_a_name_or_workflow_is_refused(settings: Settings):
    del settings
    with pytest.raises(FlywheelError, match="nobody is named"):
        typed("--review")
    with pytest.raises(FlywheelError, match="no workflow pack named 'nowhere'"):
        CliRunner().invoke(app, ["bootstrap", "nowhere"], catch_exceptions=False)
