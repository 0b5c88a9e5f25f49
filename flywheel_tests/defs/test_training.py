"""A week without anything to learn from: green, nothing trained, the incumbent carried forward, and every stage says so."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pytest

from flywheel.defs.evaluation import eval_results
from flywheel.defs.promotion import promotion
from flywheel.defs.resources import House
from flywheel.defs.training import checkpoint
from flywheel.lake import TABLES, Lake
from flywheel.partitions import partition_key
from flywheel.promotion.pointer import entry
from flywheel.workflows.base_model import write_manifest
from flywheel_tests.conftest import HOME

WEEK = "2026-01-12"


@pytest.fixture
def house(tmp_path: Path) -> House:
    """A house of its own: the door pack, a base model by name only, and an incumbent from the week before."""
    (tmp_path / "workflows").symlink_to(HOME / "workflows")
    model = tmp_path / "models" / "tiny-random-000000000000"
    model.mkdir(parents=True)
    (model / "tokenizer.json").write_text("{}")
    write_manifest(model, sha256="0" * 64, source="a test")
    lake = Lake(tmp_path / "lake")
    for table in ("sft_dataset", "preference_dataset"):
        lake.replace_partition(table, [], workflow="door", week=WEEK)
    lake.replace_partition("benchmark", [], workflow="door")
    moved = entry("2026-01-05", "d", "PROMOTE", "base", "adapter-before", datetime(2026, 1, 6, tzinfo=UTC))
    lake.append_new("promotion_log", [moved], workflow="door", run_id="r")
    return House(home=str(tmp_path))


def corrections(count: int) -> list[dict]:
    empty = dict.fromkeys(
        name for name in TABLES["corrected_traces"].polars_schema() if name not in ("week", "workflow")
    )
    return [
        {**empty, "correction_id": str(n), "messages": "[]", "trainable_indices": "[]", "bucket": "b"}
        for n in range(count)
    ]


@pytest.mark.parametrize(
    ("accepted", "said"), [(1, "banked: 1 accepted corrections"), (5, "the supervised dataset is empty")]
)
def test_a_week_without_rows_carries_the_incumbent_forward_and_says_so(house: House, accepted: int, said: str):
    lake = house.lake()
    lake.replace_partition("corrected_traces", corrections(accepted), workflow="door", week=WEEK)
    context = dg.build_asset_context(partition_key=partition_key(WEEK, "door"))
    trained = checkpoint(context, house, dg.PipesSubprocessClient())
    assert said in trained.metadata["note"] and not lake.read_partition("checkpoint", workflow="door", week=WEEK).height
    evaluated = eval_results(dg.build_asset_context(partition_key=partition_key(WEEK, "door")), house)
    assert "adapter-before is carried forward" in evaluated.metadata["note"]
    promotion(dg.build_asset_context(partition_key=partition_key(WEEK, "door")), house)
    row = lake.read_partition("promotion", workflow="door", week=WEEK).row(0, named=True)
    assert (row["verdict"], row["served_adapter_id"]) == ("INCONCLUSIVE", "adapter-before")
    assert "nothing was trained this week" in json.loads(row["reasons"])[0]
    assert "adapter-before is carried forward" in json.loads(row["reasons"])[0]


def test_a_week_over_its_budget_starts_no_child(house: House, monkeypatch: pytest.MonkeyPatch):
    pack, lake = Path(house.home) / "workflows", house.lake()
    pack.unlink()
    shutil.copytree(HOME / "workflows", pack)
    with (pack / "door" / "workflow.yaml").open("a") as opened:
        opened.write("\nbudget: {accelerator_hours: 3}\n")
    lake.replace_partition("corrected_traces", corrections(5), workflow="door", week=WEEK)
    empty = dict.fromkeys(name for name in TABLES["sft_dataset"].polars_schema() if name not in ("week", "workflow"))
    lake.replace_partition("sft_dataset", [{**empty, "row_id": "r"}], workflow="door", week=WEEK)
    trained = dict.fromkeys(name for name in TABLES["checkpoint"].polars_schema() if name not in ("week", "workflow"))
    before = [{**trained, "adapter_id": "adapter-before", "sft_presentations": 100}]
    lake.replace_partition("checkpoint", before, workflow="door", week="2026-01-05", seconds=3600.0)
    prepared = SimpleNamespace(spec=SimpleNamespace(sft_presentations=400))
    for name, stand_in in (("leaks_in", []), ("check_weights", None), ("prepare", prepared)):
        monkeypatch.setattr(f"flywheel.defs.training.{name}", lambda *_, found=stand_in, **__: found)
    with dg.DagsterInstance.ephemeral() as on:
        context = dg.build_asset_context(partition_key=partition_key(WEEK, "door"), instance=on)
        with pytest.raises(dg.Failure, match=r"about 4.00 h, and the week has spent 0.00 of 3.00 h"):
            checkpoint(context, house, dg.PipesSubprocessClient())
    assert not lake.has_partition("checkpoint", workflow="door", week=WEEK)
