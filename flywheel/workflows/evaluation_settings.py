"""`decoding` and `evaluation` of `workflow.yaml`: how production chooses tokens, and how the benchmark is run with it."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Decoding(_Strict):
    """How production chooses tokens; the gate judges under the same mode.

    `greedy_auto` always takes the likeliest token, `sampled_auto` draws at `temperature`; both leave it to the model whether to call.
    """

    mode: Literal["greedy_auto", "sampled_auto"] = "greedy_auto"
    temperature: float = Field(default=0, ge=0, le=2)
    max_tokens: int = Field(default=96, ge=1, le=4096)

    @model_validator(mode="after")
    def _mode_and_temperature_agree(self) -> "Decoding":
        if (self.mode == "sampled_auto") != (self.temperature > 0):
            raise ValueError("sampled_auto needs a temperature above 0, and greedy_auto has none")
        return self


class Review(_Strict):
    """How people check the program's scores: outputs drawn at random, rated blind (`flywheel.evaluation.human_review`).

    `share` of the outputs are drawn, and `at_least` so many; `double_rated` of those go to two people, never under a tenth.
    Where the pack requires the review, promotion waits until `min_reviewed` of the sample is decided, and is INVALID while people
    agree with the program on less than `min_agreement` of it.
    """

    share: float = Field(default=0.1, gt=0, le=1)
    at_least: int = Field(default=30, ge=1)
    double_rated: float = Field(default=0.1, ge=0.1, le=1)
    min_reviewed: float = Field(default=0.9, gt=0, le=1)
    min_agreement: float = Field(default=0.8, gt=0, le=1)


class Evaluation(_Strict):
    """How the benchmark is run, and whether people have to check its scores before a promotion (`human_review`).

    `epochs` is how often each case is run with other seeds: 1, or at least 3 for pass^k (design.md 8.13). `volatile_fields` of the
    environment's state are not compared: a name at any depth, or a dotted path with `*` for any one key.
    """

    concurrency: int = Field(default=16, ge=1)
    repeat_cases: int = Field(default=60, ge=0)
    epochs: int = Field(default=1, ge=1, le=32)
    volatile_fields: list[str] = []
    human_review: Literal["none", "required"] = "none"
    review: Review = Review()

    @field_validator("epochs")
    @classmethod
    def _one_or_at_least_three(cls, epochs: int) -> int:
        if epochs == 2:
            raise ValueError("two epochs say little about reliability; use 1, or at least 3 for pass^k")
        return epochs
