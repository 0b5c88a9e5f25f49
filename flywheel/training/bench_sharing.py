"""Bench rows `sft` and `dpo`: one optimizer step of ours against TRL's trainers, on rows like the demo's and the real base.

Rows: a prefix of about 560 tokens in common, about 71 of their own, of which 24 are learned. TRL runs as it comes
(`SFTConfig()`, `DPOConfig()`: batches of 8, gradient checkpointing, bfloat16) and with its own packing. The levers are
shown one by one; sharing alone is bounded by the ratio of tokens.
"""

import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer  # pyright: ignore[reportPrivateImportUsage]

from flywheel.bench_row import row
from flywheel.training import attention
from flywheel.training.bench import seconds
from flywheel.training.collate import Pack, Row, pack
from flywheel.training.forward import target_log_probabilities
from flywheel.training.preference import PackedDPOTrainer
from flywheel.training.sft import PackedSFTTrainer
from flywheel.training.trainer import Plan, datasets

WORDS = (
    "order",
    "parcel",
    "refund",
    "address",
    "ticket",
    "delay",
    "status",
    "policy",
    "carrier",
    "window",
    "label",
    "credit",
)
ROWS, PAIRS, TURNS = 32, 4, 3


def texts(count: int) -> list[tuple[str, str, str]]:
    """Seeded (prompt, answer, other answer) with the demo's proportions."""
    chance = random.Random(0)
    prefix = " ".join(chance.choices(WORDS, k=560))

    def words(number: int) -> str:
        return " " + " ".join(chance.choices(WORDS, k=number))

    return [(prefix + words(47), words(24), words(24)) for _ in range(count)]


def fresh(base: Path, dtype: torch.dtype = torch.bfloat16) -> Any:
    """The base with a LoRA whose both halves are not zero: at its start half of the gradients would be."""
    attention.register()
    torch.manual_seed(0)
    model: Any = AutoModelForCausalLM.from_pretrained(
        base, use_safetensors=True, dtype=dtype, attn_implementation=attention.NAME
    )
    lora = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(model, lora)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.01)
    return model


class StepTimer(TrainerCallback):
    """Seconds of each optimizer step."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """Forward begins."""
        self.started = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """The optimizer has stepped."""
        self.seconds.append(time.perf_counter() - self.started)


class Contender:
    """A trainer that takes one step a turn; `rows` is how many rows (pairs) that step learns from."""

    def __init__(self, rows: int, trainer: type, config: type, settings: dict[str, Any], **inputs: Any) -> None:
        self.rows, self.timer = rows, StepTimer()
        everywhere = {"max_steps": 1, "report_to": "none", "disable_tqdm": True, "use_cpu": not torch.cuda.is_available(), "save_strategy": "no"}  # fmt: skip
        arguments = config(output_dir=tempfile.mkdtemp(), **everywhere, **settings)
        self.trainer = trainer(args=arguments, callbacks=[self.timer], **inputs)

    def rate(self) -> float:
        """Rows a second: the median of all turns."""
        return self.rows / statistics.median(self.timer.seconds)


def race(contenders: dict[str, Contender]) -> dict[str, float]:
    """Rows a second of each, the median of three; they take turns, so what the first turn warms up is no one's advantage."""
    for _ in range(TURNS):
        for contender in contenders.values():
            contender.trainer.train()
    return {name: contender.rate() for name, contender in contenders.items()}


def supervised(base: Path) -> list[dict[str, Any]]:
    """Rows a second against TRL's defaults and its packing, the levers, the share of the FLOP bound, and gradient parity."""
    tokenizer: Any = AutoTokenizer.from_pretrained(base)
    rows = [Row(_ids(tokenizer, prompt), _ids(tokenizer, answer)) for prompt, answer, _ in texts(ROWS)]
    flat = Dataset.from_list([
        {"input_ids": [*row.prompt_ids, *row.target_ids], "labels": [*[-100] * len(row.prompt_ids), *row.target_ids]}
        for row in rows
    ])  # fmt: skip

    def theirs(count: int, **settings: Any) -> Contender:
        model = fresh(base)
        model.get_base_model().set_attn_implementation("sdpa")
        return Contender(
            count, SFTTrainer, SFTConfig, settings, model=model, train_dataset=flat, processing_class=tokenizer
        )

    def ours(count: int, rows_per_pack: int) -> Contender:
        packs = [list(range(start, min(start + rows_per_pack, count))) for start in range(0, count, rows_per_pack)]
        plan = Plan([[each] for each in rows], [packs], [])
        settings = {
            "gradient_checkpointing": False, "per_device_train_batch_size": 1, "remove_unused_columns": False,
            "max_length": None, "dataset_kwargs": {"skip_prepare_dataset": True},
        }  # fmt: skip
        return Contender(
            count, PackedSFTTrainer, SFTConfig, settings, model=fresh(base), **datasets(plan), data_collator=plan.collate,
            processing_class=tokenizer,
        )  # fmt: skip

    rate = race({
        "trl": theirs(8),
        "trl_packing": theirs(6, packing=True, max_length=4096, per_device_train_batch_size=1),
        "trl_no_checkpointing": theirs(8, gradient_checkpointing=False),
        "alone": ours(8, 1), "shared_8": ours(8, 8), "shared_16": ours(16, 16), "shared_32": ours(32, 32),
    })  # fmt: skip
    bound = flops(fresh(base), pack(rows)) / matrix_peak()
    best = rate["shared_32"]
    return [
        row("sft", best, "rows/s", baseline=rate["trl"], target=10.0),
        row("sft_against_packing", best, "rows/s", baseline=rate["trl_packing"], target=5.0),
        row("sft_lever_no_checkpointing", rate["trl_no_checkpointing"], "rows/s", baseline=rate["trl"]),
        row("sft_lever_labelled_head", rate["alone"], "rows/s", baseline=rate["trl_no_checkpointing"]),
        *(row(f"sft_lever_{name}", rate[name], "rows/s", baseline=rate["alone"]) for name in ("shared_8", "shared_16", "shared_32")),
        row("sft_share_of_flop_bound", bound * best / ROWS, "of 1", target=0.35),
        parity(base, rows[:4]),
    ]  # fmt: skip


