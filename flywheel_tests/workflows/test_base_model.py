"""Base models in the cache: changed weights and two of one name are said, never picked silently."""

import hashlib
from pathlib import Path

import pytest

from flywheel.errors import FlywheelError
from flywheel.workflows.base_model import check_weights, find_base_model, write_manifest


def make(cache: Path, content: bytes) -> Path:
    sha256 = hashlib.sha256(content).hexdigest()
    folder = cache / f"tiny-random-{sha256[:12]}"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(content)
    write_manifest(folder, sha256=sha256, source="a test")
    return folder


def test_weights_that_changed_since_the_model_was_made_are_refused(tmp_path: Path):
    folder = make(tmp_path, b"weights")
    check_weights(find_base_model(tmp_path, "tiny-random"))
    (folder / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(FlywheelError, match="weights of base model tiny-random were changed") as caught:
        check_weights(find_base_model(tmp_path, "tiny-random"))
    assert "flywheel model add" in caught.value.remedy


def test_two_base_models_of_one_name_are_not_chosen_between(tmp_path: Path):
    make(tmp_path, b"one")
    make(tmp_path, b"two")
    with pytest.raises(FlywheelError, match="2 different base models named tiny-random"):
        find_base_model(tmp_path, "tiny-random")
