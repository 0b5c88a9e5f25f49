"""Supervised stage: TRL's SFTTrainer over packs with a shared prefix; loss on the corrected step alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer  # pyright: ignore[reportPrivateImportUsage]

from flywheel.training import attention
from flywheel.training.collate import Segment, pack
from flywheel.training.forward import as_inputs, target_log_probabilities
from flywheel.training.spec import SftRow, TrainSpec


class SharedPrefixSFTTrainer(SFTTrainer):
    """SFTTrainer whose batch is one pack; the loss is the mean over its target tokens."""

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Mean negative log-likelihood of the pack's target tokens."""
        del num_items_in_batch  # one pack is one batch: nothing is accumulated
        loss = -target_log_probabilities(model, inputs).mean()
        return (loss, {}) if return_outputs else loss


def collate(examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Rows of one batch -> one pack; `labels` carry the target, -100 elsewhere."""
    segments = [Segment(example["input_ids"][: example["prompt_length"]],
                        example["input_ids"][example["prompt_length"] :]) for example in examples]  # fmt: skip
    return as_inputs(pack(segments))


def train_sft(
    spec: TrainSpec, rows: Sequence[SftRow], scratch: Path, callback: TrainerCallback
) -> SharedPrefixSFTTrainer:
    """Train a fresh LoRA adapter on the pinned base; the trainer with the trained PEFT model comes back.

    All-linear plain LoRA: anything else (DoRA, added tokens) cannot be served by vLLM.
    """
    attention.register()
    model = AutoModelForCausalLM.from_pretrained(
        spec.base_model, dtype=torch.bfloat16, attn_implementation=attention.NAME
    )
    dataset = Dataset.from_list(
        [
            {
                "input_ids": [*row.prompt_ids, *row.target_ids],
                "labels": [*[-100] * len(row.prompt_ids), *row.target_ids],
                "prompt_length": len(row.prompt_ids),
            }
            for row in rows
        ]
    )
    arguments = SFTConfig(
        output_dir=str(scratch),
        num_train_epochs=spec.sft_epochs,
        per_device_train_batch_size=spec.rows_per_pack,
        learning_rate=spec.sft_learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=0.1,
        max_grad_norm=1.0,
        bf16=True,
        use_cpu=not torch.cuda.is_available(),
        gradient_checkpointing=False,
        max_length=None,  # length is enforced by the dataset stage, never by silent truncation
        remove_unused_columns=False,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=spec.seed,
        data_seed=spec.seed,
        dataloader_pin_memory=False,
    )
    torch.manual_seed(spec.seed)
    trainer = SharedPrefixSFTTrainer(
        model=model,
        args=arguments,
        train_dataset=dataset,
        processing_class=AutoTokenizer.from_pretrained(spec.base_model),
        data_collator=collate,
        # The adapter stays in float32 (PEFT's default): bfloat16 would round DPO's small steps away.
        peft_config=LoraConfig(
            r=spec.lora_rank, lora_alpha=spec.lora_alpha, target_modules="all-linear", task_type="CAUSAL_LM"
        ),
        callbacks=[callback],
    )
    trainer.train()
    return trainer
