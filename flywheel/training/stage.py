"""Between the tables and the training child: which rows train, the spec, and the child's result. No torch here."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from flywheel.chat.families import Family
from flywheel.chat.render import Renderer
from flywheel.errors import Interrupted
from flywheel.processes import child_command
from flywheel.settings import Settings, without_secrets
from flywheel.training.drift import regression_steps, touched_tools
from flywheel.training.rows import check_rows
from flywheel.training.spec import Forgetting, PreferenceRow, SftRow, TrainResult, TrainSpec, read_failure, write_rows
from flywheel.training.validation import split_validation
from flywheel.workflows.base_model import BaseModel
from flywheel.workflows.training_settings import Training

# The module that trains: `python -m flywheel.training SPEC`.
CHILD = "flywheel.training"


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
    training: Training, settings: Settings, folder: Path, output: Path, held_out: pl.DataFrame, week: str,
    start: str | None = None,
) -> Prepared:  # fmt: skip
    """Tokenise the rows and write the spec below `folder`; finished adapters go to `output`, where `start` lies if one is named.

    Raises FlywheelError for rows that this base model cannot train on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    output.mkdir(parents=True, exist_ok=True)
    for stale in ("result.json", "error.json"):
        (folder / stale).unlink(missing_ok=True)
    taught, kept_out = split_validation(sft, training.validation_share)
    rows, pairs = training_rows(taught, preference, renderer, training)
    validation, _ = training_rows(kept_out, preference.clear(), renderer, training)
    check_rows([*rows, *validation], pairs, base.folder, files=("sft_dataset", "preference_dataset"))
    mix = sft.to_dicts()
    steps, source = regression_steps(mix, held_out.to_dicts(), touched_tools(mix, week))
    write_rows(folder / "sft.jsonl", rows)
    write_rows(folder / "validation.jsonl", validation)
    write_rows(folder / "preference.jsonl", pairs)
    write_rows(folder / "regression.jsonl", [_sft_row(row, renderer) for row in steps])
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
        regression_rows=(folder / "regression.jsonl").absolute(),
        regression_source=source,
        renames=served_names(base.folder, family),
        start_adapter=output.absolute() / start if start else None,
        start_adapter_id=start,
    )
    spec_file = folder / "spec.json"
    spec_file.write_text(spec.model_dump_json(indent=2), encoding="utf-8")
    return Prepared(spec_file, spec, child_command(CHILD, str(spec_file)), inherited)


def served_names(base: Path, family: Family) -> dict[str, str]:
    """Prefixes of weight names that serving knows by other names: where the base is the architecture that the family names."""
    architectures = json.loads((base / "config.json").read_text(encoding="utf-8")).get("architectures") or []
    return dict(family.adapter_key_renames) if family.architecture in architectures else {}


def training_rows(
    sft: pl.DataFrame, preference: pl.DataFrame, renderer: Renderer, training: Training
) -> tuple[list[SftRow], list[PreferenceRow]]:
    """The rows as token ids, in row-id order; of the pairs the newest week's first, at most `training.dpo_pairs`."""
    chosen = preference.sort(["from_week", "row_id"], descending=[True, False]).head(training.dpo_pairs)
    return (
        [_sft_row(row, renderer) for row in sft.sort("row_id").iter_rows(named=True)],
        [_preference_row(row, renderer) for row in chosen.iter_rows(named=True)],
    )


def child_environment() -> dict[str, str]:
    """Environment of the child: offline, no telemetry, one tokenizer thread, freed memory kept."""
    return {
        **without_secrets(os.environ), "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "false",
        # glibc keeps what a step frees for the next one, instead of having the kernel zero it again: a tenth of a step.
        "MALLOC_MMAP_THRESHOLD_": str(2**32), "MALLOC_TRIM_THRESHOLD_": str(2**33),
    }  # fmt: skip


def read_result(spec_file: Path) -> TrainResult:
    """What the child wrote last; raises FlywheelError, in the child's own words where it had any, when it never got there."""
    file = spec_file.with_name("result.json")
    try:
        return TrainResult.model_validate(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        if failure := read_failure(spec_file):
            raise failure from None
        raise Interrupted(
            "the training child ended without a result: killed, out of memory, or stopped by an error above",
            where=str(file),
            remedy=f"run it by hand to see why: python -m flywheel.training {spec_file}; then rematerialize checkpoint",
        ) from None


def checkpoint_row(
    result: TrainResult, prepared: Prepared, *, base: BaseModel, renderer: Renderer, home: Path, tools_sha256: str,
    elsewhere: Mapping[str, Any] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """CHECKPOINT row without partition columns; `elsewhere` says which machine trained it, where that was another."""
    return {
        "adapter_id": result.adapter_id,
        "adapter_path": str(result.adapter_path.relative_to(home.absolute())),
        "base_model_sha256": base.sha256,
        "chat_template_sha256": renderer.template_sha256,
        "tools_sha256": tools_sha256,
        "start_adapter_id": prepared.spec.start_adapter_id,
        "spec": prepared.spec.model_dump_json(),
        **result.model_dump(include={
            "sft_rows", "preference_rows", "sft_presentations", "sft_first_loss", "sft_last_loss", "preference_accuracy",
            "chosen_logps_change", "validation_loss", "sharing", "tokens", "tokens_computed", "seconds",
        }),
        **forgetting_columns(result.forgetting),
        "log": json.dumps([entry.model_dump() for entry in result.log]),
        "trained_elsewhere": json.dumps(elsewhere) if elsewhere else None,
    }  # fmt: skip


def forgetting_columns(found: Forgetting) -> dict[str, Any]:
    """CHECKPOINT columns of what the adapter forgot."""
    tools = found.tools
    return {
        "forgetting_nats": found.general.change,
        "forgetting_low": found.general.low,
        "forgetting_high": found.general.high,
        "tool_regression_nats": tools.change if tools else None,
        "tool_regression_low": tools.low if tools else None,
        "tool_regression_high": tools.high if tools else None,
        "tool_regression_source": found.tools_source,
        "forgetting": found.model_dump_json(),
    }


def _sft_row(row: Mapping[str, Any], renderer: Renderer) -> SftRow:
    step = renderer.step(json.loads(row["messages"]), json.loads(row["target"]), json.loads(row["tools"]))
    return SftRow(prompt_ids=step.prompt_ids, target_ids=step.target_ids)


def _preference_row(row: Mapping[str, Any], renderer: Renderer) -> PreferenceRow:
    history, tools = json.loads(row["messages"]), json.loads(row["tools"])
    chosen = renderer.step(history, json.loads(row["chosen"]), tools)
    rejected = renderer.step(history, json.loads(row["rejected"]), tools)
    return PreferenceRow(prompt_ids=chosen.prompt_ids, chosen_ids=chosen.target_ids, rejected_ids=rejected.target_ids)
