"""The training child on a tiny model: it learns, and leaves nothing half-done when killed. `test_resume` has the bits."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

from flywheel.errors import FlywheelError
from flywheel.training.spec import PreferenceRow, SftRow, TrainSpec, write_rows
from flywheel.training.stage import read_result


def prepare(folder: Path, tiny_base_model: Path, *, epochs: float = 6) -> Path:
    prefix = list(range(10, 60))
    rows = [SftRow(prompt_ids=[*prefix, 100 + n], target_ids=[200 + n, 2]) for n in range(16)]
    pairs = [
        PreferenceRow(prompt_ids=r.prompt_ids, chosen_ids=r.target_ids, rejected_ids=[300, 301, 2]) for r in rows[:4]
    ]
    write_rows(folder / "sft.jsonl", rows)
    write_rows(folder / "validation.jsonl", [])
    write_rows(folder / "preference.jsonl", pairs)
    spec = TrainSpec(
        base_model=tiny_base_model, base_model_name="tiny", output=folder / "out", sft_rows=folder / "sft.jsonl",
        preference_rows=folder / "preference.jsonl", lora_rank=8, lora_alpha=16, sft_learning_rate=1e-2, sft_presentations=round(16 * epochs),
        rows_per_step=8, validation_rows=folder / "validation.jsonl", max_pack_tokens=4096, steps_between_saves=5, patience=3,chosen_fall=0.0, dpo_learning_rate=1e-3, dpo_beta=0.1, dpo_pairs_per_step=4, threads=1, seed=0,
    )  # fmt: skip
    (folder / "spec.json").write_text(spec.model_dump_json())
    return folder / "spec.json"


def command(spec: Path) -> list[str]:
    return [sys.executable, "-m", "flywheel.training", str(spec)]


def test_it_learns_and_exports_plain_lora(tmp_path: Path, tiny_base_model: Path):
    spec = prepare(tmp_path, tiny_base_model)
    subprocess.run(command(spec), check=True, capture_output=True)
    first = read_result(spec)
    assert first.sft_last_loss < 0.8 * first.sft_first_loss
    assert first.preference_accuracy is not None and first.preference_accuracy >= 0.5
    assert sorted(file.name for file in first.adapter_path.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "manifest.json",
    ]
    assert first.forgetting.general.texts == 60 and first.forgetting.general.change != 0
    assert first.forgetting.tools is None
    config = json.loads((first.adapter_path / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "tiny" and config["target_modules"] == sorted(config["target_modules"])
    assert not config["use_dora"] and config["modules_to_save"] is None
    assert [entry.stage for entry in first.log] == ["SFT"] * 12 + ["DPO"]
    assert first.sharing == "tree" and first.tokens > 4 * first.tokens_computed
    assert sorted(file.name for file in tmp_path.iterdir() if file.is_dir()) == ["out"], "no scratch is left"


@pytest.mark.slow
def test_it_goes_on_from_another_adapter_s_weights(tmp_path: Path, tiny_base_model: Path):
    spec = prepare(tmp_path, tiny_base_model)
    settings = {**json.loads(spec.read_text()), "preference_rows": str(tmp_path / "validation.jsonl")}
    spec.write_text(json.dumps(settings))
    subprocess.run(command(spec), check=True, capture_output=True)
    first = read_result(spec)
    later = {"start_adapter": str(first.adapter_path), "start_adapter_id": first.adapter_id}
    spec.write_text(json.dumps({**settings, **later}))
    subprocess.run(command(spec), check=True, capture_output=True)
    second = read_result(spec)
    assert second.adapter_id != first.adapter_id
    assert second.sft_first_loss < 0.8 * first.sft_first_loss and second.sft_last_loss < first.sft_last_loss
    other = tmp_path / "other"
    shutil.copytree(first.adapter_path, other)
    tensors = load_file(other / "adapter_model.safetensors")
    save_file({f"{name}.elsewhere": value for name, value in tensors.items()}, other / "adapter_model.safetensors")
    spec.write_text(json.dumps({**settings, **later, "start_adapter": str(other), "seed": 1}))
    ended = subprocess.run(command(spec), capture_output=True, text=True, check=False)
    assert ended.returncode == 2 and "no weight of the adapter to go on from fits" in ended.stderr, ended.stderr[-2000:]


def test_a_killed_child_leaves_no_result_and_no_adapter_and_the_error_names_the_remedy(
    tmp_path: Path, tiny_base_model: Path
):
    spec = prepare(tmp_path, tiny_base_model, epochs=4000)
    launcher = [sys.executable, "-m", "flywheel.processes", "--", *command(spec)]
    progress = tmp_path / "progress"
    with subprocess.Popen(
        launcher,
        env={**os.environ, "FLYWHEEL_PROGRESS": str(progress)},
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    ) as child:
        deadline = time.monotonic() + 60
        while not progress.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert progress.exists(), "training never started"
        child.send_signal(signal.SIGTERM)
        assert child.wait(timeout=30) != 0
    assert not list((tmp_path / "out").glob("adapter-*")) and not (tmp_path / "result.json").exists()
    with pytest.raises(FlywheelError, match=r"without a result[\s\S]*python -m flywheel.training"):
        read_result(spec)


def test_a_spec_that_is_none_is_an_error_with_a_remedy_not_a_traceback(tmp_path: Path):
    (tmp_path / "spec.json").write_text("{}")
    ended = subprocess.run(command(tmp_path / "spec.json"), capture_output=True, text=True, check=False)
    assert ended.returncode == 2 and "->" in ended.stderr and "Traceback" not in ended.stderr


@pytest.mark.slow
def test_a_loss_that_is_no_number_stops_at_its_step_and_exports_nothing(tmp_path: Path, tiny_base_model: Path):
    spec = prepare(tmp_path, tiny_base_model)
    settings = json.loads(spec.read_text())
    spec.write_text(json.dumps({**settings, "sft_learning_rate": 1e30}))
    ended = subprocess.run(command(spec), capture_output=True, text=True, check=False)
    assert ended.returncode == 2 and "training diverged, nothing was exported" in ended.stderr, ended.stderr[-2000:]
    assert not list((tmp_path / "out").glob("*")) and not (tmp_path / "result.json").exists()
    with pytest.raises(FlywheelError, match=r"at step \d+ of the SFT stage"):
        read_result(spec)
