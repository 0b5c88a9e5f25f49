"""Supervised stage: TRL's SFTTrainer over token trees; loss on the corrected step alone.

    python -m flywheel.training.sft SPEC.json FOLDER

Writes the adapter and, last, `result.json` into FOLDER.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel
from transformers import AutoTokenizer
from trl import SFTConfig, SFTTrainer  # pyright: ignore[reportPrivateImportUsage]

from flywheel.errors import FlywheelError
from flywheel.training.collate import Pack, Row
from flywheel.training.forward import target_log_probabilities
from flywheel.training.model import load_base
from flywheel.training.packing import cut_all, plan_steps
from flywheel.training.spec import SftRow, StageResult, TrainSpec, read_rows, read_spec
from flywheel.training.trainer import (
    PackedSteps,
    Plan,
    arguments,
    callbacks,
    datasets,
    finish,
    last_whole_save,
    run_stage,
)


class PackedSFTTrainer(PackedSteps, SFTTrainer):
    """SFTTrainer whose loss is the mean negative log-likelihood over the target tokens of a step."""

    def pack_loss(self, model: Any, pack: Pack, packs: Sequence[Pack]) -> torch.Tensor:
        """A pack's summed loss over the step's number of target tokens: every target token weighs the same."""
        return -target_log_probabilities(model, pack).sum() / sum(len(each.scored) for each in packs)


def plan_sft(spec: TrainSpec, rows: Sequence[SftRow], validation: Sequence[SftRow], *, shared: bool) -> Plan:
    """The stage's steps; without sharing every row is a pack of its own."""
    every = [[Row(row.prompt_ids, row.target_ids)] for row in (*rows, *validation)]
    sequences = [[*row.prompt_ids, *row.target_ids] for row in (*rows, *validation)]
    limit = spec.max_pack_tokens if shared else 0
    steps = plan_steps(
        sequences[: len(rows)], presentations=spec.sft_presentations, rows_per_step=spec.rows_per_step, max_tokens=limit,
        seed=spec.seed,
    )  # fmt: skip
    held = cut_all(sequences[len(rows) :], limit) if validation else []
    return Plan(every, steps, [[len(rows) + row for row in each] for each in held])


def train_sft(spec: TrainSpec, folder: Path) -> StageResult:
    """Train a LoRA adapter on the pinned base, fresh or from the weights of `start_adapter`; or go on with what a killed run saved below `folder`.

    Plain LoRA on linear layers: anything else (DoRA, added tokens) cannot be served by vLLM.
    """
    rows, validation = read_rows(spec.sft_rows, SftRow), read_rows(spec.validation_rows, SftRow)
    model, sharing = load_base(spec, max(len(row.prompt_ids) + len(row.target_ids) for row in (*rows, *validation)))
    plan = plan_sft(spec, rows, validation, shared=sharing == "tree")
    config = SFTConfig(
        **arguments(spec, plan, folder / "saves"), learning_rate=spec.sft_learning_rate, lr_scheduler_type="cosine",
        warmup_steps=0.1, dataset_kwargs={"skip_prepare_dataset": True},
    )  # fmt: skip
    torch.manual_seed(spec.seed)
    # The adapter stays in float32 (PEFT's default): bfloat16 would round DPO's small steps away.
    fresh = LoraConfig(
        r=spec.lora_rank, lora_alpha=spec.lora_alpha, target_modules=spec.target_modules, task_type="CAUSAL_LM"
    )
    trainer = PackedSFTTrainer(
        model=_go_on(model, spec.start_adapter) if spec.start_adapter else model,
        args=config,
        **datasets(plan),
        processing_class=AutoTokenizer.from_pretrained(spec.base_model),
        data_collator=plan.collate,
        peft_config=None if spec.start_adapter else fresh,
        callbacks=callbacks(spec, plan, "SFT"),
    )
    trainer.train(resume_from_checkpoint=last_whole_save(folder / "saves"))
    return finish(trainer, spec, plan, folder, stage="SFT", sharing=sharing)


def _go_on(model: Any, start: Path) -> PeftModel:
    """The base with an adapter's weights to train on; raises FlywheelError where none of them found its place: PEFT only warns."""
    found = PeftModel.from_pretrained(model, str(start), is_trainable=True)
    if not any(bool(value.any()) for name, value in found.named_parameters() if "lora_B" in name):
        raise FlywheelError("no weight of the adapter to go on from fits this base model", where=str(start),
                            remedy="training.start: base in workflow.yaml trains a fresh one")  # fmt: skip
    return found


if __name__ == "__main__":
    run_stage(lambda: train_sft(read_spec(Path(sys.argv[1])), Path(sys.argv[2])))
