"""A week trained on a machine elsewhere lands as its checkpoint. Stand-ins train; one slow test does."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from flywheel.errors import FlywheelError
from flywheel.operations import training_job
from flywheel.operations.act_log import account
from flywheel.operations.audit_log import audit_log
from flywheel.operations.training_job import export_job
from flywheel.serving.adapters import open_adapter
from flywheel.training.job import START, open_job, write_sums
from flywheel.training.job_export import PINNED
from flywheel.training.start import Start
from flywheel.workflows.base_model import find_base_model
from flywheel_tests.operations.training_job.house import (
    WEEK,
    WORKFLOW,
    Place,
    build_house,
    row_of,
    train_there,
    write_datasets,
)
from flywheel_tests.packs import door_simulation
from flywheel_tests.stand_ins.training import write_adapter


def test_what_was_trained_elsewhere_lands_as_the_weeks_checkpoint_and_twice_is_once(place: Place):
    landed = place.take()
    (row,) = place.rows().iter_rows(named=True)
    assert row["adapter_id"] == landed.adapter_id and row["sft_rows"] == 12 and row["preference_rows"] == 2
    assert row["adapter_path"] == f"checkpoints/{WORKFLOW}/{landed.adapter_id}"
    base = find_base_model(place.settings.models(), "tiny-random")
    assert open_adapter(place.home / row["adapter_path"], base_model=base.folder.name).rank == 32
    told = json.loads(row["trained_elsewhere"])
    assert told["machine"] == {"device": "a GPU", "torch": "2.13.0"} and told["spec_sha256"] == landed.job.spec_sha256
    assert told["canary"]["effect_peft"] == pytest.approx(0.5) and told["canary"]["probes"] == 2
    lineage = place.lake.lineage("checkpoint", workflow=WORKFLOW, week=WEEK)
    inputs = json.loads(lineage.inputs) if lineage else {}
    assert {f"sft_dataset/{WEEK}", f"preference_dataset/{WEEK}", "benchmark/-"} <= set(inputs)
    assert place.facts["unchanged"] is False and place.facts["trained_elsewhere"].value == told
    assert place.take().adapter_id == landed.adapter_id and place.facts["unchanged"] is True and place.stages == 2


def test_what_left_and_what_came_back_is_in_the_audit_log(place: Place):
    sha256 = open_job(place.job)[1][:16]
    adapter = place.take(by="Ida").adapter_id
    place.take(by="Eve")
    out, back = audit_log(place.settings).acts
    assert (out.act, out.by, out.workflow) == ("job", account(), WORKFLOW)
    assert out.what.startswith(f"job {sha256} of week {WEEK}, ") and out.what.endswith(f"/{place.job.name}")
    assert (back.act, back.by, back.workflow) == ("checkpoint", "Ida", WORKFLOW), "a second time changes nothing"
    assert back.what == f"{adapter} for week {WEEK}, from job {sha256}, trained on a GPU" and back.at > out.at
    (place.home / "acts.jsonl").write_text("x\n")
    with pytest.raises(FlywheelError, match="the log of acts was changed"):
        export_job(place.settings, WORKFLOW, WEEK, place.home.parent / "another")
    assert not (place.home.parent / "another").exists(), "nothing leaves that cannot be recorded"


def test_a_week_keeps_the_adapter_it_has_unless_somebody_says_otherwise(place: Place, monkeypatch: pytest.MonkeyPatch):
    place.lake.replace_partition(
        "checkpoint", [row_of("checkpoint", adapter_id="adapter-mine")], workflow=WORKFLOW, week=WEEK
    )
    assert "--replace" in place.refused("the checkpoint of 2026-01-05 is adapter-mine already").remedy
    ran: list[str] = []
    monkeypatch.setattr(training_job, "run_job", lambda name, **_: ran.append(name))
    landed = place.take(replace=True)
    assert ran == ["learn"] and (place.settings.checkpoints(WORKFLOW) / landed.adapter_id).is_dir()


def test_after_new_rows_what_was_imported_is_not_taken_for_this_weeks(place: Place, monkeypatch: pytest.MonkeyPatch):
    place.take()
    write_datasets(place.home, rows=14)
    called: list[str] = []
    monkeypatch.setattr("flywheel.defs.training._trained_here", lambda *_: called.append("here") or _stop())
    with pytest.raises(dg.Failure, match="stopped here"):
        place.materialize()
    assert called == ["here"]


def _stop() -> None:
    raise FlywheelError("stopped here", remedy="none")


def test_a_week_that_goes_on_from_the_incumbent_carries_its_weights(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # fmt: skip
    base = find_base_model(place.settings.models(), "tiny-random")
    begun = write_adapter(place.settings.checkpoints(WORKFLOW), base.folder.name, rank=32, alpha=64)
    for asked in ("flywheel.operations.training_job.week_start", "flywheel.defs.training.week_start"):
        monkeypatch.setattr(asked, lambda *_, **__: Start(begun, f"goes on from {begun}"))
    assert "it has other start_adapter_id" in str(pytest.raises(FlywheelError, place.take).value)
    place.job = tmp_path / "going_on"
    export_job(place.settings, WORKFLOW, WEEK, place.job)
    train_there(place.job, base.folder)
    landed = place.take()
    assert place.rows()["start_adapter_id"].to_list() == [begun] and landed.adapter_id != begun
    other = write_adapter(tmp_path / "others", base.folder.name, seed=5, rank=32, alpha=64)
    shutil.rmtree(place.job / START)
    shutil.copytree(tmp_path / "others" / other, place.job / START)
    write_sums(place.job)
    with pytest.raises(FlywheelError, match="start_adapter first"):
        open_job(place.job)


@pytest.mark.slow
def test_a_real_training_in_the_folder_lands_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    home = tmp_path / "home"
    build_house(home)
    shutil.rmtree(home / "models")
    command = [
        sys.executable,
        "-m",
        "flywheel.training.base_model",
        "tiny-random",
        str(home / "models"),
        str(door_simulation.FOLDER),
    ]
    subprocess.run(command, check=True, capture_output=True)
    yaml = home / "workflows" / WORKFLOW / "workflow.yaml"
    yaml.write_text(yaml.read_text().replace("sft_presentations: 3200", "sft_presentations: 24"))
    place = Place(home, tmp_path / "job", monkeypatch)
    export_job(place.settings, WORKFLOW, WEEK, place.job, with_base=True)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    for _ in range(2):  # the second time there is nothing left to do
        said = subprocess.run([sys.executable, str(place.job / "train.py")], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)  # fmt: skip
        assert said.returncode == 0 and "trained adapter-" in said.stdout, said.stderr[-3000:]
    landed = place.take()
    assert place.rows()["adapter_id"][0] == landed.adapter_id and landed.effect() > 0.001
    assert (
        landed.returned.machine["torch"] == PINNED["torch"] + "+cpu"
        or landed.returned.machine["torch"] == PINNED["torch"]
    )
