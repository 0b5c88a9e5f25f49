"""Joined servers: everything that is served, the larger limits, and no sharing across what decides answers."""

from dataclasses import replace
from pathlib import Path

import pytest

from flywheel.chat.families import FAMILIES
from flywheel.errors import FlywheelError
from flywheel.serving.together import together
from flywheel.serving.vllm_server import ServerSpec

ONE = ServerSpec(Path("/m/base-1"), FAMILIES["chatml_hermes"], {"adapter-a": Path("/a")}, 1024, 8, 16)
TWO = ServerSpec(Path("/m/base-1"), FAMILIES["chatml_hermes"], {"adapter-b": Path("/b")}, 4096, 4, 32)


def test_adapters_are_joined_and_limits_are_the_larger():
    found = together({"one": ONE, "two": TWO})
    assert found.adapters == {**ONE.adapters, **TWO.adapters}
    assert (found.max_model_len, found.max_num_seqs, found.max_lora_rank) == (4096, 8, 32)
    assert together({"one": ONE}) == ONE


def test_a_workflow_without_an_adapter_adds_no_rank():
    found = together({"one": ONE, "plain": replace(TWO, adapters={})})
    assert found.max_lora_rank == 16 and list(found.adapters) == ["adapter-a"]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"model": Path("/m/base-2")}, "base model"),
        ({"family": FAMILIES["mistral"]}, "model family"),
        ({"template": Path("/t")}, "template"),
        ({"quantization": "fp8"}, "quantisation"),
        ({"constrained": True}, "constrained decoding"),
        ({"python": Path("/p")}, "environment"),
    ],
)
def test_what_decides_answers_is_not_shared(change: dict[str, object], what: str):
    with pytest.raises(FlywheelError, match=f"one and two cannot share a server: their {what} differs") as caught:
        together({"one": ONE, "two": replace(TWO, **change)})  # type: ignore[arg-type]
    assert caught.value.remedy
