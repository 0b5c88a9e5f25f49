"""Laying out a shipped pack: whole, once, and gone on with where it broke off."""

import shutil
from pathlib import Path

import pytest

from flywheel.demo.week import lay_out_pack
from flywheel.workflows.loader import load_pack
from flywheel_tests.packs import door_simulation

DOOR = door_simulation.FOLDER


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_copy_that_broke_off_is_no_pack_and_the_next_one_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
):
    left, copy2 = [after], shutil.copy2

    def full(*given, **named):
        if not left[0]:
            raise OSError(28, "No space left on device")
        left[0] -= 1
        return copy2(*given, **named)

    # shutil.copytree took copy2 as a default when it was defined.
    monkeypatch.setattr(shutil.copytree, "__defaults__", tuple(full if one is copy2 else one for one in shutil.copytree.__defaults__ or ()))  # fmt: skip
    target = tmp_path / "workflows" / "door"
    with pytest.raises(OSError):
        lay_out_pack(DOOR, target)
    assert not (target / "workflow.yaml").exists()
    left[0] = 1_000
    assert lay_out_pack(DOOR, target) and load_pack(target).name == "door"
    assert files(target) == {name: told for name, told in files(DOOR).items() if "__pycache__" not in name}
    assert not lay_out_pack(DOOR, target)
