"""A house with a week to train elsewhere, the machine that trains it with a stand-in, and a copy of both to be changed."""

import shutil
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from flywheel.defs.resources import House
from flywheel.defs.training import checkpoint
from flywheel.errors import FlywheelError
from flywheel.lake import TABLES, Lake
from flywheel.operations import training_job
from flywheel.operations.training_job import import_job
from flywheel.partitions import partition_key
from flywheel.settings import Settings
from flywheel.toolcalls.arguments import canonical_json
from flywheel.training import elsewhere
from flywheel.workflows.loader import load_pack
from flywheel_tests.packs import door_simulation
from flywheel_tests.stand_ins.base_model import make_base_model
from flywheel_tests.stand_ins.training import train as stand_in

WEEK, WORKFLOW = "2026-01-05", "door"


def row_of(table: str, **values: Any) -> dict[str, Any]:
    names = (name for name in TABLES[table].polars_schema() if name not in ("week", "workflow"))
    return {**dict.fromkeys(names), **values}


def build_house(home: Path) -> None:
    """The door pack, a base model, and a week whose datasets are ready: twelve rows and two pairs."""
    shutil.copytree(door_simulation.FOLDER, home / "workflows" / WORKFLOW, ignore=shutil.ignore_patterns("__pycache__"))
    make_base_model(home / "models", door_simulation.FOLDER)
    write_datasets(home, rows=12)


def write_datasets(home: Path, *, rows: int) -> None:
    pack, lake = load_pack(home / "workflows" / WORKFLOW), Lake(home / "lake")
    tools, sft, pairs = canonical_json(pack.tools), [], []
    for number in range(rows):
        history = [
            {"role": "system", "content": pack.system},
            {"role": "user", "content": f"open the red door {number}"},
        ]
        function = {"name": "open_door", "arguments": '{"door":"red"}'}
        right = {"role": "assistant", "content": None, "tool_calls": [{"id": "call_0", "type": "function", "function": function}]}  # fmt: skip
        own = {"row_id": f"r{number:02}", "from_week": WEEK, "tools": tools, "messages": canonical_json(history), "conversation_id": f"c{number}"}  # fmt: skip
        sft.append(row_of("sft_dataset", **own, source="correction", target=canonical_json(right), near_duplicate_group=f"g{number}"))  # fmt: skip
        if number < 2:
            wrong = canonical_json({"role": "assistant", "content": "ok"})
            pairs.append(row_of("preference_dataset", **own, chosen=canonical_json(right), rejected=wrong))
    corrected = [row_of("corrected_traces", correction_id=str(n), messages="[]", trainable_indices="[]", bucket="b") for n in range(5)]  # fmt: skip
    for table, content in (("sft_dataset", sft), ("preference_dataset", pairs), ("corrected_traces", corrected)):
        lake.replace_partition(table, content, workflow=WORKFLOW, week=WEEK)
    lake.replace_partition("benchmark", [], workflow=WORKFLOW)


def train_there(folder: Path, base: Path | None = None) -> Any:
    """What `python train.py` does on the other machine, with a stand-in for what trains."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(elsewhere, "train", lambda spec_file: stand_in(spec_file, 0))
        patch.setattr(elsewhere, "REFERENCE", "flywheel_tests.stand_ins.reference")
        patch.setattr(elsewhere, "machine", lambda: {"device": "a GPU", "torch": "2.13.0"})
        return elsewhere.run_job(folder, base)


class Place:
    """A copy of the house and the trained job, to be changed; `take` imports, the stage runs as the real job would run it."""

    def __init__(self, home: Path, job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home, self.job = home, job
        self.settings = Settings(home=self.home)
        self.lake, self.on, self.stages = Lake(self.settings.lake()), dg.DagsterInstance.ephemeral(), 0
        self.facts: Any = {}
        monkeypatch.setattr(training_job, "run_job", self._run)

    def _run(self, name: str, *, workflow: str, week: str, stages: list[str], **rest: Any) -> str:
        assert (name, stages) == ("learn", ["checkpoint"])
        self.facts = self.materialize(workflow, week).metadata
        self.stages += 1
        return "run"

    def materialize(self, workflow: str = WORKFLOW, week: str = WEEK) -> Any:
        context = dg.build_asset_context(partition_key=partition_key(week, workflow), instance=self.on)
        return checkpoint(context, House(home=str(self.home)), dg.PipesSubprocessClient())

    def take(self, **options: Any) -> Any:
        return import_job(self.settings, self.job, self.on, **options)

    def rows(self) -> Any:
        return self.lake.read_partition("checkpoint", workflow=WORKFLOW, week=WEEK)

    def refused(self, said: str) -> FlywheelError:
        """The import fails with a sentence and a remedy, and nothing of it is kept."""
        with pytest.raises(FlywheelError, match=said) as told:
            self.take()
        assert told.value.remedy and not self.settings.trained_elsewhere(WORKFLOW, WEEK).exists()
        assert not list(self.settings.checkpoints(WORKFLOW).glob("*")) and not self.stages
        return told.value
