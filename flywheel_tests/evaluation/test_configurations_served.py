"""Two configurations on real servers, one after the other: another prompt, few-shot examples, and calls held to their schemas."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from flywheel.benchmark.cases import Case
from flywheel.evaluation.comparison import Machine, compare
from flywheel.serving.configuration import Configuration
from flywheel.workflows.base_model import find_base_model
from flywheel.workflows.evaluation_settings import Decoding
from flywheel.workflows.pack import Pack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_a_prompt_examples_and_a_grammar_are_served_and_both_sides_run_the_same_cases(
    door: Pack, door_cases: list[Case], tmp_path: Path
):
    command = [sys.executable, "-m", "flywheel.training.base_model", "tiny-random", str(tmp_path), str(door.folder)]
    subprocess.run(command, check=True, capture_output=True)
    base = find_base_model(tmp_path, "tiny-random")
    settings = door.settings.model_copy(update={"decoding": Decoding(max_tokens=12)})
    plain = Configuration("pack", dataclasses.replace(door, settings=settings), base, "base")
    shown = ({"role": "user", "content": "good morning"}, {"role": "assistant", "content": "good morning to you"})
    short = dataclasses.replace(
        plain,
        name="short",
        pack=dataclasses.replace(plain.pack, system="Doors only."),
        examples=shown,
        constrained=True,
    )
    machine = Machine(tmp_path / "checkpoints", tmp_path / "scratch", 2, 240, tmp_path / "egress.jsonl")
    rows = pl.DataFrame(compare(plain, short, door_cases[:12], "v1", machine), infer_schema_length=None)
    assert rows["infra_error"].null_count() == rows.height == 36
    arms = {arm: rows.filter(arm=arm).sort("case_id") for arm in ("incumbent", "incumbent_again", "candidate")}
    assert arms["incumbent"]["raw_outputs"].to_list() == arms["incumbent_again"]["raw_outputs"].to_list(), (
        "greedy, one server"
    )
    assert arms["incumbent"]["case_id"].to_list() == arms["candidate"]["case_id"].to_list()
    assert arms["incumbent"]["prompt_sha256"].to_list() != arms["candidate"]["prompt_sha256"].to_list()
    described = [json.loads(arms[arm]["server"][0])["arguments"] for arm in ("incumbent", "candidate")]
    assert ["--tool-strict-level parameter" in text for text in described] == [False, True]
    assert not (tmp_path / "egress.jsonl").exists()
