"""What is refused of a job that comes back: files, spec, rows, base model and adapter that are others than the job says."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from flywheel.errors import FlywheelError
from flywheel.training.job import JOB, OUT, RETURN, ROWS, SPEC, open_job, write_sums
from flywheel.workflows.base_model import find_base_model
from flywheel_tests.operations.training_job.house import Place, train_there, write_datasets


@pytest.mark.parametrize(
    "name", [SPEC, ROWS["sft_rows"], ROWS["preference_rows"], JOB, "code/flywheel/training/sft.py"]
)
def test_a_file_that_was_changed_is_named(refusing: Place, name: str):
    content = (refusing.job / name).read_text()
    (refusing.job / name).write_text(content[::-1].replace("1", "2", 1)[::-1])
    assert "export-job door 2026-01-05" in refusing.refused(f"1 of [0-9]+ files are not as they were exported, {name} first").remedy  # fmt: skip


def test_an_added_file_is_named_and_so_is_one_that_is_missing(refusing: Place):
    (refusing.job / "code" / "more.py").write_text("")
    (refusing.job / "requirements.txt").unlink()
    refusing.refused("2 of [0-9]+ files are not as they were exported, code/more.py first")


def edit(place: Place, name: str, **changes: Any) -> None:
    """Change a JSON file of the job and every hash that could betray it."""
    file = place.job / name
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    if name == SPEC:
        from flywheel.training.job import job_spec

        edit(place, JOB, spec_sha256=job_spec(place.job).sha256())
    write_sums(place.job)


def retell(place: Place, **changes: Any) -> None:
    """Make what came back agree with the folder as it is now."""
    file = place.job / OUT / RETURN
    told = {
        **json.loads(file.read_text()),
        "job_sha256": open_job(place.job)[1],
        "spec_sha256": open_job(place.job)[0].spec_sha256,
    }
    file.write_text(json.dumps(told | changes))


def test_a_forged_spec_with_all_its_hashes_is_not_what_the_week_would_train(refusing: Place):
    edit(refusing, SPEC, sft_learning_rate=0.5)
    refusing.refused("trained from another job, another spec than")
    retell(refusing)
    assert "export-job" in refusing.refused("not what the week would train now: it has other sft_learning_rate").remedy


def test_rows_that_changed_since_are_said_on_either_side(place: Place):
    write_datasets(place.home, rows=13)
    place.refused("would train now: it has other sft_presentations|rows were added")
    write_datasets(place.home, rows=12)
    first, *rest = (place.job / ROWS["sft_rows"]).read_text().splitlines()
    (place.job / ROWS["sft_rows"]).write_text("\n".join([first.replace('"target_ids":[', '"target_ids":[1,'), *rest]) + "\n")  # fmt: skip
    edit(place, SPEC)
    retell(place)
    place.refused("would train now: rows were added, taken away or changed")


def test_another_base_model_is_refused_here_and_there(refusing: Place, tmp_path: Path):
    other = "f" * 64
    edit(refusing, JOB, base_model_sha256=other)
    retell(refusing, base_model_sha256=other)
    refusing.refused("was trained on tiny-random-")
    shutil.rmtree(refusing.job / OUT)
    base = find_base_model(refusing.settings.models(), "tiny-random").folder
    with pytest.raises(FlywheelError, match="these are other weights") as told:
        train_there(refusing.job, base)
    assert other in told.value.remedy
    edit(refusing, JOB, base_model_sha256=find_base_model(refusing.settings.models(), "tiny-random").sha256)
    shutil.copytree(base, tmp_path / "base")
    (tmp_path / "base" / "tokenizer.json").write_text("{}")
    with pytest.raises(FlywheelError, match="its tokenizer.json are not those that the rows were made for"):
        train_there(refusing.job, tmp_path / "base")


def test_an_adapter_that_was_changed_swapped_or_does_nothing_is_refused(refusing: Place, tmp_path: Path):
    told = json.loads((refusing.job / OUT / RETURN).read_text())
    adapter = refusing.job / OUT / told["result"]["adapter_id"]
    shutil.copytree(adapter, tmp_path / "kept")
    weights = adapter / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert "again" in refusing.refused("was changed after it was exported").remedy
    shutil.rmtree(adapter)
    shutil.copytree(tmp_path / "kept", adapter.with_name("adapter-0000000000000000"))
    retell(refusing, result={**told["result"], "adapter_id": "adapter-0000000000000000"})
    refusing.refused("its content gives the name adapter-")
    (tmp_path / "kept").rename(adapter)
    nothing = dict.fromkeys(("base", adapter.name), told["log_probabilities"]["base"])
    retell(refusing, result=told["result"], log_probabilities=nothing)
    refusing.refused("changes nothing, in PEFT neither: 0.0000 nats")
    shutil.rmtree(refusing.job / OUT)
    assert "python train.py" in refusing.refused("nothing was trained from this job yet").remedy
