"""Between the tables and the training child: which rows train, the spec, and the child's result. No torch here."""

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from flywheel.chat.families import Family
from flywheel.chat.render import Renderer
from flywheel.errors import FlywheelError
from flywheel.settings import Settings
from flywheel.training.spec import PreferenceRow, SftRow, TrainResult, TrainSpec, write_rows
from flywheel.workflows.base_model import BaseModel
from flywheel.workflows.pack import Training


class Prepared(NamedTuple):
    """A written spec and the command that runs it; by hand: `python -m flywheel.training SPEC`.

    `inherited` names the settings that the pack left to the model family.
    """

    spec_file: Path
    spec: TrainSpec
    command: list[str]
    inherited: dict[str, Any]


def prepare(
    sft: pl.DataFrame, preference: pl.DataFrame, *, renderer: Renderer, base: BaseModel, family: Family,
    training: Training, settings: Settings, folder: Path, output: Path,
) -> Prepared:  # fmt: skip
    """Tokenise the rows and write the spec below `folder`; finished adapters go to `output`.

    Pairs are the newest week's first, in row-id order, at most `training.dpo_pairs`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    output.mkdir(parents=True, exist_ok=True)
    (folder / "result.json").unlink(missing_ok=True)
    chosen = preference.sort(["from_week", "row_id"], descending=[True, False]).head(training.dpo_pairs)
    taught, held = split_validation(sft, training.validation_share)
    for name, rows in (("sft", taught), ("validation", held)):
        write_rows(
            folder / f"{name}.jsonl", [_sft_row(row, renderer) for row in rows.sort("row_id").iter_rows(named=True)]
        )
    write_rows(folder / "preference.jsonl", [_preference_row(row, renderer) for row in chosen.iter_rows(named=True)])
    profile, named = asdict(family.profile), training.model_dump(exclude_none=True)
    inherited = {name: value for name, value in profile.items() if name not in named}
    spec = TrainSpec(
        base_model=base.folder,
        base_model_name=f"{base.name}-{base.sha256[:12]}",
        output=output.absolute(),
        sft_rows=(folder / "sft.jsonl").absolute(),
        validation_rows=(folder / "validation.jsonl").absolute(),
        preference_rows=(folder / "preference.jsonl").absolute(),
        **{name: named.get(name, value) for name, value in profile.items()},
        max_pack_tokens=training.max_pack_tokens,
        steps_between_saves=training.steps_between_saves,
        sft_presentations=min(training.sft_presentations, training.sft_max_epochs * taught.height),
        rows_per_step=training.rows_per_step,
        patience=training.patience,
        dpo_beta=training.dpo_beta,
        dpo_pairs_per_step=training.dpo_pairs_per_step,
        chosen_fall=training.chosen_fall,
        threads=settings.threads,
        seed=training.seed,
    )
    spec_file = folder / "spec.json"
    spec_file.write_text(spec.model_dump_json(indent=2), encoding="utf-8")
    child = [sys.executable, "-m", "flywheel.training", str(spec_file)]
    return Prepared(spec_file, spec, [sys.executable, "-m", "flywheel.processes", "--", *child], inherited)


def split_validation(sft: pl.DataFrame, share: float) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows to train on, and about `share` of the near-duplicate groups to validate on; no group or conversation in both.

    A group keeps its side as data grows: the split is by the hash of its name. Under 20 validation rows there are none: so
    few say nothing about when to stop.
    """
    held_groups = sft.filter(pl.col("near_duplicate_group").map_elements(_unit, return_dtype=pl.Float64) < share)
    held = sft.filter(pl.col("conversation_id").is_in(held_groups["conversation_id"].implode()))
    # A conversation pulls its other groups along.
    held = sft.filter(pl.col("near_duplicate_group").is_in(held["near_duplicate_group"].implode()))
    if held.height < 20:
        return sft, sft.clear()
    return sft.join(held, on="row_id", how="anti"), held


def _unit(text: str) -> float:
    """A number in [0, 1) that depends on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) / 2**64


def child_environment() -> dict[str, str]:
    """Environment of the child: offline, no telemetry, one tokenizer thread, at peace with its neighbours and its memory."""
    return {
        **os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "false",
        # Threads that wait sleep instead of spinning: on cores that others use too, a step takes a third of the time.
        "OMP_WAIT_POLICY": "PASSIVE",
        # glibc keeps what a step frees for the next one, instead of having the kernel zero it again: a tenth of a step.
        "MALLOC_MMAP_THRESHOLD_": str(2**32), "MALLOC_TRIM_THRESHOLD_": str(2**33),
    }  # fmt: skip


def read_result(spec_file: Path) -> TrainResult:
    """What the child wrote last; raises FlywheelError when it never got there."""
    file = spec_file.with_name("result.json")
    try:
        return TrainResult.model_validate(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        raise FlywheelError(
            "the training child ended without a result: killed, out of memory, or stopped by an error above",
            where=str(file),
            remedy=f"run it by hand to see why: python -m flywheel.training {spec_file}; then rematerialize checkpoint",
        ) from None


def checkpoint_row(
    result: TrainResult, prepared: Prepared, *, base: BaseModel, renderer: Renderer, home: Path
) -> dict[str, Any]:
    """CHECKPOINT row without partition columns."""
    return {
        "adapter_id": result.adapter_id,
        "adapter_path": str(result.adapter_path.relative_to(home.absolute())),
        "base_model_sha256": base.sha256,
        "chat_template_sha256": renderer.template_sha256,
        "spec": prepared.spec.model_dump_json(),
        **result.model_dump(include={
            "sft_rows", "preference_rows", "sft_presentations", "sft_first_loss", "sft_last_loss", "preference_accuracy",
            "chosen_logps_change", "validation_loss", "sharing", "tokens", "tokens_computed", "seconds",
        }),
        "log": json.dumps([entry.model_dump() for entry in result.log]),
    }  # fmt: skip


def _sft_row(row: Mapping[str, Any], renderer: Renderer) -> SftRow:
    step = renderer.step(json.loads(row["messages"]), json.loads(row["target"]), json.loads(row["tools"]))
    return SftRow(prompt_ids=step.prompt_ids, target_ids=step.target_ids)


def _preference_row(row: Mapping[str, Any], renderer: Renderer) -> PreferenceRow:
    history, tools = json.loads(row["messages"]), json.loads(row["tools"])
    chosen = renderer.step(history, json.loads(row["chosen"]), tools)
    rejected = renderer.step(history, json.loads(row["rejected"]), tools)
    return PreferenceRow(prompt_ids=chosen.prompt_ids, chosen_ids=chosen.target_ids, rejected_ids=rejected.target_ids)
