"""The `training` section of workflow.yaml."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Training(BaseModel):
    """Hyper-parameters of the weekly adapter; see `flywheel.training.spec` for what each does.

    What is None comes from the model family's profile (`flywheel.chat.families`). `start` says whether a week's adapter is a fresh one on
    the base model or goes on from the incumbent's weights (`flywheel.training.start`).
    """

    model_config = ConfigDict(extra="forbid")

    start: Literal["base", "incumbent"] = "base"
    lora_rank: int | None = Field(default=None, ge=1, le=64)
    lora_alpha: int | None = Field(default=None, ge=1)
    gradient_checkpointing: bool | None = None
    sft_learning_rate: float | None = Field(default=None, gt=0)
    dpo_learning_rate: float | None = Field(default=None, gt=0)
    sft_presentations: int = Field(default=480, ge=1)
    sft_max_epochs: int = Field(default=3, ge=1)
    rows_per_step: int = Field(default=16, ge=1)
    max_pack_tokens: int = Field(default=4096, ge=16)
    validation_share: float = Field(default=0.05, ge=0, le=0.5)
    steps_between_saves: int = Field(default=10, ge=1)
    patience: int = Field(default=3, ge=1)
    dpo_pairs: int = Field(default=32, ge=0)
    dpo_pairs_per_step: int = Field(default=8, ge=1)
    chosen_fall: float = Field(default=0.0, ge=0)
    dpo_beta: float = Field(default=0.1, gt=0)
    max_prompt_tokens: int = Field(default=2048, ge=16)
    seed: int = 0
