"""A pack to start from is made whole or not at all, and what lay in its folder before stays."""

import errno
import json
from pathlib import Path
from typing import Any

import pytest

from flywheel.errors import FlywheelError
from flywheel.workflows.loader import load_pack
from flywheel.workflows.starter import make_pack


def tools_file(folder: Path, parameters: dict[str, Any]) -> Path:
    file = folder / "tools.json"
    file.write_text(json.dumps([{"type": "function", "function": {"name": "get_order", "parameters": parameters}}]))
    return file


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return tools_file(tmp_path, {"type": "object", "properties": {}})


def below(folder: Path) -> dict[str, str | None]:
    return {str(path.relative_to(folder)): path.read_text() if path.is_file() else None for path in folder.rglob("*")}


def test_tools_that_cannot_be_leave_no_pack_and_the_error_names_the_persons_own_file(tmp_path: Path):
    target = tmp_path / "home" / "workflows" / "shop"
    with pytest.raises(FlywheelError, match="no pack was made: tool 'get_order'") as caught:
        make_pack(target, tools_file=tools_file(tmp_path, {"type": "objekt"}), system_file=None)
    assert str(target) not in str(caught.value) and "the file you give as --tools" in caught.value.remedy
    assert not (tmp_path / "home").exists()
    make_pack(target, tools_file=tools_file(tmp_path, {"type": "object"}), system_file=None)
    assert load_pack(target).name == "shop"


def test_what_lay_in_the_folder_before_is_kept(tmp_path: Path):
    target = tmp_path / "workflows" / "shop"
    (target / "benchmark").mkdir(parents=True)
    (target / "benchmark" / "mine.jsonl").write_text("{}")
    (target / "guidelines.md").write_text("What we follow.")
    (target / "notes.txt").write_text("to do")
    before = below(target)
    with pytest.raises(FlywheelError, match="no pack was made"):
        make_pack(target, tools_file=tools_file(tmp_path, {"type": "objekt"}), system_file=None)
    assert below(target) == before


def test_a_fault_that_lies_in_the_folder_already_is_named_where_it_lies(tmp_path: Path, good: Path):
    target = tmp_path / "shop"
    (target / "responses").mkdir(parents=True)
    (target / "responses" / "order.json").write_text("{}")
    with pytest.raises(FlywheelError, match="does not say when order applies") as caught:
        make_pack(target, tools_file=good, system_file=None)
    assert caught.value.where == str(target / "responses" / "order.json")
    assert set(below(target)) == {"responses", "responses/order.json"}


def test_a_disk_that_is_full_leaves_no_half_of_a_pack(tmp_path: Path, good: Path, monkeypatch: pytest.MonkeyPatch):
    write = Path.write_text

    def full(path: Path, *given: Any, **named: Any) -> int:
        if path.name == "guidelines.md":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return write(path, *given, **named)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", full)
        with pytest.raises(OSError, match="No space left"):
            make_pack(tmp_path / "shop", tools_file=good, system_file=None)
    assert not (tmp_path / "shop").exists()
    make_pack(tmp_path / "shop", tools_file=good, system_file=None)


def test_a_pack_that_is_there_is_refused_and_not_touched(tmp_path: Path, good: Path):
    make_pack(tmp_path / "shop", tools_file=good, system_file=None)
    (tmp_path / "shop" / "system.md").write_text("Ours.")
    before = below(tmp_path / "shop")
    with pytest.raises(FlywheelError, match="is there already"):
        make_pack(tmp_path / "shop", tools_file=good, system_file=None)
    assert below(tmp_path / "shop") == before
