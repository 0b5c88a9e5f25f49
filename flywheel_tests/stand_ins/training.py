"""Stands in for `python -m flywheel.training SPEC.json`: an adapter that is a function of the spec, written as training writes it."""

import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from flywheel.training.export import export_adapter
from flywheel.training.spec import (
    Drift,
    Forgetting,
    LogEntry,
    PreferenceRow,
    SftRow,
    TrainResult,
    read_rows,
    read_spec,
    write_last,
)

_STEPS = 10


def train(spec_file: Path, seconds: float) -> TrainResult:
    """Take `seconds` over it, export the adapter, write `result.json` last."""
    spec = read_spec(spec_file)
    rows, pairs = read_rows(spec.sft_rows, SftRow), read_rows(spec.preference_rows, PreferenceRow)
    for _ in range(_STEPS):
        time.sleep(seconds / _STEPS)
    seed = int(spec.sha256()[:16], 16)
    adapter_id = write_adapter(
        spec.output, spec.base_model_name, seed=seed, rank=spec.lora_rank, alpha=spec.lora_alpha, renames=spec.renames
    )
    path = spec.output / adapter_id
    drift = Drift(base=2.0, candidate=2.1, change=0.1, low=0.0, high=0.2, texts=60, tokens=6_000)
    result = TrainResult(
        adapter_id=adapter_id, adapter_path=path, sft_rows=len(rows), preference_rows=len(pairs),
        sft_presentations=spec.sft_presentations, sft_first_loss=1.0, sft_last_loss=0.1, validation_loss=None,
        preference_accuracy=1.0 if pairs else None, chosen_logps_change=0.0 if pairs else None, sharing="stand-in",
        tokens=sum(len(row.prompt_ids) + len(row.target_ids) for row in rows), tokens_computed=0,
        forgetting=Forgetting(general=drift, general_sha256="stand-in", tools=None, tools_source="none"), seconds=seconds,
        log=[LogEntry(stage="SFT", step=step + 1, steps=_STEPS, loss=1 / (step + 1), seconds=seconds / _STEPS) for step in range(_STEPS)],
    )  # fmt: skip
    write_last(spec_file.with_name("result.json"), result)
    return result


def write_adapter(
    output: Path,
    base_model_name: str,
    *,
    seed: int = 0,
    rank: int = 8,
    alpha: int = 16,
    renames: Mapping[str, str] | None = None,
) -> str:
    """An adapter of numbers drawn by the seed, exported as training exports it; its id."""
    with tempfile.TemporaryDirectory() as scratch:
        trained = Path(scratch)
        draws = np.random.default_rng(seed)
        name = "base_model.model.model.layers.0.self_attn.q_proj"
        save_file(
            {f"{name}.lora_A.weight": draws.normal(size=(rank, 8)).astype(np.float32),
             f"{name}.lora_B.weight": draws.normal(size=(8, rank)).astype(np.float32)},
            trained / "adapter_model.safetensors",
        )  # fmt: skip
        config = {"peft_type": "LORA", "r": rank, "lora_alpha": alpha, "bias": "none"}
        (trained / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
        return export_adapter(trained, output, base_model_name, renames=renames)[0]


if __name__ == "__main__":
    train(Path(sys.argv[1]), float(os.environ.get("FLYWHEEL_STAND_IN_SECONDS", "0")))
