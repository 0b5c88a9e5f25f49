"""A folder comes to its place whole, over nothing or an empty folder, and never over something else."""

from pathlib import Path

import pytest

from flywheel.errors import FlywheelError
from flywheel.whole_folder import put_in_place


@pytest.mark.parametrize("empty", [True, False])
def test_a_finished_folder_is_moved_to_a_place_that_is_free(tmp_path: Path, empty: bool):
    partial, folder = _partial(tmp_path), tmp_path / "out"
    if empty:
        folder.mkdir()
    assert put_in_place(partial, folder, is_same=_not_asked, remedy="another")
    assert (folder / "file").read_text() == "new" and not partial.exists()


def test_the_same_stays_and_something_else_is_refused_with_the_remedy(tmp_path: Path):
    partial, folder = _partial(tmp_path), tmp_path / "out"
    folder.mkdir()
    (folder / "file").write_text("old")
    assert put_in_place(partial, folder, is_same=lambda: True, remedy="another") is False
    with pytest.raises(FlywheelError, match="holds something else") as told:
        put_in_place(partial, folder, is_same=lambda: False, remedy="another")
    assert told.value.remedy == "another" and told.value.where == str(folder)
    assert (folder / "file").read_text() == "old" and (partial / "file").read_text() == "new"


def _partial(tmp_path: Path) -> Path:
    (tmp_path / ".partial").mkdir()
    (tmp_path / ".partial" / "file").write_text("new")
    return tmp_path / ".partial"


def _not_asked() -> bool:
    raise AssertionError("asked of a folder in which nothing lies")
