"""The contract of the training child: one JSON spec in, one JSON result out. No torch here.

    python -m flywheel.training SPEC.json

Rows come pre-tokenised by our renderer (`flywheel.chat`), so the trainer never renders a template.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from flywheel.errors import FlywheelError

# Where files lie may differ from run to run, and what is only measured changes no adapter.
_NOT_DECISIVE = {
    "base_model", "output", "sft_rows", "validation_rows", "preference_rows", "regression_rows", "regression_source", "start_adapter",
}  # fmt: skip


class TrainSpec(BaseModel):
    """Everything that decides an adapter.

    Attributes:
        base_model: Hugging Face folder of the base model (safetensors).
        base_model_name: content-addressed name written into the adapter.
        output: folder the finished adapter is moved to, under its content hash.
        start_adapter, start_adapter_id: folder and id of the adapter whose weights are trained on; None for a fresh one.
        sft_rows: JSON lines `{"prompt_ids", "target_ids"}`.
        validation_rows: the same, never trained on: they say when supervised training stops helping; may be empty.
        preference_rows: JSON lines `{"prompt_ids", "chosen_ids", "rejected_ids"}`; may be empty.
        sft_presentations: supervised rows shown in all, over as many epochs as that takes.
        rows_per_step: supervised rows of one optimizer step.
        target_modules: PEFT's: which layers get the adapter.
        dtype: of the frozen base; the adapter is float32.
        max_pack_tokens: most distinct tokens of one forward pass, which bounds memory; a longer row goes alone.
        steps_between_saves: optimizer steps between two validations, each saved: what a killed run loses at most.
        patience: validations without improvement that end the supervised stage; its best weights are kept.
        chosen_fall: largest mean fall of the chosen sides' log-probability in nats that the preference stage may cause.
        regression_rows: JSON lines like `sft_rows`, scored after training and never trained by this file: steps of tools nobody
            corrected this week; regression_source: held_out, mix or none, see `drift.regression_steps`.
        renames: prefix of weight names as trained -> as the served architecture calls them; see `flywheel.chat.families`.
    """

    model_config = ConfigDict(extra="forbid")

    base_model: Path
    base_model_name: str
    output: Path
    sft_rows: Path
    validation_rows: Path
    preference_rows: Path
    lora_rank: int
    lora_alpha: int
    target_modules: str = "all-linear"
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    gradient_checkpointing: bool = False
    max_pack_tokens: int
    steps_between_saves: int
    sft_learning_rate: float
    sft_presentations: int
    rows_per_step: int
    patience: int
    dpo_learning_rate: float
    dpo_beta: float
    dpo_pairs_per_step: int
    chosen_fall: float
    threads: int
    seed: int
    regression_rows: Path | None = None
    regression_source: str = "none"
    renames: dict[str, str] = {}
    start_adapter: Path | None = None
    start_adapter_id: str | None = None

    def sha256(self) -> str:
        """Hash of all that decides the adapter: settings, base and the rows themselves, not where they lie."""
        digest = hashlib.sha256(self.model_dump_json(exclude=_NOT_DECISIVE).encode())
        for file in (self.sft_rows, self.validation_rows, self.preference_rows):
            digest.update(hashlib.sha256(file.read_bytes()).digest())
        return digest.hexdigest()

    def differing(self, other: "TrainSpec") -> list[str]:
        """Names of the settings in which two specs differ and that decide the adapter; the rows themselves are not looked at."""
        names = [name for name in type(self).model_fields if name not in _NOT_DECISIVE]
        return [name for name in names if getattr(self, name) != getattr(other, name)]


class LogEntry(BaseModel):
    """One line of the training log.

    Attributes:
        stage: SFT or DPO.
        loss: of the step's rows; of the validation rows where `validation` is set.
        chosen_change: mean change of the chosen sides' log-probability since the stage began, nats; DPO only.
        accuracy: share of pairs whose margin is positive; DPO only.
    """

    stage: str
    step: int
    steps: int
    loss: float
    seconds: float
    validation: bool = False
    chosen_change: float | None = None
    accuracy: float | None = None


class StageResult(BaseModel):
    """What one stage found out; written last, so its existence means that the adapter beside it is whole.

    Attributes:
        spec_sha256: the spec it belongs to.
        sharing: how rows shared their tokens: "tree", or why they did not.
        tokens: tokens of all rows shown; computed: tokens that went through the model for them.
        presentations: rows (pairs) shown, fewer than planned where the stage stopped early.
    """

    spec_sha256: str
    sharing: str
    tokens: int
    computed: int
    presentations: int
    accuracy: float | None = None
    chosen_change: float | None = None
    log: list[LogEntry]


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
    validation_loss: float | None
    preference_accuracy: float | None
    chosen_logps_change: float | None
    sharing: str
    tokens: int
    tokens_computed: int
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


RowKind = TypeVar("RowKind", SftRow, PreferenceRow)


def write_rows(file: Path, rows: Iterable[SftRow | PreferenceRow]) -> None:
    """Write rows as JSON lines."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(row.model_dump_json() + "\n" for row in rows), encoding="utf-8")


def read_rows(file: Path, kind: type[RowKind]) -> list[RowKind]:
    """Rows of a file that `write_rows` wrote."""
    return [kind.model_validate_json(line) for line in file.read_text(encoding="utf-8").splitlines()]


def write_last(file: Path, result: BaseModel) -> None:
    """Write a result whole or not at all."""
    temporary = file.with_name(f"{file.name}.partial")
    temporary.write_text(result.model_dump_json(indent=2), encoding="utf-8")
    temporary.replace(file)


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
