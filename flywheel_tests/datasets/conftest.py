"""The datasets' tests work on the door pack: its tools are two lines, so hundreds of rows are tokenised in a second."""

from pathlib import Path

import pytest

from flywheel.workflows.loader import load_pack
from flywheel.workflows.pack import Pack


@pytest.fixture(scope="session")
def pack() -> Pack:
    """The door pack, with room for long prompts."""
    return load_pack(Path(__file__).parent.parent / "packs" / "door")
