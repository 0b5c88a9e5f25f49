"""Erasure: after it, not one byte of the person is left in the lake, the log, the events, the inbox or Dagster's records."""

import json
import os
from pathlib import Path

import dagster as dg
import pytest

from flywheel.corrections.events import Event, EventStore, batch_id
from flywheel.lake import Lake
from flywheel.operations.erase import erase
from flywheel.operations.launch import run_job
from flywheel.privacy.erasure import search
from flywheel.privacy.vault import Vault
from flywheel.settings import Settings

WEEK = "2026-02-16"


def runs() -> list[dict]:
    made = []
    for number in range(6):
        person = "zz-erase-me-77" if number < 2 else f"someone-{number}"
        mail = "erase.me@mail.example.org" if number < 2 else "stay@mail.example.org"
        said = f"No, that is wrong, write to {mail}" if number < 2 else "Please open the door"
        made.append({"id": f"erasure-{person}-{number}", "started_at": "2026-02-17T10:00:00Z", "principal": person, "tools": [], "messages": [
            {"role": "user", "content": f"Hello, I am at {mail}, number {number}"}, {"role": "assistant", "content": "Yes?"},
            {"role": "user", "content": said}, {"role": "assistant", "content": "ok"}]})  # fmt: skip
    return made


@pytest.fixture
def settings_() -> Settings:
    settings = Settings(home=Path(os.environ["FLYWHEEL_HOME"]))
    inbox = settings.inbox("door")
    inbox.mkdir(parents=True, exist_ok=True)
    broken = json.dumps({"id": 5, "principal": "zz-erase-me-77", "messages": "none"})
    (inbox / "erasure.jsonl").write_text("\n".join([*map(json.dumps, runs()), broken]) + "\n")
    return settings


def test_a_person_leaves_no_byte_behind(settings_: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    (tmp_path / ".dagster").mkdir()
    instance = dg.DagsterInstance.local_temp(str(tmp_path / ".dagster"), overrides={"telemetry": {"enabled": False}})
    run_job("collect", workflow="door", week=WEEK, on=instance)
    lake, vault = Lake(settings_.lake()), Vault(settings_.vault())
    reference = vault.principal_ref("zz-erase-me-77")
    assert (
        lake.read_partition("production_traces", workflow="door", week=WEEK).filter(principal_ref=reference).height == 2
    )
    batch = lake.read_partition("correction_batch", workflow="door", week=WEEK).filter(principal_ref=reference)
    assert batch.height, "their failure is in the batch"
    store = EventStore(settings_.qa_store("door"))
    opened = store.batch_of(WEEK, "door")
    assert opened
    store.append(
        batch_id(WEEK, "door", opened.version),
        Event(batch["item_id"][0], "claim", "ann", {"note": "erase.me@mail.example.org"}),
    )
    needles = [
        "zz-erase-me-77",
        reference,
        "erase.me@mail.example.org",
        vault.originals(reference)[0].surrogate,
        *batch["trace_id"],
    ]
    before, _ = search([settings_.home, tmp_path], needles)
    assert {hit.needle for hit in before} >= {0, 1, 3, 4}

    done = erase(settings_, "zz-erase-me-77", reason="they asked", on=instance)

    assert done.left == [], done.left
    assert (
        done.erased["door"].rows["production_traces"] == 2
        and done.events >= 1
        and done.inbox_lines == 3
        and done.runs >= 1
    )
    after, searched = search(
        [settings_.home / "lake", settings_.home / "inbox", settings_.home / "qa", tmp_path], needles
    )
    assert after == [] and searched > 20
    assert lake.read_partition("production_traces", workflow="door", week=WEEK).height == 4, "the others stay"
    assert store.verify_chain() > 0
    again = erase(settings_, "zz-erase-me-77", reason="they asked", on=instance)
    assert again.left == [] and again.erased == {}


def test_later_records_of_an_erased_person_are_refused(settings_: Settings, tmp_path: Path):
    instance = dg.DagsterInstance.local_temp(str(tmp_path), overrides={"telemetry": {"enabled": False}})
    erase(settings_, "zz-erase-me-77", reason="they asked")
    (settings_.inbox("door") / "erasure.jsonl").write_text("\n".join(map(json.dumps, runs())) + "\n")
    run_job("collect", workflow="door", week=WEEK, on=instance)
    lake = Lake(settings_.lake())
    refused = lake.read_partition("quarantined_records", workflow="door", week=WEEK).filter(
        reason_code="erased_principal"
    )
    assert refused.height == 2 and set(refused["line"]) == {""}
    assert lake.read_partition("production_traces", workflow="door", week=WEEK).height == 4
