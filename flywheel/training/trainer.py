"""What both stages have in common: one example is one optimizer step of several packs, saved and resumed as TRL does.

The steps are planned before training starts (`packing.py`), so a run that was killed goes on at its last save with the same
steps in the same order, and ends with the same bits.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from datasets import Dataset
from transformers import EarlyStoppingCallback, TrainerCallback

from flywheel.errors import FlywheelError
from flywheel.progress import report_progress
from flywheel.training.collate import Pack, Row, pack
from flywheel.training.divergence import refuse_divergence
from flywheel.training.export import disk_errors
from flywheel.training.packing import Step, distinct_tokens
from flywheel.training.spec import LogEntry, StageResult, TrainSpec, write_failure, write_last


class Plan(NamedTuple):
    """All optimizer steps of a stage.

    Attributes:
        units: what is dealt: each the rows that stay together (one row, or both sides of a preference pair).
        steps: packs of unit numbers per step.
        validation: packs of unit numbers that are never trained on; empty without any.
    """

    units: Sequence[Sequence[Row]]
    steps: Sequence[Step]
    validation: Step

    def collate(self, examples: Sequence[dict[str, Any]]) -> dict[str, list[Pack]]:
        """One example, naming the units of each pack -> the packs."""
        (example,) = examples  # a step is a batch of its own
        return {"packs": [pack([row for unit in units for row in self.units[unit]]) for units in example["packs"]]}

    def tokens(self) -> tuple[int, int]:
        """Tokens of all rows that the steps show, and tokens that go through the model for them."""
        packs = [[row for unit in units for row in self.units[unit]] for step in self.steps for units in step]
        sequences = [[[*row.prompt_ids, *row.target_ids] for row in rows] for rows in packs]
        return sum(len(ids) for rows in sequences for ids in rows), sum(distinct_tokens(rows) for rows in sequences)


class PackedSteps:
    """Mixin for TRL's trainers: the gradient of a step is the sum over its packs, one backward pass each.

    The trainer gives `pack_loss`, a pack's share of the step's loss.
    """

    model: Any
    accelerator: Any
    state: Any
    started: float | None = None

    def pack_loss(self, model: Any, pack: Pack, packs: Sequence[Pack]) -> torch.Tensor:
        """Share of one pack in the loss of the step that `packs` make up."""
        raise NotImplementedError

    def training_step(self, model: Any, inputs: dict[str, list[Pack]], num_items_in_batch: Any = None) -> torch.Tensor:
        """Forward and backward over each pack; the loss of the step."""
        del num_items_in_batch
        if self.started is None:
            history = self.state.log_history
            self.started = time.monotonic() - (history[-1].get("seconds", 0.0) if history else 0.0)
        model.train()
        total = torch.zeros(())
        for each in inputs["packs"]:
            with self.compute_loss_context_manager():  # pyright: ignore[reportAttributeAccessIssue]
                loss = self.pack_loss(model, each, inputs["packs"])
            self.accelerator.backward(loss)
            total += loss.detach().cpu()
        return total

    def prediction_step(
        self, model: Any, inputs: dict[str, list[Pack]], prediction_loss_only: bool, ignore_keys: Any = None
    ) -> tuple[torch.Tensor, None, None]:
        """Loss of a validation step."""
        del prediction_loss_only, ignore_keys
        with torch.no_grad(), self.compute_loss_context_manager():  # pyright: ignore[reportAttributeAccessIssue]
            return (
                sum((self.pack_loss(model, each, inputs["packs"]) for each in inputs["packs"]), torch.zeros(())),
                None,
                None,
            )

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the seconds trained so far, those before a resume included."""
        logs["seconds"] = time.monotonic() - (self.started or time.monotonic())
        super().log(logs, start_time)  # pyright: ignore[reportAttributeAccessIssue]


class ShowProgress(TrainerCallback):
    """Says where a stage is, after every step."""

    def __init__(self, stage: str) -> None:
        self.stage = stage

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """One optimizer step was logged."""
        refuse_divergence(self.stage, state.global_step, logs or {})
        if logs and "loss" in logs:
            report_progress("training", f"{self.stage} · loss {logs['loss']:.3f}", state.global_step, state.max_steps)


