"""Preference stage: DPO on the adapter the supervised stage made, with the shared prefix computed once.

A pack holds the chosen and the rejected side of several pairs behind their common prefix. The reference is the
supervised adapter itself: TRL clones it as the frozen adapter `ref`. Loss: sigmoid DPO (Rafailov et al., 2305.18290)
plus half the chosen side's mean negative log-likelihood (the RPO term), which keeps near-identical pairs from pushing
the chosen side down together with the rejected one.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from datasets import Dataset
from torch.nn.functional import logsigmoid
from transformers import PreTrainedTokenizerBase, TrainerCallback
from trl import DPOConfig, DPOTrainer  # pyright: ignore[reportPrivateImportUsage]

from flywheel.training.collate import Segment, pack
from flywheel.training.forward import as_inputs, target_log_probabilities
from flywheel.training.spec import PreferenceRow, TrainSpec

SFT_WEIGHT = 0.5


class PairScores(NamedTuple):
    """Log-probabilities of P pairs, in nats, summed over each side's tokens, and the chosen sides' token counts."""

    chosen: torch.Tensor
    rejected: torch.Tensor
    chosen_tokens: torch.Tensor


class SharedPrefixDPOTrainer(DPOTrainer):
    """DPOTrainer for pre-tokenised pairs whose batch is one pack."""

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        return dataset  # rows come tokenised; TRL would look for text columns

    def _compute_loss(self, model: Any, inputs: Any, return_outputs: bool) -> Any:
        policy = pair_scores(model, inputs)
        with torch.no_grad():
            reference = reference_scores(self.accelerator.unwrap_model(model), inputs)
        margin = (policy.chosen - reference.chosen) - (policy.rejected - reference.rejected)
        likelihood = -policy.chosen / policy.chosen_tokens
        loss = (-logsigmoid(self.beta * margin) + SFT_WEIGHT * likelihood).mean()
        return (loss, {}) if return_outputs else loss


def pair_scores(model: Any, inputs: Mapping[str, torch.Tensor]) -> PairScores:
    """Summed log-probability of both sides of every pair of a pack; segments alternate chosen, rejected."""
    tokens = target_log_probabilities(model, inputs)
    segments = int(inputs["owners"].max()) + 1
    sums = torch.zeros(segments).index_add(0, inputs["owners"], tokens)
    counts = torch.bincount(inputs["owners"], minlength=segments)
    return PairScores(sums[0::2], sums[1::2], counts[0::2])


def reference_scores(model: Any, inputs: Mapping[str, torch.Tensor]) -> PairScores:
    """The same under the frozen supervised adapter `ref`; the trained adapter is active again afterwards."""
    model.set_adapter("ref")
    try:
        return pair_scores(model, inputs)
    finally:
        model.set_adapter("default")
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(".default." in name)


def collate_pairs(examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Pairs of one batch -> one pack of chosen and rejected segments in turn."""
    segments: list[Segment] = []
    for example in examples:
        segments.append(Segment(example["prompt_ids"], example["chosen_ids"]))
        segments.append(Segment(example["prompt_ids"], example["rejected_ids"]))
    return as_inputs(pack(segments))


def train_preference(
    spec: TrainSpec,
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    pairs: Sequence[PreferenceRow],
    scratch: Path,
    callback: TrainerCallback,
) -> tuple[float, float]:
    """One epoch of DPO on the supervised adapter, in place.

    Returns:
        Share of pairs whose margin over the supervised policy is positive afterwards (0 to 1), and the mean change of
        the chosen side's log-probability in nats.
    """
    arguments = DPOConfig(
        output_dir=str(scratch),
        num_train_epochs=1,
        per_device_train_batch_size=spec.dpo_pairs_per_pack,
        learning_rate=spec.dpo_learning_rate,
        lr_scheduler_type="constant",
        beta=spec.dpo_beta,
        max_grad_norm=1.0,
        bf16=True,
        use_cpu=not torch.cuda.is_available(),
        gradient_checkpointing=False,
        max_length=None,
        remove_unused_columns=False,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=spec.seed,
        data_seed=spec.seed,
        dataloader_pin_memory=False,
    )
    trainer = SharedPrefixDPOTrainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_list([pair.model_dump() for pair in pairs]),
        processing_class=tokenizer,
        data_collator=collate_pairs,
        callbacks=[callback],
    )
    trainer.train()
    return _measure(trainer, spec, pairs)


@torch.no_grad()
def _measure(trainer: DPOTrainer, spec: TrainSpec, pairs: Sequence[PreferenceRow]) -> tuple[float, float]:
    model = trainer.accelerator.unwrap_model(trainer.model)
    model.eval()
    margins: list[float] = []
    changes: list[float] = []
    for start in range(0, len(pairs), spec.dpo_pairs_per_pack):
        inputs = collate_pairs([pair.model_dump() for pair in pairs[start : start + spec.dpo_pairs_per_pack]])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            policy, reference = pair_scores(model, inputs), reference_scores(model, inputs)
        changes += (policy.chosen - reference.chosen).tolist()
        margins += ((policy.chosen - reference.chosen) - (policy.rejected - reference.rejected)).tolist()
    return sum(margin > 0 for margin in margins) / len(margins), sum(changes) / len(changes)
