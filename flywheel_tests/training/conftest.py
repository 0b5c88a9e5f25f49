"""The tiny base model, made once for the tests of training."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from flywheel_tests.conftest import SUPPORT_DESK

# Tiny models: a second thread gains nothing, and on a busy machine it is waited for.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_base_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two layers of seeded random weights in a folder."""
    cache = tmp_path_factory.mktemp("models")
    command = [sys.executable, "-m", "flywheel.training.base_model", "tiny-random", str(cache), str(SUPPORT_DESK)]
    made = subprocess.run(command, check=True, capture_output=True, text=True)
    return Path(made.stdout.strip().splitlines()[-1])