def arguments(spec: TrainSpec, plan: Plan, folder: Path) -> dict[str, Any]:
    """Arguments of SFTConfig and DPOConfig alike: a save every few steps, nothing sent anywhere, nothing truncated."""
    validated = bool(plan.validation)
    return {
        "output_dir": str(folder), "num_train_epochs": 1, "per_device_train_batch_size": 1, "per_device_eval_batch_size": 1,
        "train_sampling_strategy": "sequential", "max_grad_norm": 1.0, "bf16": spec.dtype == "bfloat16",
        "use_cpu": not torch.cuda.is_available(), "gradient_checkpointing": spec.gradient_checkpointing,
        "max_length": None,  # length is enforced by the dataset stage, never by silent truncation
        "remove_unused_columns": False, "logging_steps": 1, "report_to": "none", "disable_tqdm": True,
        "seed": spec.seed, "data_seed": spec.seed, "dataloader_pin_memory": False,
        "save_strategy": "steps", "save_steps": spec.steps_between_saves, "save_total_limit": 2,
        "eval_strategy": "steps" if validated else "no", "eval_steps": spec.steps_between_saves,
        "load_best_model_at_end": validated, "metric_for_best_model": "eval_loss" if validated else None,
    }  # fmt: skip


def callbacks(spec: TrainSpec, plan: Plan, stage: str) -> list[TrainerCallback]:
    """Progress, and early stopping where there is something to validate on."""
    stopping = [EarlyStoppingCallback(early_stopping_patience=spec.patience)] if plan.validation else []
    return [ShowProgress(stage), *stopping]


def datasets(plan: Plan) -> dict[str, Any]:
    """The trainer's datasets: one example a step."""
    return {
        "train_dataset": Dataset.from_list([{"packs": step} for step in plan.steps]),
        "eval_dataset": Dataset.from_list([{"packs": plan.validation}]) if plan.validation else None,
    }


def last_whole_save(folder: Path) -> str | None:
    """The newest save that was written to its end: the trainer's state is the last file of one."""
    for save in sorted(folder.glob("checkpoint-*"), key=lambda save: int(save.name.split("-")[1]), reverse=True):
        try:
            json.loads((save / "trainer_state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        return str(save)
    return None


def entries(stage: str, state: Any) -> list[LogEntry]:
    """The log of a finished stage, steps before a resume included."""
    kept: list[LogEntry] = []
    for line in state.log_history:
        loss = line.get("loss", line.get("eval_loss"))
        if loss is None:
            continue
        kept.append(
            LogEntry(
                stage=stage, step=line["step"], steps=state.max_steps, loss=loss, seconds=line["seconds"],
                validation="eval_loss" in line, chosen_change=line.get("chosen_change"), accuracy=line.get("accuracy"),
            )
        )  # fmt: skip
    return kept


def finish(
    trainer: Any, spec: TrainSpec, plan: Plan, folder: Path, *, stage: str, sharing: str, accuracy: float | None = None,
    chosen_change: float | None = None,
) -> StageResult:  # fmt: skip
    """Save the trained adapter (never the frozen `ref`) below `folder` and, last, the stage's result."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    with disk_errors("trained adapter", folder):
        model.save_pretrained(folder / "adapter", selected_adapters=["default"])
    done = plan._replace(steps=plan.steps[: trainer.state.global_step])
    tokens, computed = done.tokens()
    result = StageResult(
        spec_sha256=spec.sha256(), sharing=sharing, tokens=tokens, computed=computed,
        presentations=sum(len(units) for step in done.steps for units in step), accuracy=accuracy,
        chosen_change=chosen_change, log=entries(stage, trainer.state),
    )  # fmt: skip
    write_last(folder / "result.json", result)
    return result


def run_stage(train: Callable[[], StageResult]) -> None:
    """A stage as a process of its own; exit code 2 for what a user can mend, which lies beside the spec in words."""
    try:
        train()
    except FlywheelError as error:
        write_failure(Path(sys.argv[1]), error)
        sys.exit(2)
