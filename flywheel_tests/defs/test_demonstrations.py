"""The stage of demonstrations does its work again whenever a line says something else, whatever the id of its run."""

import shutil
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from flywheel.datasets.teacher import write_rows
from flywheel.defs.benchmark import demonstrations
from flywheel.defs.resources import House
from flywheel.toolcalls.arguments import sha256_of
from flywheel.workflows.loader import load_pack
from flywheel_tests.datasets.samples import called, said

DOOR = Path(__file__).parents[1] / "packs" / "door"
CHANGES = [{"trains_from": 2}, {"conversation_id": "another"}, {"principal_ref": "p2"}, {"reviewer": "cat"}, {"qa_mode": "three"},
           {"trace_id": "t2"}, {"tenant_id": "acme"}, {"annotator": "dan"}]  # fmt: skip


@pytest.fixture
def house(tmp_path: Path) -> House:
    """A house with the door pack alone."""
    shutil.copytree(DOOR, tmp_path / "workflows" / "door", ignore=shutil.ignore_patterns("__pycache__"))
    return House(home=str(tmp_path))


def unchanged(house: House) -> bool:
    made = demonstrations(dg.build_asset_context(partition_key="door"), house)
    assert isinstance(made, dg.MaterializeResult)
    return bool((made.metadata or {})["unchanged"])


def test_what_an_id_does_not_hold_is_written_too(house: House):
    pack = load_pack(Path(house.home) / "workflows" / "door")
    user = {"role": "user", "content": "open the red door"}
    line: dict[str, Any] = {
        "conversation_id": "c", "tools": pack.tools, "messages": [user, called("open_door", door="red"), said("Done.")], "trains_from": 1,
        "annotator_kind": "human", "annotator": "ann", "reviewer": "rob", "qa_mode": "two", "principal_ref": "p1",
    }  # fmt: skip
    file, lake = pack.folder / "demonstrations" / "mine.jsonl", house.lake()
    for changes in ({}, *CHANGES):
        line |= changes
        write_rows(file, [line])
        assert not unchanged(house) and unchanged(house), changes
        (row,) = lake.read_partition("demonstrations", workflow="door").to_dicts()
        assert {name: row[name] for name in changes} == changes
        assert row["demonstration_id"] == sha256_of([line["tools"], line["messages"]])[:16]