def _ids(tokenizer: Any, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def flops(model: Any, packed: Pack) -> float:
    """Floating-point operations that a step over a pack cannot do without, frozen weights and a LoRA (notes, section 5).

    4 per weight and token (forward, and the gradient of the inputs), 6 per LoRA weight, 12 per attended pair and head
    dimension; the head only where a target is predicted.
    """
    config = model.config
    head = config.vocab_size * config.hidden_size
    frozen = sum(
        p.numel() for name, p in model.named_parameters() if "layers" in name and "lora" not in name and p.dim() == 2
    )
    lora = sum(p.numel() for name, p in model.named_parameters() if "lora" in name)
    pairs = int((packed.position_ids + 1).sum())
    attended = 12 * pairs * config.num_hidden_layers * config.num_attention_heads * config.head_dim
    return (4 * frozen + 6 * lora) * packed.input_ids.shape[1] + attended + 4 * head * len(packed.predictors)


def matrix_peak() -> float:
    """Operations a second of a large bfloat16 matrix product here: the best of ten."""
    matrix = torch.randn(2048, 2048).bfloat16()
    return 2 * 2048**3 / min(seconds(lambda: matrix @ matrix) for _ in range(10))


def parity(base: Path, rows: Sequence[Row]) -> dict[str, Any]:
    """Relative difference of the float32 gradient of a tree to that of rows alone; must stay below 1e-5."""
    model = fresh(base, torch.float32)
    model.get_base_model().set_attn_implementation("sdpa")
    apart = _gradient(model, [pack([each]) for each in rows])
    model.get_base_model().set_attn_implementation(attention.NAME)
    together = _gradient(model, [pack(rows)])
    value = float((together - apart).norm() / apart.norm())
    return {**row("sft_gradient_difference", value, "relative"), "target": 1e-5, "ok": value <= 1e-5}


def _gradient(model: Any, packs: Sequence[Pack]) -> torch.Tensor:
    model.zero_grad()
    for each in packs:
        (-target_log_probabilities(model, each).sum()).backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def preference(base: Path) -> list[dict[str, Any]]:
    """Pairs a second against TRL's DPOTrainer, each side's answer after the same prompt."""
    tokenizer: Any = AutoTokenizer.from_pretrained(base)
    pairs = texts(PAIRS)
    units = [
        [Row(_ids(tokenizer, prompt), [*_ids(tokenizer, side), tokenizer.eos_token_id]) for side in sides]
        for prompt, *sides in pairs
    ]
    plan = Plan(units, [[list(range(PAIRS))]], [])
    model = fresh(base)
    model.get_base_model().set_attn_implementation("sdpa")
    flat = Dataset.from_list(
        [{"prompt": prompt, "chosen": chosen, "rejected": rejected} for prompt, chosen, rejected in pairs]
    )
    settings = {
        "gradient_checkpointing": False,
        "per_device_train_batch_size": 1,
        "remove_unused_columns": False,
        "max_length": None,
    }
    rate = race({
        "trl": Contender(PAIRS, DPOTrainer, DPOConfig, {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.5]}, model=model, train_dataset=flat, processing_class=tokenizer),
        "ours": Contender(PAIRS, PackedDPOTrainer, DPOConfig, settings, model=fresh(base), **datasets(plan), data_collator=plan.collate, processing_class=tokenizer),
    })  # fmt: skip
    return [row("dpo", rate["ours"], "pairs/s", baseline=rate["trl"], target=3.0)]
