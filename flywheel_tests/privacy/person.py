"""A house that knows one person everywhere an erasure reaches, made without running a week: what tests of erasures erase from."""

import json
from pathlib import Path
from typing import Any

from flywheel.benchmark.cases import Case
from flywheel.benchmark.freeze import frozen_row
from flywheel.benchmark.promote import write_case
from flywheel.corrections.events import Event, EventStore
from flywheel.demo.week import lay_out_pack
from flywheel.failures.selection import item_id
from flywheel.lake import TABLES, Lake
from flywheel.privacy.vault import Original, Vault
from flywheel.settings import Settings
from flywheel.workflows.loader import load_pack

PERSON, WEEK, WORDS = "zz-erase-me-55", "2026-02-16", "the moonlit garden door"
TRACES = ("feedface00000001", "feedface00000002", "feedface00000003")
OTHERS = ("0123456789abcdef", "0123456789abcdee")
DOOR = Path(__file__).parent.parent / "packs" / "door"


def row(table: str, **values: Any) -> dict[str, Any]:
    """A row of a table with nothing in it but `values`."""
    return {**{name: None for name in TABLES[table].polars_schema() if name not in ("week", "workflow")}, **values}


def item_of(trace_id: str) -> str:
    """Id of the batch item that a run of this house becomes."""
    return item_id(trace_id, f"says {trace_id}")


def planted(trace_id: str, kind: str, principal_ref: str | None, **more: Any) -> dict[str, Any]:
    """What the store plants of a run."""
    item = {
        "trace_id": trace_id,
        "principal_ref": principal_ref,
        "conversation_id": f"talk-{trace_id}",
        "messages": WORDS,
    }
    return {"kind": kind, "source": item_of(trace_id), "item": item, "expected": None, "barred": [], **more}


def make_house(home: Path) -> Settings:
    """The house. Two of the person's runs stood in a batch that another version replaced, one stands in the frozen batch of today, where it
    was corrected; one of the batch's other items is somebody else's."""
    settings = Settings(home=home)
    lay_out_pack(DOOR, settings.workflows() / "door")
    lake, vault = Lake(settings.lake()), Vault(settings.vault())
    reference = vault.principal_ref(PERSON)
    vault.keep([Original(reference, "email", "masked.one@example.org", "moon.light@mail.example.org")])
    runs = [*((one, reference) for one in TRACES), *((one, "somebody-else") for one in OTHERS)]

    def put(table: str, rows: list[dict[str, Any]], week: str | None = WEEK) -> None:
        lake.replace_partition(table, rows, workflow="door", week=week, code_version="1", fingerprint="made")

    put("production_traces", [
        row("production_traces", shard=0, trace_id=trace_id, content_sha256=f"says {trace_id}", conversation_id=f"talk-{trace_id}",
            principal_ref=who, source_file="a.jsonl", messages=json.dumps([WORDS]))
        for trace_id, who in runs
    ])  # fmt: skip
    for handed_out in (TRACES, (TRACES[0], *OTHERS)):
        put("correction_batch", [
            row("correction_batch", item_id=item_of(one), trace_id=one, conversation_id=f"talk-{one}", principal_ref=who, position=0,
                message_index=0, failure_cluster="c", bucket="b", severity="major", picked_because="new", tools="[]",
                messages=json.dumps([{"role": "user", "content": WORDS}]))
            for one, who in runs if one in handed_out
        ])  # fmt: skip
    put(
        "sft_dataset",
        [row("sft_dataset", row_id="r1", conversation_id=f"talk-{TRACES[0]}"), row("sft_dataset", row_id="r2")],
    )
    put("checkpoint", [row("checkpoint", adapter_id="adapter-1")])
    _corrections(settings, reference)
    _benchmark(settings, put)
    inbox = settings.inbox("door")
    inbox.mkdir(parents=True)
    (inbox / "a.jsonl").write_text("".join(json.dumps({"principal": who}) + "\n" for who in (PERSON, "somebody")))
    report = settings.report("door", WEEK)
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(WORDS)
    return settings


def _corrections(settings: Settings, reference: str) -> None:
    store = EventStore(settings.qa_store("door"), workflow="door")
    old = store.open_batch(
        week=WEEK, workflow="door", version="v1", item_ids=[item_of(one) for one in TRACES], qa_mode="three"
    )
    store.plant(old, "twin-of-theirs", 0.5, planted(TRACES[1], "overlap", reference))
    store.plant(old, "gold-of-theirs", 0.7, planted("feedface0000pruned", "gold", reference))
    store.plant(old, "gold-of-another", 0.8, planted("0123456789abpruned", "gold", "somebody-else"))
    now = store.open_batch(
        week=WEEK,
        workflow="door",
        version="v2",
        item_ids=[item_of(one) for one in (TRACES[0], *OTHERS)],
        qa_mode="three",
    )
    store.append(now, Event(item_of(TRACES[0]), "claim", "ann", {"note": WORDS}))
    store.append(now, Event(item_of(OTHERS[0]), "claim", "ann"))
    store.export_batch(now, "f" * 64)


def _benchmark(settings: Settings, put: Any) -> None:
    pack = load_pack(settings.workflows() / "door")
    case = Case.model_validate({
        "id": f"promoted-{TRACES[0]}", "cluster": f"promoted-{TRACES[0]}", "category": "tool_calling", "exercises": {"buckets": [], "tools": []},
        "messages": [{"role": "user", "content": WORDS}], "expectation": {"kind": "reply", "includes": [["Doors only"]]},
        "origin": {"trace_id": TRACES[0], "conversations": [f"talk-{TRACES[0]}"]},
    })  # fmt: skip
    write_case(pack.folder / "benchmark", case, pack.tools)
    put("benchmark", [frozen_row(case, pack.tools_sha256)], None)
    put(
        "eval_results",
        [row("eval_results", case_id=one, arm="candidate", epoch=0, transcript="[]") for one in (case.id, "other")],
    )
    put("promotion", [row("promotion", decision_id="d", evidence=json.dumps([case.id]))])
