"""`flywheel plan`: a week's training counted on the rows themselves, and what it would take on a device, before it is run."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from flywheel.chat.families import find_family
from flywheel.chat.render import Renderer
from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel.settings import Settings
from flywheel.training.packing import distinct_tokens, plan_steps, refusal
from flywheel.training.plan import (
    DEVICES,
    KNOWN_SHAPES,
    UTILISATION,
    Memory,
    Shape,
    Tokens,
    count,
    hours,
    memory,
    operations,
    shape_of,
)
from flywheel.training.rows import text_config
from flywheel.training.stage import training_rows
from flywheel.training.validation import split_validation
from flywheel.workflows.base_model import find_base_model
from flywheel.workflows.loader import find_pack


class Part(NamedTuple):
    """One stage of training: tokens of all its steps, and operations in all."""

    name: str
    tokens: Tokens
    operations: float


class TrainingPlan(NamedTuple):
    """What a week's training takes; `unique` counts tokens shared over the whole dataset, the most that packs could reach."""

    base: str
    shape: Shape
    rank: int
    parts: list[Part]
    unique: int
    memory: Memory

    @property
    def operations(self) -> float:
        """Of all parts."""
        return sum(part.operations for part in self.parts)


class Device(NamedTuple):
    """A device: its name, bfloat16 peak and memory, and where the peak is from."""

    name: str
    tflops: float
    gib: float
    source: str


def plan_week(settings: Settings, workflow: str, week: str, base: str | None) -> TrainingPlan:
    """Count the week's rows for a base model: the pack's, or `base`, a name in the cache, a folder or a config.json."""
    pack, lake = find_pack(settings.workflows(), workflow), Lake(settings.lake())
    training, rank = pack.settings.training, pack.settings.lora_rank
    own = find_base_model(settings.models(), settings.base_model or pack.settings.base_model)
    sft_rows = lake.read_partition("sft_dataset", workflow=workflow, week=week)
    preference_rows = lake.read_partition("preference_dataset", workflow=workflow, week=week)
    if not sft_rows.height:
        raise FlywheelError(f"the week of {week} has no supervised rows: nothing would be trained", where="sft_dataset",
                            remedy="the incumbent is carried forward; plan a week that has rows")  # fmt: skip
    renderer = Renderer(own.tokenizer_file, pack.settings.model_family)
    rows, pairs = training_rows(
        split_validation(sft_rows, training.validation_share)[0], preference_rows, renderer, training
    )
    config = text_config(_config_file(settings, base) if base else own.folder / "config.json")
    shape = shape_of(config)
    sequences = [[*row.prompt_ids, *row.target_ids] for row in rows]
    shared = training.max_pack_tokens if refusal(config, max(map(len, sequences))) is None else 0
    checkpointing = training.gradient_checkpointing
    if checkpointing is None:
        checkpointing = find_family(pack.settings.model_family).profile.gradient_checkpointing
    steps = plan_steps(
        sequences, presentations=min(training.sft_presentations, training.sft_max_epochs * len(rows)),
        rows_per_step=training.rows_per_step, max_tokens=shared, seed=training.seed,
    )  # fmt: skip
    sft = count(
        [[(rows[row].prompt_ids, rows[row].target_ids) for row in units] for step in steps for units in step],
        window=shape.window,
    )
    parts = [Part("SFT", sft, operations(shape, sft, rank, checkpointing=checkpointing))]
    if pairs:
        both = [[*pair.prompt_ids, *pair.chosen_ids, *pair.rejected_ids] for pair in pairs]
        steps = plan_steps(
            both,
            presentations=len(pairs),
            rows_per_step=training.dpo_pairs_per_step,
            max_tokens=shared,
            seed=training.seed,
        )
        sides = [[side for pair in units for side in ((pairs[pair].prompt_ids, pairs[pair].chosen_ids), (pairs[pair].prompt_ids, pairs[pair].rejected_ids))]
                 for step in steps for units in step]  # fmt: skip
        dpo = count(sides, window=shape.window)
        parts.append(Part("DPO", dpo, operations(shape, dpo, rank, checkpointing=checkpointing, reference=True)))
    largest = max((part.tokens for part in parts), key=lambda tokens: tokens.longest)
    return TrainingPlan(
        base or own.folder.name, shape, rank, parts, distinct_tokens(sequences),
        memory(shape, largest, rank, checkpointing=checkpointing),
    )  # fmt: skip


