"""A house with a base model by name, adapters whose files are whole, and weeks that were decided; no weights that mean anything."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flywheel.benchmark.cases import load_cases
from flywheel.benchmark.freeze import frozen_row
from flywheel.lake import TABLES, Lake
from flywheel.promotion.pointer import entry, next_moment
from flywheel.promotion.releases import Releases
from flywheel.serving.adapters import ADAPTER_FILES, MANIFEST, adapter_sha256
from flywheel.settings import Settings
from flywheel.workflows.base_model import find_base_model, write_manifest
from flywheel.workflows.loader import load_pack
from flywheel_tests.conftest import HOME

WEEKS = ("2026-01-05", "2026-01-12", "2026-01-19")


def blank(table: str, **values: Any) -> dict[str, Any]:
    """A row with everything else null."""
    names = [name for name in TABLES[table].polars_schema() if name not in ("week", "workflow")]
    return {**dict.fromkeys(names), **values}


def make_adapter(settings: Settings, seed: int, base: str = "tiny-random-000000000000", workflow: str = "door") -> str:
    """A whole LoRA adapter of one number, named by its content; returns its id."""
    partial = settings.checkpoints(workflow) / f"seed-{seed}"
    partial.mkdir(parents=True)
    config = {"peft_type": "LORA", "r": 4, "bias": "none", "base_model_name_or_path": base, "init_lora_weights": True}
    (partial / ADAPTER_FILES[0]).write_text(json.dumps(config))
    names = [f"base_model.model.model.layers.0.self_attn.q_proj.lora_{side}.weight" for side in "AB"]
    header = json.dumps({name: {"dtype": "F32", "shape": [1], "data_offsets": [4 * n, 4 * n + 4]}
                         for n, name in enumerate(names)}).encode()  # fmt: skip
    (partial / ADAPTER_FILES[1]).write_bytes(len(header).to_bytes(8, "little") + header + seed.to_bytes(8, "little"))
    sha256 = adapter_sha256(partial)
    (partial / MANIFEST).write_text(json.dumps({"sha256": sha256, "base_model": base, "renamed": {}}))
    final = partial.with_name(f"adapter-{sha256[:16]}")
    partial.rename(final)
    return final.name


def make_house(folder: Path) -> Releases:
    """The door pack, its base model by name only, and an empty lake."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "workflows").symlink_to(HOME / "workflows")
    model = folder / "models" / "tiny-random-000000000000"
    model.mkdir(parents=True)
    (model / "tokenizer.json").write_text("{}")
    write_manifest(model, sha256="0" * 64, source="a test")
    settings = Settings(home=folder)
    pack = load_pack(folder / "workflows" / "door")
    return Releases(Lake(settings.lake()), settings, pack, find_base_model(settings.models(), "tiny-random"))


def decide(
    acts: Releases,
    week: str,
    candidate: str,
    *,
    verdict: str = "PROMOTE",
    automatic: bool = False,
    tools: str | None = None,
) -> None:
    """A week as its stages leave it: a checkpoint, a decision, and the log's entry; released only when `automatic`."""
    from flywheel.promotion.pointer import serving

    log = acts.log()
    incumbent = serving(log, before_week=week, first=acts.pack.first_incumbent)
    trained = blank("checkpoint", adapter_id=candidate, tools_sha256=tools or acts.pack.tools_sha256)
    acts.lake.replace_partition("checkpoint", [trained], workflow="door", week=week)
    served = candidate if automatic and verdict == "PROMOTE" else incumbent
    row = blank("promotion", decision_id=f"d-{week}", verdict=verdict, reasons='["because"]', candidate_adapter_id=candidate,
                incumbent_adapter_id=incumbent, served_adapter_id=served)  # fmt: skip
    acts.lake.replace_partition("promotion", [row], workflow="door", week=week)
    moved = entry(week, row["decision_id"], verdict, incumbent, served, next_moment(log, datetime.now(UTC)),
                  candidate=candidate, reason="because")  # fmt: skip
    acts.lake.append_new("promotion_log", [moved], workflow="door")


def freeze_cases(acts: Releases) -> None:
    """Put the pack's benchmark into the lake as `freeze` would."""
    cases = load_cases(acts.pack.folder / "benchmark", acts.pack.tools)
    rows = [{**frozen_row(case, acts.pack.tools_sha256), "retired": False} for case in cases]
    acts.lake.replace_partition("benchmark", rows, workflow="door")
