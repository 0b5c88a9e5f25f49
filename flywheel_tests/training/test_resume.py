"""A training child that is killed at any step goes on where it saved last and ends with the same bits."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flywheel.training.spec import PreferenceRow, SftRow, TrainSpec, write_rows
from flywheel.training.stage import read_result
from flywheel.training.trainer import last_whole_save

pytestmark = pytest.mark.slow


def prepare(folder: Path, base_model: Path) -> Path:
    """A spec of 40 supervised steps with validation and 12 preference steps, saved every third."""
    folder.mkdir()
    chance = random.Random(0)
    prefix = [chance.randrange(300, 1000) for _ in range(300)]
    rows = [
        SftRow(prompt_ids=[*prefix, *chance.choices(range(10, 200), k=20)], target_ids=[200 + n % 50, 2])
        for n in range(100)
    ]
    pairs = [
        PreferenceRow(prompt_ids=row.prompt_ids, chosen_ids=row.target_ids, rejected_ids=[300, 2]) for row in rows[:24]
    ]
    write_rows(folder / "sft.jsonl", rows[:80])
    write_rows(folder / "validation.jsonl", rows[80:])
    write_rows(folder / "preference.jsonl", pairs)
    spec = TrainSpec(
        base_model=base_model, base_model_name="tiny", output=folder / "out", sft_rows=folder / "sft.jsonl",
        validation_rows=folder / "validation.jsonl", preference_rows=folder / "preference.jsonl", lora_rank=8, lora_alpha=16,
        max_pack_tokens=400, steps_between_saves=3, sft_learning_rate=3e-3, sft_presentations=160, rows_per_step=4,
        patience=50, dpo_learning_rate=1e-4, dpo_beta=0.1, dpo_pairs_per_step=2, chosen_fall=0.0, threads=1, seed=0,
    )  # fmt: skip
    (folder / "spec.json").write_text(spec.model_dump_json())
    return folder / "spec.json"


def run(spec: Path, *, until: tuple[str, int] | None = None, with_signal: signal.Signals = signal.SIGKILL) -> None:
    """Run the child to its end; with `until`, send the signal to its whole group once that stage has reached that step."""
    progress = spec.with_name("progress")
    progress.unlink(missing_ok=True)
    command = [sys.executable, "-m", "flywheel.training", str(spec)]
    environment = {**os.environ, "FLYWHEEL_PROGRESS": str(progress), "PYTHONUNBUFFERED": "1"}
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a child inherits that its parent ignores a signal
    try:
        with spec.with_name("log").open("ab") as log:
            child = subprocess.Popen(command, env=environment, start_new_session=True, stdout=log, stderr=log)
    finally:
        signal.signal(signal.SIGTERM, before)
    while until and child.poll() is None:
        try:
            _, note, step, _ = json.loads(progress.read_text())
        except (OSError, ValueError):
            step, note = 0, ""
        if note.startswith(until[0]) and step >= until[1]:
            os.killpg(child.pid, with_signal)
            assert child.wait(timeout=60) != 0, "it had ended before the signal came"
            return
        time.sleep(0.002)
    assert until is None and child.wait(timeout=300) == 0, spec.with_name("log").read_text()[-3000:]


def test_a_child_killed_in_either_stage_ends_with_the_same_bits(tmp_path: Path, tiny_base_model: Path):
    undisturbed, disturbed = prepare(tmp_path / "one", tiny_base_model), prepare(tmp_path / "two", tiny_base_model)
    run(undisturbed)
    for stage, step, with_signal in (
        ("SFT", 7, signal.SIGKILL), ("SFT", 22, signal.SIGTERM), ("DPO", 2, signal.SIGKILL), ("DPO", 8, signal.SIGKILL),
    ):  # fmt: skip
        run(disturbed, until=(stage, step), with_signal=with_signal)
        assert not disturbed.with_name("result.json").exists()
        assert not list((tmp_path / "two" / "out").glob("adapter-*"))
    run(disturbed)
    one, two = read_result(undisturbed), read_result(disturbed)
    assert one.adapter_id == two.adapter_id
    assert [(e.stage, e.step, e.validation, e.loss) for e in one.log] == [
        (e.stage, e.step, e.validation, e.loss) for e in two.log
    ]
    assert one.validation_loss is not None and one.sft_presentations == 160


def test_a_save_that_was_not_written_to_its_end_is_passed_over(tmp_path: Path):
    for step, state in ((3, "{}"), (6, "{}"), (9, '{"glob'), (12, None)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if state is not None:
            (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(state)
    found = last_whole_save(tmp_path)
    assert found is not None and Path(found).name == "checkpoint-6"
    assert last_whole_save(tmp_path / "nothing") is None
