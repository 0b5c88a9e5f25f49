"""What doctor says of a pack and its model family."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from flywheel.chat import Renderer
from flywheel.errors import FlywheelError
from flywheel.operations.family_checks import check_model_fits, check_served, check_template
from flywheel.settings import Settings
from flywheel.workflows.base_model import BaseModel, find_base_model
from flywheel.workflows.pack import Pack
from flywheel_tests.conftest import SUPPORT_DESK


def of_family(pack: Pack, family: str) -> Pack:
    return replace(pack, settings=pack.settings.model_copy(update={"model_family": family}))


@pytest.fixture
def base(tmp_path: Path, renderer_of: Callable[[str], Renderer]) -> BaseModel:
    """A folder with the tokenizer of a Gemma and the ends its publisher names."""
    renderer = renderer_of("gemma4")
    (tmp_path / "tokenizer.json").write_bytes(renderer.tokenizer_file.read_bytes())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<eos>"}))
    stops(tmp_path, [renderer.encode(token)[0] for token in ("<eos>", "<turn|>", "<|tool_response>")])
    return BaseModel("gemma", tmp_path, "", "")


def stops(folder: Path, ids: list[int]) -> None:
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": ids}))


def test_a_pack_that_fits_is_told_its_tools_and_where_the_family_ran(pack: Pack, base: BaseModel):
    said = check_template(of_family(pack, "gemma4"))
    assert f"{len(pack.tools)} tools shown" in said and "at full size: never" in said
    assert "stops at <turn|> and <|tool_response>" in check_model_fits(of_family(pack, "gemma4"), base)


def test_a_model_of_another_family_is_named_as_such(pack: Pack, base: BaseModel):
    with pytest.raises(FlywheelError, match=r"does not know <\|im_start\|>[\s\S]*set model_family"):
        check_model_fits(pack, base)


def test_a_server_that_would_not_stop_after_a_call_is_an_error(pack: Pack, base: BaseModel):
    stops(base.folder, json.loads((base.folder / "generation_config.json").read_text())["eos_token_id"][:2])
    with pytest.raises(FlywheelError, match=r"would not stop gemma at <\|tool_response>"):
        check_model_fits(of_family(pack, "gemma4"), base)


@pytest.mark.parametrize("nested", [False, True])
def test_a_model_whose_context_is_shorter_than_the_packs_prompts_is_an_error(pack: Pack, base: BaseModel, nested: bool):
    longest = pack.settings.max_model_len

    def takes(tokens: int) -> None:
        values = {"max_position_embeddings": tokens}
        (base.folder / "config.json").write_text(json.dumps({"text_config": values} if nested else values))

    takes(longest)
    assert "known" in check_model_fits(of_family(pack, "gemma4"), base)
    takes(longest - 1)
    with pytest.raises(
        FlywheelError, match=rf"takes {longest - 1:,} tokens[\s\S]*max_model_len is {longest:,}[\s\S]*longer context"
    ):
        check_model_fits(of_family(pack, "gemma4"), base)


def test_a_template_that_hides_a_tool_is_an_error(pack: Pack, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Renderer, "text", lambda *_, **__: "no tools here")
    with pytest.raises(FlywheelError, match="does not show the tools"):
        check_template(pack)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_served_model_reads_the_prompts_it_is_trained_on(pack: Pack, tmp_path: Path):
    command = [
        sys.executable,
        "-m",
        "flywheel.training.base_model",
        "tiny-phi-4-mini",
        str(tmp_path),
        str(SUPPORT_DESK),
    ]
    subprocess.run(command, check=True, capture_output=True)
    base = find_base_model(tmp_path, "tiny-phi-4-mini")
    assert "6 tokens of phi4_mini known" in check_model_fits(of_family(pack, "phi4_mini"), base)
    said = check_served(Settings(home=tmp_path), of_family(pack, "phi4_mini"), base)
    assert said == "6 prompts have the ids they are trained with, 6 assistant turns are read back as written"
