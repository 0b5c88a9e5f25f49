"""A row is traced to the byte it came from and to the verdict on what it trained; a checkpoint says why it is as it is."""

import json
import shutil
from pathlib import Path

import pytest

from flywheel.errors import FlywheelError
from flywheel.lake import TABLES, Lake
from flywheel.operations.lineage import trace_id_lineage
from flywheel.operations.why import why
from flywheel.settings import Settings
from flywheel.workflows.loader import load_pack

WEEK, LATER = "2026-01-05", "2026-01-12"
DOOR = Path(__file__).parent.parent / "packs" / "door"


def row(table: str, **values) -> dict:
    return {**{name: None for name in TABLES[table].polars_schema() if name not in ("week", "workflow")}, **values}


@pytest.fixture
def house(tmp_path: Path):
    settings = Settings(home=tmp_path)
    shutil.copytree(DOOR, settings.workflows() / "door")
    inbox = settings.inbox("door")
    inbox.mkdir(parents=True)
    first, second = json.dumps({"id": "r0"}), json.dumps({"id": "r1", "said": "zo\u00eb"}, ensure_ascii=False)
    (inbox / "a.jsonl").write_text(f"{first}\n{second}\n", encoding="utf-8")
    lake = Lake(settings.lake())
    tables = {
        "production_traces": row("production_traces", shard=0, trace_id="t1", source_id="r1", source_system="shop", source_file="a.jsonl", source_line=2,
                                 adapter_id="base"),
        "production_failures": row("production_failures", failure_id="f1", trace_id="t1", bucket="wrong_arguments", evidence='["said red, called blue"]'),
        "corrected_traces": row("corrected_traces", correction_id="c1", item_id="i1", trace_id="t1", bucket="wrong_arguments", annotator="ann",
                                reviewer="rob", batch_version="b1"),
        "training_steps": row("training_steps", row_id="x1", source="correction", source_id="c1", trace_id="t1", message_index=1),
        "sft_dataset": row("sft_dataset", row_id="x1", source="correction", source_id="c1", trace_id="t1", bucket="wrong_arguments", from_week=WEEK,
                           qa_mode="three", annotator_kind="human"),
        "preference_dataset": row("preference_dataset", row_id="y1", source_id="c1", trace_id="t1"),
        "checkpoint": row("checkpoint", adapter_id="adapter-1", sft_rows=1, preference_rows=1),
        "promotion": row("promotion", decision_id="d1", verdict="PROMOTE", reasons='["better by 9 points"]', served_adapter_id="adapter-1"),
    }  # fmt: skip
    for table, value in tables.items():
        version = lake.version("sft_dataset") if table == "checkpoint" else None
        inputs = {f"sft_dataset/{WEEK}": version} if version is not None else None
        lake.replace_partition(table, [value], workflow="door", week=WEEK, inputs=inputs)
    results = [row("eval_results", case_id=case, arm=arm, epoch=0, success=good)
               for case, arm, good in (("k1", "candidate", True), ("k1", "incumbent", False), ("k2", "candidate", True), ("k2", "incumbent", True))]  # fmt: skip
    lake.replace_partition("eval_results", results, workflow="door", week=WEEK)
    fixed = row("failure_clusters", failure_cluster="open_door · wrong_arguments · #", status="fixed", fixed_by="adapter-1", last_seen_week=WEEK,
                by_adapter="{}")  # fmt: skip
    lake.replace_partition("failure_clusters", [fixed], workflow="door", week=LATER)
    return settings, lake, load_pack(settings.workflows() / "door"), len(first) + 1


@pytest.mark.parametrize("wanted", ["x1", "y1", "c1", "t1", "f1", "r1"])
def test_any_id_leads_back_to_the_byte_and_forth_to_the_verdict(house, wanted: str):
    settings, lake, pack, offset = house
    found = trace_id_lineage(lake, settings, pack, wanted)
    assert [link.kind for link in found.back] == ["correction", "failure", "run", "inbox file"]
    assert found.back[-1].name == "a.jsonl" and found.back[-1].facts == {"record": 2, "byte offset": offset}
    assert [link.kind for link in found.forth] == ["dataset", "checkpoint", "evaluation", "evaluation", "verdict"]
    checkpoint = next(link for link in found.forth if link.kind == "checkpoint")
    assert checkpoint.name == "adapter-1" and checkpoint.facts.get("row is in that version", "1 of 1") == "1 of 1"
    assert found.forth[-1].name == "PROMOTE"


def test_a_row_of_an_old_run_names_who_accepted_it(house):
    settings, lake, pack, _ = house
    empty = dict.fromkeys(name for name in TABLES["demonstrations"].polars_schema() if name != "workflow")
    shown = {
        **empty,
        "demonstration_id": "d1",
        "trace_id": "t1",
        "annotator": "base",
        "reviewer": "ann, bob",
        "qa_mode": "two",
    }
    lake.replace_partition("demonstrations", [shown], workflow="door")
    first = trace_id_lineage(lake, settings, pack, "x1").back[0]
    assert (first.kind, first.name, first.facts["reviewer"]) == ("demonstration", "d1", "ann, bob")


def test_a_file_that_left_the_inbox_and_an_id_nobody_has_are_said(house):
    settings, lake, pack, _ = house
    (settings.inbox("door") / "a.jsonl").unlink()
    assert "no longer in the inbox" in trace_id_lineage(lake, settings, pack, "x1").back[-1].facts["byte offset"]
    with pytest.raises(FlywheelError, match="has the id 'nope'"):
        trace_id_lineage(lake, settings, pack, "nope")


def test_a_checkpoint_says_what_it_trained_on_and_what_it_fixed(house):
    _, lake, _, _ = house
    links = {link.kind: link for link in why(lake, "door", "adapter")}
    assert links["checkpoint"].name == "adapter-1" and links["verdict"].name == "PROMOTE"
    assert links["repairs"].name == "wrong_arguments" and links["repairs"].facts["corrections"] == 1
    assert links["cases fixed"].facts == {"of": 2, "such as": "k1"} and links["cases broken"].name == "0"
    assert links["failure cluster fixed"].name.startswith("open_door")
    with pytest.raises(FlywheelError, match="0 checkpoints"):
        why(lake, "door", "zzz")
