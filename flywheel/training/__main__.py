"""The training child: `python -m flywheel.training SPEC.json`, from top to bottom.

Reads the spec, trains the supervised stage, then the preference stage on the same adapter, exports the adapter, and
writes `result.json` beside the spec last. Under Dagster Pipes it also reports its progress there; by hand it prints.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch  # noqa: E402
from transformers import TrainerCallback  # noqa: E402

from flywheel.errors import FlywheelError  # noqa: E402
from flywheel.progress import report_progress  # noqa: E402
from flywheel.training.divergence import refuse_divergence  # noqa: E402
from flywheel.training.export import disk_errors, export_adapter  # noqa: E402
from flywheel.training.preference import train_preference  # noqa: E402
from flywheel.training.rows import check_rows  # noqa: E402
from flywheel.training.sft import train_sft  # noqa: E402
from flywheel.training.spec import (  # noqa: E402
    Forgetting,
    LogEntry,
    PreferenceRow,
    SftRow,
    TrainResult,
    read_spec,
    write_failure,
)


class ProgressLog(TrainerCallback):
    """Keeps the log entries of one stage and shows where it is."""

    def __init__(self, stage: str, entries: list[LogEntry]) -> None:
        self.stage = stage
        self.entries = entries
        self.started = time.monotonic()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """One optimizer step was logged."""
        refuse_divergence(self.stage, state.global_step, logs or {})
        if logs is None or "loss" not in logs:
            return
        seconds = time.monotonic() - self.started
        entry = LogEntry(
            stage=self.stage, step=state.global_step, steps=state.max_steps, loss=logs["loss"], seconds=seconds
        )
        self.entries.append(entry)
        report_progress("training", f"{self.stage} · loss {entry.loss:.3f}", entry.step, entry.steps)


def train(spec_file: Path) -> TrainResult:
    """Both stages for one spec; writes `result.json` beside it and returns its content."""
    started = time.monotonic()
    spec = read_spec(spec_file)
    sft_rows = [SftRow.model_validate_json(line) for line in spec.sft_rows.read_text().splitlines()]
    pairs = [PreferenceRow.model_validate_json(line) for line in spec.preference_rows.read_text().splitlines()]
    if not sft_rows:
        raise FlywheelError("there are no supervised rows to train on", where=str(spec.sft_rows),
                            remedy="accept corrections or add demonstrations first")  # fmt: skip
    check_rows(sft_rows, pairs, spec.base_model, files=(str(spec.sft_rows), str(spec.preference_rows)))
    torch.set_num_threads(spec.threads)
    scratch = spec_file.parent / "trainer"
    log: list[LogEntry] = []
    trainer = train_sft(spec, sft_rows, scratch, ProgressLog("SFT", log))
    presentations = round(spec.sft_epochs * len(sft_rows))
    model = trainer.accelerator.unwrap_model(trainer.model)
    accuracy = change = None
    if pairs:
        tokenizer: Any = trainer.processing_class
        accuracy, change = train_preference(spec, model, tokenizer, pairs, scratch, ProgressLog("DPO", log))
    with disk_errors("trained adapter", scratch):
        model.save_pretrained(scratch / "adapter", selected_adapters=["default"])
    adapter_id, path = export_adapter(scratch / "adapter", spec.output, spec.base_model_name)
    supervised = [entry.loss for entry in log if entry.stage == "SFT"]
    result = TrainResult(
        adapter_id=adapter_id,
        adapter_path=path,
        sft_rows=len(sft_rows),
        preference_rows=len(pairs),
        sft_presentations=presentations,
        sft_first_loss=supervised[0],
        sft_last_loss=supervised[-1],
        preference_accuracy=accuracy,
        chosen_logps_change=change,
        forgetting=measure_forgetting(spec_file, path),
        seconds=time.monotonic() - started,
        log=log,
    )
    temporary = spec_file.with_name("result.json.partial")
    temporary.write_text(result.model_dump_json(indent=2), encoding="utf-8")
    temporary.replace(spec_file.with_name("result.json"))
    return result


def measure_forgetting(spec_file: Path, adapter: Path) -> Forgetting:
    """Base against adapter, in a process of its own: the exported files are measured, not what training holds in memory."""
    result = spec_file.with_name("forgetting.json")
    result.unlink(missing_ok=True)
    command = [sys.executable, "-m", "flywheel.training.forgetting", str(spec_file), str(adapter), str(result)]
    subprocess.run(command, check=False)
    try:
        return Forgetting.model_validate_json(result.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise FlywheelError("what the adapter forgot could not be measured", where=str(adapter),
                            remedy=f"see the lines above, or run it by hand: {' '.join(command)}") from None  # fmt: skip


def main() -> int:
    """Command line; exit code 2 for what a user can mend."""
    if len(sys.argv) != 2:
        print("usage: python -m flywheel.training SPEC.json", file=sys.stderr)
        return 2
    try:
        result = train(Path(sys.argv[1]))
    except FlywheelError as error:
        write_failure(Path(sys.argv[1]), error)
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(json.dumps(result.model_dump(mode="json", exclude={"log"}), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
