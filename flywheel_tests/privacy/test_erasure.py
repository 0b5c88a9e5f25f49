"""Erasure: after it, not one byte of the person is left in the lake, the log, the events, the inbox or Dagster's records."""

import json
import os
from pathlib import Path

import dagster as dg
import pytest

from flywheel.benchmark.cases import Case, benchmark_version
from flywheel.benchmark.freeze import active
from flywheel.benchmark.promote import write_case
from flywheel.corrections.events import Event, EventStore, batch_id
from flywheel.demo.week import lay_out_pack
from flywheel.lake import TABLES, Lake
from flywheel.lake.retention import take_rows_away
from flywheel.operations.erase import erase
from flywheel.operations.launch import instance, run_job
from flywheel.privacy.erasure import search
from flywheel.privacy.vault import Vault
from flywheel.settings import Settings
from flywheel.workflows.loader import load_pack

WEEK = "2026-02-16"
DOOR = Path(__file__).parent.parent / "packs" / "door"


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

    done = erase(settings_, "zz-erase-me-77", reason="they asked", by="Dana", on=instance)

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
    again = erase(settings_, "zz-erase-me-77", reason="they asked", by="Dana", on=instance)
    assert again.left == [] and again.erased == {}


def test_later_records_of_an_erased_person_are_refused(settings_: Settings, tmp_path: Path):
    instance = dg.DagsterInstance.local_temp(str(tmp_path), overrides={"telemetry": {"enabled": False}})
    erase(settings_, "zz-erase-me-77", reason="they asked", by="Dana")
    (settings_.inbox("door") / "erasure.jsonl").write_text("\n".join(map(json.dumps, runs())) + "\n")
    run_job("collect", workflow="door", week=WEEK, on=instance)
    lake = Lake(settings_.lake())
    refused = lake.read_partition("quarantined_records", workflow="door", week=WEEK).filter(
        reason_code="erased_principal"
    )
    assert refused.height == 2 and set(refused["line"]) == {""}
    assert lake.read_partition("production_traces", workflow="door", week=WEEK).height == 4


def test_a_case_made_of_their_run_leaves_pack_table_and_results_and_a_tombstone_stays(
    settings_: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    (tmp_path / "dagster").mkdir()
    (tmp_path / "dagster" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    home = Settings(home=tmp_path / "home")
    lay_out_pack(DOOR, home.workflows() / "door")
    monkeypatch.setenv("FLYWHEEL_HOME", str(home.home))
    lake, vault = Lake(home.lake()), Vault(home.vault())
    reference, pack = vault.principal_ref("zz-erase-me-88"), load_pack(home.workflows() / "door")
    run = {
        "shard": 0,
        "trace_id": "feedfacefeedface",
        "conversation_id": "k-theirs",
        "principal_ref": reference,
        "source_file": "x",
        "source_line": 1,
    }
    lake.replace_partition("production_traces", [row("production_traces", **run)], workflow="door", week=WEEK)
    case = Case.model_validate({
        "id": "promoted-feedfacefeedface", "cluster": "promoted-feedfacefeedface", "category": "tool_calling", "exercises": {"buckets": [], "tools": []},
        "messages": [{"role": "user", "content": "my secret garden door sticks again"}],
        "expectation": {"kind": "reply", "includes": [["Doors only"]]}, "origin": {"trace_id": run["trace_id"], "conversations": ["k-theirs"]},
    })  # fmt: skip
    file = write_case(pack.folder / "benchmark", case, pack.tools)
    theirs = file.read_text()
    # Somebody else's run in the same near-duplicate group, which their run gave its name.
    other = json.loads(theirs.replace("secret garden", "barn")) | {
        "id": "promoted-0123456789abcdef", "origin": {"trace_id": "0123456789abcdef", "conversations": ["k-own", "k-theirs"]},
    }  # fmt: skip
    file.write_text(json.dumps(other) + "\n" + theirs)
    with instance() as on:
        run_job("freeze", workflow="door", week=None, on=on, stages=["benchmark"])
    before = benchmark_version(active(lake.read_partition("benchmark", workflow="door")), pack.tools_sha256)
    results = [
        row("eval_results", case_id=name, arm="candidate", epoch=0, transcript="[]") for name in (case.id, "other")
    ]
    lake.replace_partition("eval_results", results, workflow="door", week=WEEK)
    evidence = json.dumps({"discordant": [case.id, "other"]})
    lake.replace_partition(
        "promotion", [row("promotion", decision_id="d", evidence=evidence)], workflow="door", week=WEEK
    )

    done = erase(home, "zz-erase-me-88", reason="they asked", by="Dana")

    assert (done.case_lines, done.cases_named) == (1, 1) and done.left == [], done.left
    (kept,) = active(lake.read_partition("benchmark", workflow="door").filter(case_id=other["id"]))
    assert kept.origin and kept.origin.conversations == ["k-own"] and kept.cluster.startswith("promoted-erased-")
    assert kept.model_dump(mode="json")["messages"] == other["messages"], "what it asks stays as it was frozen"
    assert "secret garden" not in file.read_text() and "barn door" in file.read_text(), "the other promoted case stays"
    frozen = lake.read_partition("benchmark", workflow="door")
    assert case.id not in set(frozen["case_id"]) and "promoted-0123456789abcdef" in set(frozen["case_id"])
    assert lake.read_partition("eval_results", workflow="door", week=WEEK)["case_id"].to_list() == ["other"]
    (decision,) = lake.read_partition("promotion", workflow="door", week=WEEK)["evidence"]
    assert json.loads(decision) == {"discordant": ["erased", "other"]}, "the verdict stays and forgets the name"
    (stone,) = lake.read_partition("benchmark_tombstones", workflow="door").iter_rows(named=True)
    after = benchmark_version(active(frozen), pack.tools_sha256)
    assert (stone["version_before"], stone["version_after"], stone["reason"]) == (
        before,
        after,
        "they asked",
    ) and before != after
    for words in ("secret garden", "feedfacefeedface", "k-theirs"):
        assert search([home.home], [words])[0] == []
    with instance() as on:
        run_job("freeze", workflow="door", week=None, on=on, stages=["benchmark"])
    assert lake.read_partition("benchmark", workflow="door").equals(frozen), "a freeze does not bring it back"
    again = erase(home, "zz-erase-me-88", reason="they asked", by="Dana")
    assert again.case_lines == 0 and lake.read_partition("benchmark_tombstones", workflow="door").height == 1


def test_a_person_whose_runs_were_pruned_is_found_where_they_were_handed_on(tmp_path: Path):
    home = Settings(home=tmp_path / "home")
    lay_out_pack(DOOR, home.workflows() / "door")
    lake, reference = Lake(home.lake()), Vault(home.vault()).principal_ref("zz-erase-me-99")
    for number, table in enumerate(("production_traces", "production_failures", "correction_batch")):
        keys = {key: f"{key}-{number}" for key in TABLES[table].key}
        mine = row(table, **{**keys, "trace_id": f"trace-{number}", "principal_ref": reference})
        lake.replace_partition(table, [{**mine, "shard": 0} if number == 0 else mine], workflow="door", week=WEEK)
    assert take_rows_away(lake, "production_traces", workflow="door", week=WEEK) == 1
    done = erase(home, "zz-erase-me-99", reason="they asked", by="Dana")
    assert done.erased["door"].rows == {"production_failures": 1, "correction_batch": 1}
    assert set(done.erased["door"].trace_ids) == {"trace-1", "trace-2"} and not done.left


def row(table: str, **values) -> dict:
    return {**{name: None for name in TABLES[table].polars_schema() if name not in ("week", "workflow")}, **values}