def _config_file(settings: Settings, base: str) -> Path:
    path = Path(base)
    if path.is_file():
        return path
    return (path if path.is_dir() else find_base_model(settings.models(), base).folder) / "config.json"


def devices(settings: Settings, gpu: str | None, peak_tflops: float | None, memory_gib: float | None) -> list[Device]:
    """The device asked for, or all that are known and this machine's CPU, measured."""
    if peak_tflops:
        return [Device("as given", peak_tflops, memory_gib or float("inf"), "as given")]
    known = {name: Device(name, *figures, "data sheet") for name, figures in DEVICES.items()}
    if gpu and gpu not in known:
        raise FlywheelError(f"no figures are known of {gpu!r}", where="--gpu",
                            remedy=f"use one of {', '.join(known)}, or --peak-tflops and --memory-gib")  # fmt: skip
    return [known[gpu]] if gpu else [*known.values(), *_this_cpu(settings)]


def _this_cpu(settings: Settings) -> list[Device]:
    command = [sys.executable, "-m", "flywheel.training.peak", str(settings.threads)]
    measured = subprocess.run(command, capture_output=True, text=True, check=False)
    if measured.returncode:
        return []  # no torch here: the plan is read where nothing is trained
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / (1 << 30)
    return [
        Device("this CPU", float(measured.stdout), free, f"measured, {settings.threads} threads; memory: what is free")
    ]


def told(plan: TrainingPlan, over: list[Device]) -> list[str]:
    """The plan as lines for a terminal."""
    shape, needed = plan.shape, plan.memory
    lines = [
        f"base {plan.base}: {shape.parameters() / 1e6:,.1f} M parameters, adapter {shape.lora(plan.rank) / 1e6:,.1f} M at rank {plan.rank}",
        "",
        f"{'':5}{'rows':>8}{'packs':>8}{'tokens':>12}{'unique':>12}{'supervised':>12}{'PFLOP':>10}",
    ]
    for name, tokens, work in plan.parts:
        lines.append(
            f"{name:5}{tokens.rows:>8,}{tokens.packs:>8,}{tokens.total:>12,}{tokens.unique:>12,}"
            f"{tokens.supervised:>12,}{work / 1e15:>10.3f}"
        )
    lines += [
        f"rows as often as they are shown; unique: after sharing within a pack ({plan.unique:,} if all SFT rows were one)",
        "",
        f"memory, estimated: weights {needed.weights:.2f} + adapter and optimizer {needed.adapter:.2f} + activations of the longest pack "
        f"{needed.activations:.2f} + logits {needed.logits:.2f} = {needed.total():.2f} GiB, and what torch itself takes",
        "",
        f"{'device':10}{'TFLOP/s':>10}{'GiB':>8}{'fits':>6}{'at peak':>12}{f'at {UTILISATION:.0%}':>12}  peak",
    ]
    for device in over:
        fits = "yes" if needed.total() < 0.9 * device.gib else "NO"
        times = [_duration(hours(plan.operations, device.tflops, share)) for share in (1.0, UTILISATION)]
        lines.append(
            f"{device.name:10}{device.tflops:>10.2f}{device.gib:>8.0f}{fits:>6}{times[0]:>12}{times[1]:>12}  {device.source}"
        )
    lines.append(
        f"{UTILISATION:.0%} is an assumption; nothing here was measured on a GPU. Loading, validation and saving come on top."
    )
    if shape.model_type not in KNOWN_SHAPES:
        lines.append(
            f"the sizes of a {shape.model_type} model are taken for those of a Llama of the same widths: an estimate"
        )
    return lines


def _duration(time: float) -> str:
    """Hours in the unit a person would use."""
    return f"{time:.1f} h" if time >= 1 else f"{60 * time:.1f} min" if time >= 1 / 60 else f"{3600 * time:.1f} s"
