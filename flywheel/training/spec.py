"""The contract of the training child: one JSON spec in, one JSON result out. No torch here.

    python -m flywheel.training SPEC.json

Rows come pre-tokenised by our renderer (`flywheel.chat`), so the trainer never renders a template.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from flywheel.errors import FlywheelError


class TrainSpec(BaseModel):
    """Everything that decides an adapter.

    Attributes:
        base_model: Hugging Face folder of the base model (safetensors).
        base_model_name: content-addressed name written into the adapter.
        output: folder the finished adapter is moved to, under its content hash.
        sft_rows: JSON lines `{"prompt_ids", "target_ids"}`.
        preference_rows: JSON lines `{"prompt_ids", "chosen_ids", "rejected_ids"}`; may be empty.
        sft_epochs: passes over the supervised rows; a fraction stops inside the last pass.
        rows_per_pack: rows that share one forward pass and the prefix they have in common.
        regression_rows: JSON lines like `sft_rows`, scored after training and never trained by this file: steps of tools nobody
            corrected this week; regression_source: held_out, mix or none, see `drift.regression_steps`.
    """

    model_config = ConfigDict(extra="forbid")

    base_model: Path
    base_model_name: str
    output: Path
    sft_rows: Path
    preference_rows: Path
    lora_rank: int
    lora_alpha: int
    sft_learning_rate: float
    sft_epochs: float
    rows_per_pack: int
    dpo_learning_rate: float
    dpo_beta: float
    dpo_pairs_per_pack: int
    threads: int
    seed: int
    regression_rows: Path | None = None
    regression_source: str = "none"


class LogEntry(BaseModel):
    """One line of the training log."""

    stage: str
    step: int
    steps: int
    loss: float
    seconds: float


class Drift(BaseModel):
    """Base model against candidate on some texts: mean negative log-likelihood in nats a token.

    Attributes:
        change: candidate minus base, positive where the candidate forgot; low, high: its 95 % interval over texts.
        texts, tokens: how many, scored tokens only.
    """

    base: float
    candidate: float
    change: float
    low: float
    high: float
    texts: int
    tokens: int


class Forgetting(BaseModel):
    """What the adapter forgot: on the frozen general texts, and on steps of tools nobody corrected (None without any)."""

    general: Drift
    general_sha256: str
    tools: Drift | None
    tools_source: str


class TrainResult(BaseModel):
    """What the child found out; written last, so its existence means the adapter is whole."""

    adapter_id: str
    adapter_path: Path
    sft_rows: int
    preference_rows: int
    sft_presentations: int
    sft_first_loss: float
    sft_last_loss: float
    preference_accuracy: float | None
    chosen_logps_change: float | None
    forgetting: Forgetting
    seconds: float
    log: list[LogEntry]


class SftRow(BaseModel):
    """One supervised row as token ids; loss falls on `target_ids` alone."""

    prompt_ids: list[int]
    target_ids: list[int]


class PreferenceRow(BaseModel):
    """One preference pair as token ids; both sides follow the same prompt."""

    prompt_ids: list[int]
    chosen_ids: list[int]
    rejected_ids: list[int]


def write_rows(file: Path, rows: Iterable[SftRow | PreferenceRow]) -> None:
    """Write rows as JSON lines."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(row.model_dump_json() + "\n" for row in rows), encoding="utf-8")


def read_spec(file: Path) -> TrainSpec:
    """Read a spec; raises FlywheelError when the file is missing or wrong."""
    try:
        return TrainSpec.model_validate(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise FlywheelError(
            f"no usable training spec: {error}",
            where=str(file),
            remedy="the checkpoint asset writes it: flywheel run --week WEEK --workflow NAME --stage checkpoint",
        ) from error


def write_failure(spec_file: Path, error: FlywheelError) -> None:
    """Leave beside the spec what a user can mend, for the asset that waits for the child."""
    text = json.dumps({"what": error.what, "where": error.where, "remedy": error.remedy})
    try:
        spec_file.with_name("error.json").write_text(text, encoding="utf-8")
    except OSError:
        pass  # the disk may be what is full; the child has printed it too


def read_failure(spec_file: Path) -> FlywheelError | None:
    """What the child said it failed of, or None when it never came to say anything."""
    try:
        return FlywheelError(**json.loads(spec_file.with_name("error.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
