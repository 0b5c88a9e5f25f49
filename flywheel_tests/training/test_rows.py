"""Rows a base model cannot train on, and training that went off: said with row, step and remedy before anything is spent."""

import json
from pathlib import Path

import pytest

from flywheel.errors import FlywheelError
from flywheel.training.divergence import refuse_divergence
from flywheel.training.rows import check_rows
from flywheel.training.spec import PreferenceRow, SftRow, read_failure, write_failure
from flywheel.training.stage import read_result

GOOD = SftRow(prompt_ids=[1, 2], target_ids=[3])
PAIR = PreferenceRow(prompt_ids=[1, 2], chosen_ids=[3], rejected_ids=[4])
FILES = ("sft.jsonl", "preference.jsonl")


@pytest.fixture
def base_model(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps({"vocab_size": 100, "max_position_embeddings": 8}))
    return tmp_path


def test_rows_that_fit_pass(base_model: Path):
    check_rows([GOOD, SftRow(prompt_ids=[0] * 7, target_ids=[99])], [PAIR], base_model, files=FILES)


@pytest.mark.parametrize(
    ("row", "said", "remedy"),
    [
        (SftRow(prompt_ids=[1] * 8, target_ids=[2]), "longer than the model's context of 8", "max_prompt_tokens"),
        (SftRow(prompt_ids=[1, 100], target_ids=[2]), "outside the model's vocabulary of 100", "another base model"),
        (SftRow(prompt_ids=[1], target_ids=[-100]), "outside the model's vocabulary", "sft_dataset"),
        (SftRow(prompt_ids=[1], target_ids=[]), "an empty prompt or an empty target", "teaches nothing"),
    ],
)
def test_rows_that_do_not_are_counted_and_the_first_is_named(base_model: Path, row: SftRow, said: str, remedy: str):
    with pytest.raises(FlywheelError, match=f"1 of 2 rows .*{said}.*, row 2 first") as caught:
        check_rows([GOOD, row], [], base_model, files=FILES)
    assert remedy in caught.value.remedy and caught.value.where == "sft.jsonl"


def test_both_sides_of_a_pair_are_looked_at(base_model: Path):
    with pytest.raises(FlywheelError, match="1 of 2 rows hold token ids outside") as caught:
        check_rows([GOOD], [PAIR.model_copy(update={"rejected_ids": [4000]})], base_model, files=FILES)
    assert caught.value.where == "preference.jsonl"


def test_a_configuration_that_is_none_is_said(tmp_path: Path):
    with pytest.raises(FlywheelError, match="no model configuration"):
        check_rows([GOOD], [], tmp_path, files=FILES)


@pytest.mark.parametrize(("key", "value"), [("loss", float("nan")), ("grad_norm", float("inf"))])
def test_training_that_went_off_names_stage_and_step(key: str, value: float):
    refuse_divergence("SFT", 6, {"loss": 2.0, "grad_norm": 1.0})
    with pytest.raises(
        FlywheelError, match=r"at step 7 of the DPO stage: training diverged, nothing was exported"
    ) as caught:
        refuse_divergence("DPO", 7, {"loss": 0.0, "grad_norm": 1.0, key: value})
    assert "training.dpo_learning_rate" in caught.value.remedy


def test_what_the_child_said_reaches_the_asset_that_waits_for_it(tmp_path: Path):
    assert read_failure(tmp_path / "spec.json") is None
    write_failure(tmp_path / "spec.json", FlywheelError("it broke", where="here", remedy="mend it"))
    with pytest.raises(FlywheelError, match=r"it broke \[here\]\n  -> mend it"):
        read_result(tmp_path / "spec.json")
