"""A pack of one's own to write cases into."""

import json
import shutil
from pathlib import Path

import pytest

from flywheel.workflows.loader import load_pack
from flywheel.workflows.pack import Pack
from flywheel_tests.conftest import SUPPORT_DESK


@pytest.fixture
def mine(tmp_path: Path) -> Pack:
    """The shipped pack with a benchmark of two cases, to be changed."""
    folder = tmp_path / "workflows" / "mine"
    shutil.copytree(SUPPORT_DESK, folder, ignore=shutil.ignore_patterns("benchmark"))
    (folder / "benchmark").mkdir()
    lines = (SUPPORT_DESK / "benchmark" / "tool_calling.jsonl").read_text().splitlines()
    kept = [line for line in lines if json.loads(line)["id"] in ("call-get-order-00", "call-cancel-order-00")]
    (folder / "benchmark" / "first.jsonl").write_text("\n".join(kept))
    return load_pack(folder)
