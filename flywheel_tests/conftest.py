"""What most tests need: an empty house, the shipped pack, and a tokenizer small enough to train on the spot."""

import os
import shutil
import tempfile
from pathlib import Path

# Before anything of flywheel is imported: the code location reads once, at import, which packs there are.
HOME = Path(tempfile.mkdtemp(prefix="flywheel-tests-"))
os.environ["FLYWHEEL_HOME"] = str(HOME)
os.environ["HF_HUB_OFFLINE"] = "1"
for _variable in ("FLYWHEEL_BASE_MODEL", "FLYWHEEL_FIRST_WEEK", "FLYWHEEL_TIME_ZONE"):
    os.environ.pop(_variable, None)
shutil.copytree(Path(__file__).parent / "packs" / "door", HOME / "workflows" / "door")

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

import flywheel.demo
from flywheel.chat import Renderer
from flywheel.lake import Lake
from flywheel.workflows.loader import load_pack
from flywheel.workflows.pack import Pack

SUPPORT_DESK = Path(flywheel.demo.__file__).parent / "support_desk"


def pytest_unconfigure() -> None:
    """Leave nothing behind."""
    shutil.rmtree(HOME, ignore_errors=True)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


@pytest.fixture(scope="session")
def pack() -> Pack:
    return load_pack(SUPPORT_DESK)


@pytest.fixture(scope="session")
def renderer(tmp_path_factory: pytest.TempPathFactory) -> Renderer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train([str(SUPPORT_DESK / "tools.json")], trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False))  # fmt: skip
    file = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    tokenizer.save(str(file))
    return Renderer(file)
