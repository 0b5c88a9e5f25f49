"""Preference stage: DPO on the adapter the supervised stage made, over token trees.

    python -m flywheel.training.preference SPEC.json FOLDER SFT_ADAPTER

A pair's sides share their prompt and the beginning of their answers; pairs share what their prompts have in common. The
reference is the supervised adapter itself: TRL clones it as the frozen adapter `ref`. Loss: sigmoid DPO (Rafailov et
al., 2305.18290) plus half the chosen side's mean negative log-likelihood (TRL's `loss_type=["sigmoid", "sft"]`, the RPO
term), which keeps near-identical pairs from pushing the chosen side down together with the rejected one.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from peft import PeftModel
from torch.nn.functional import logsigmoid
from transformers import AutoTokenizer
from trl import DPOConfig, DPOTrainer  # pyright: ignore[reportPrivateImportUsage]

from flywheel.errors import FlywheelError
from flywheel.training.collate import Pack, Row
from flywheel.training.forward import target_log_probabilities
from flywheel.training.model import load_base
from flywheel.training.packing import plan_steps
from flywheel.training.spec import PreferenceRow, StageResult, TrainSpec, read_rows, read_spec
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

SFT_WEIGHT = 0.5


class PairScores(NamedTuple):
    """Log-probabilities of P pairs, in nats, summed over each side's tokens, and the chosen sides' token counts."""

    chosen: torch.Tensor
    rejected: torch.Tensor
    chosen_tokens: torch.Tensor


class PackedDPOTrainer(PackedSteps, DPOTrainer):
    """DPOTrainer for pre-tokenised pairs."""

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        return dataset  # rows come tokenised; TRL would look for text columns

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        # transformers reads the sub-folders of a save where it has any (here: ref), and then forgets the adapter in its
        # root: training would go on from the supervised weights. The reference needs no reading, it is still that.
        model = model or self.model
        model.load_adapter(resume_from_checkpoint, "default", is_trainable=True)
        model.set_adapter("default")

    def pack_loss(self, model: Any, pack: Pack, packs: Sequence[Pack]) -> torch.Tensor:
        """A pack's share of the mean loss over the step's pairs; the step's mean margin and change are logged."""
        policy = pair_scores(model, pack)
        with torch.no_grad():
            reference = reference_scores(self.accelerator.unwrap_model(model), pack)
        change = policy.chosen - reference.chosen
        margin = change - (policy.rejected - reference.rejected)
        self._metrics["train"]["chosen_change"] += change.detach().tolist()
        self._metrics["train"]["accuracy"] += (margin.detach() > 0).float().tolist()
        loss = -logsigmoid(self.beta * margin) - SFT_WEIGHT * policy.chosen / policy.chosen_tokens
        return loss.sum() / sum((int(each.owners.max()) + 1) // 2 for each in packs)


def pair_scores(model: Any, pack: Pack) -> PairScores:
    """Summed log-probability of both sides of every pair of a pack; rows alternate chosen, rejected."""
    tokens = target_log_probabilities(model, pack)
    rows = int(pack.owners.max()) + 1
    sums = tokens.new_zeros(rows).index_add(0, pack.owners, tokens)
    counts = torch.bincount(pack.owners, minlength=rows)
    return PairScores(sums[0::2], sums[1::2], counts[0::2])


def reference_scores(model: Any, pack: Pack) -> PairScores:
    """The same under the frozen supervised adapter `ref`; the trained adapter is active again afterwards."""
    model.set_adapter("ref")
    try:
        return pair_scores(model, pack)
    finally:
        model.set_adapter("default")
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(".default." in name)


def plan_preference(spec: TrainSpec, pairs: Sequence[PreferenceRow], *, shared: bool) -> Plan:
    """One epoch over the pairs; without sharing every pair is a pack of its own."""
    units = [[Row(pair.prompt_ids, pair.chosen_ids), Row(pair.prompt_ids, pair.rejected_ids)] for pair in pairs]
    steps = plan_steps(
        [[*pair.prompt_ids, *pair.chosen_ids, *pair.rejected_ids] for pair in pairs], presentations=len(pairs),
        rows_per_step=spec.dpo_pairs_per_step, max_tokens=spec.max_pack_tokens if shared else 0, seed=spec.seed,
    )  # fmt: skip
    return Plan(units, steps, [])


@torch.no_grad()
def measure(trainer: PackedDPOTrainer, plan: Plan) -> tuple[list[float], list[float]]:
    """Change of the chosen side and of the margin over the supervised policy, in nats, of every pair."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    model.eval()
    changes: list[float] = []
    margins: list[float] = []
    for packs in plan.steps:
        for each in plan.collate([{"packs": packs}])["packs"]:
            with trainer.compute_loss_context_manager():
                policy, reference = pair_scores(model, each), reference_scores(model, each)
            changes += (policy.chosen - reference.chosen).tolist()
            margins += ((policy.chosen - reference.chosen) - (policy.rejected - reference.rejected)).tolist()
    return changes, margins


def refuse_fallen(changes: Sequence[float], allowed: float) -> None:
    """Raise FlywheelError when the chosen sides fell, on average, by more than `allowed` nats and more than chance explains.

    A falling chosen side is DPO's known failure on near-identical pairs: the margin grows while the right answer gets less
    likely (arXiv 2502.07599).
    """
    mean = sum(changes) / len(changes)
    spread = torch.tensor(changes).std().item() if len(changes) > 1 else 0.0
    if mean + 1.645 * spread / len(changes) ** 0.5 < -allowed:
        raise FlywheelError(
            f"the preference stage made the chosen answers less likely: {mean:+.2f} nats on average over {len(changes)} pairs",
            where="preference stage, logps/chosen",
            remedy="lower training.dpo_learning_rate or dpo_beta in workflow.yaml, or set training.dpo_pairs: 0 to leave the stage out",
        )


def train_preference(spec: TrainSpec, folder: Path, adapter: Path) -> StageResult:
    """One epoch of DPO on the supervised adapter, or the rest of one that was killed."""
    pairs = read_rows(spec.preference_rows, PreferenceRow)
    longest = max(len(pair.prompt_ids) + max(len(pair.chosen_ids), len(pair.rejected_ids)) for pair in pairs)
    base, sharing = load_base(spec, longest)
    plan = plan_preference(spec, pairs, shared=sharing == "tree")
    config = DPOConfig(
        **arguments(spec, plan, folder / "saves"), learning_rate=spec.dpo_learning_rate, lr_scheduler_type="constant",
        beta=spec.dpo_beta,
    )  # fmt: skip
    torch.manual_seed(spec.seed)
    trainer = PackedDPOTrainer(
        model=PeftModel.from_pretrained(base, str(adapter), is_trainable=True),
        args=config,
        **datasets(plan),
        processing_class=AutoTokenizer.from_pretrained(spec.base_model),
        data_collator=plan.collate,
        callbacks=callbacks(spec, plan, "DPO"),
    )
    trainer.train(resume_from_checkpoint=last_whole_save(folder / "saves"))
    changes, margins = measure(trainer, plan)
    refuse_fallen(changes, spec.chosen_fall)
    return finish(
        trainer, spec, plan, folder, stage="DPO", sharing=sharing,
        accuracy=sum(margin > 0 for margin in margins) / len(margins), chosen_change=sum(changes) / len(changes),
    )  # fmt: skip


if __name__ == "__main__":
    run_stage(lambda: train_preference(read_spec(Path(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[3])))
