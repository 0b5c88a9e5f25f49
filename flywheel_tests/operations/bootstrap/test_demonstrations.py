"""Where demonstrations come from besides old runs, and how they go: requests of failed runs, a teacher, erased people."""

import json
import threading

import pytest

from flywheel.corrections.stores import open_store
from flywheel.corrections.workbench.demonstrate import BATCH
from flywheel.datasets.teacher import read_tasks
from flywheel.datasets.week_zero.ledger import add_drafts, ledger_of, lot_of
from flywheel.datasets.week_zero.prompts import prompt_id
from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel.operations.demonstrations import PackPrompts
from flywheel.operations.erase import erase
from flywheel.privacy.vault import Vault
from flywheel.settings import Settings
from flywheel_tests.datasets.samples import called, said
from flywheel_tests.datasets.week_zero.shown import collected, old_run, refusals
from flywheel_tests.operations.bootstrap.house import accepted, pack_of, typed
from flywheel_tests.stand_ins.teacher import Teacher


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
