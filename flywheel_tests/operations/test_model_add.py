"""Model folders: what is whole comes into the cache with its family and licence, what is not is told what it lacks."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
from safetensors.numpy import save_file

from flywheel.chat import Renderer
from flywheel.errors import FlywheelError
from flywheel.operations.model_add import add_model, listed
from flywheel.operations.model_folder import check_folder
from flywheel.settings import Settings
from flywheel.workflows.base_model import check_weights, find_base_model
from flywheel_tests.conftest import SUPPORT_DESK

APACHE = "                                 Apache License\n                           Version 2.0, January 2004\n"


@pytest.fixture
def folder(tmp_path: Path, renderer_of: Callable[[str], Renderer]) -> Path:
    """A Llama of 12 numbers that knows ChatML."""
    made = tmp_path / "My Llama"
    made.mkdir()
    renderer = renderer_of("chatml_hermes")
    shutil.copyfile(renderer.tokenizer_file, made / "tokenizer.json")
    (made / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"]}))
    (made / "generation_config.json").write_text(json.dumps({"eos_token_id": renderer.encode("<|im_end|>")}))
    (made / "LICENSE").write_text(APACHE)
    save_file({"a": numpy.zeros((3, 4), numpy.float32)}, made / "model.safetensors")
    return made


def add(folder: Path, **options):
    return add_model(Settings(home=folder.parent / "home"), folder, read_back=False, **options)


def test_a_whole_folder_comes_into_the_cache_with_family_and_licence(folder: Path):
    (folder / "modeling_llama.py").write_text("raise SystemExit")
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    added = add(folder)
    settings = Settings(home=folder.parent / "home")
    found = find_base_model(settings.models(), "my-llama")
    assert found == added.base and added.family.name == "chatml_hermes"
    check_weights(found)
    assert sorted(file.name for file in found.folder.iterdir()) == [
        "LICENSE", "config.json", "generation_config.json", "manifest.json", "model.safetensors", "tokenizer.json",
    ]  # fmt: skip
    assert "12 parameters, LlamaForCausalLM; licence Apache-2.0 (LICENSE)" in added.said
    assert [line for line in added.said if line.startswith("left out")] == [
        "left out: pytorch_model.bin: pickled weights are never opened",
        "left out: modeling_llama.py: code of a model is never run",
    ]
    assert any("assistant turns come back out of their tokens" in line for line in added.said)
    assert add(folder).base == found  # again: nothing to do
    row = listed(settings, {"desk": "my-llama", "shop": "other"})[0]
    assert (row["family"], row["licence"], row["workflows"]) == ("chatml_hermes", "Apache-2.0", ["desk"])


def test_a_hub_snapshot_is_named_after_its_model_and_revision(folder: Path):
    snapshot = folder.parent / "models--Acme--Tiny-Llama" / "snapshots" / "0123abcd4567"
    shutil.copytree(folder, snapshot)
    added = add_model(Settings(home=folder.parent / "home"), snapshot, read_back=False)
    assert (added.base.name, added.base.source) == ("tiny-llama", "Acme/Tiny-Llama@0123abcd4567")


def rewrite(file: str, value: object) -> Callable[[Path], None]:
    return lambda folder: (folder / file).write_text(value if isinstance(value, str) else json.dumps(value)) and None


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def cut(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-8])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "tokenizer.json").unlink(), "no tokenizer.json"),
        (lambda folder: (folder / "LICENSE").unlink(), "no licence file"),
        (lambda folder: (folder / "config.json").unlink(), "no config.json"),
        (rewrite("config.json", "{"), "config.json cannot be read"),
        (rewrite("config.json", {}), "names no architecture"),
        (rewrite("config.json", {"architectures": ["BertForMaskedLM"]}), "no family is written for the architecture BertForMaskedLM"),
        (rewrite("config.json", {"architectures": ["MistralForCausalLM"]}), r"does not know <s>, .*\[INST\]"),
        (rewrite("generation_config.json", {"eos_token_id": 0}), r"would not stop My Llama at <\|im_end\|>"),
        (rewrite("model.safetensors.index.json", {"weight_map": {"a": "model-2.safetensors"}}), "weight files are missing: model-2"),
        (pickled, "the weights are .bin; only safetensors are opened"),
        (lambda folder: (folder / "model.safetensors").unlink(), "there are no weights"),
        (cut, "damaged or not whole"),
    ],
)  # fmt: skip
def test_a_folder_that_lacks_something_is_told_what_and_nothing_is_kept(
    folder: Path, spoil: Callable[[Path], None], said: str
):
    spoil(folder)
    with pytest.raises(FlywheelError, match=said) as caught:
        add(folder)
    assert caught.value.remedy and not list((folder.parent / "home").glob("models/*"))


def test_a_licence_is_taken_from_the_card_or_from_a_person(folder: Path):
    (folder / "LICENSE").unlink()
    assert check_folder(folder, "MIT").licence == ("MIT", None, None)
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A model\n")
    assert check_folder(folder).licence == ("apache-2.0", "README.md", None)


def test_two_models_of_one_name_are_not_kept(folder: Path):
    add(folder)
    save_file({"a": numpy.ones((3, 4), numpy.float32)}, folder / "model.safetensors")
    with pytest.raises(FlywheelError, match="another model is called my-llama"):
        add(folder)
    assert add(folder, name="my-llama-2").base.name == "my-llama-2"


@pytest.mark.slow
def test_a_real_tiny_model_is_added_and_vllms_parser_reads_its_calls_back(tmp_path: Path):
    command = [
        sys.executable,
        "-m",
        "flywheel.training.base_model",
        "tiny-mistral",
        str(tmp_path / "made"),
        str(SUPPORT_DESK),
    ]
    subprocess.run(command, check=True, capture_output=True)
    made = find_base_model(tmp_path / "made", "tiny-mistral").folder
    added = add_model(Settings(home=tmp_path / "home"), made, name="our-mistral", licence="Apache-2.0")
    assert added.family.name == "mistral"
    assert any("parser mistral reads 6 back as written" in line for line in added.said)
