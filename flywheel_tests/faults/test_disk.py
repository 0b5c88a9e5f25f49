"""A full disk and a lake that may not be written: the error says so, nothing half-written counts, and the same command goes on."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from flywheel_tests.faults.house import House

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]
WEEK = "2026-01-05"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own; only root may make one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"a file system of its own cannot be mounted here: {made.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=False)


def test_a_full_disk_is_named_and_the_same_command_goes_on_once_there_is_room(
    fresh: House, undisturbed: dict[str, str], disk: Path
):
    # The instance lies elsewhere: Dagster cannot start a run at all on a full disk.
    house, instance = fresh.copy(disk / "house"), str(fresh.home / "dagster")
    stop, told = disk / "everything", []
    for left in (0, 30_000, 100_000, 200_000):  # every time it gets a little further
        stop.unlink(missing_ok=True)
        stop.write_bytes(b"\0" * max(0, _free(disk) - left))
        told.append(_fails(house, "collect", DAGSTER_HOME=instance))
    wrong = [words[-600:] for words in told if "disk is full" not in words and "No space left" not in words]
    if wrong:
        pytest.fail(wrong[0])
    stop.unlink()
    house.run("collect", week=WEEK)
    assert house.hashes() == undisturbed


def test_a_read_only_lake_is_named_and_nothing_is_half_written(fresh: House, undisturbed: dict[str, str], disk: Path):
    house = fresh.copy(disk / "house")
    lake = house.home / "lake"
    subprocess.run(["mount", "--bind", lake, lake], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", lake], check=True)
    try:
        told = _fails(house, "collect")
    finally:
        subprocess.run(["umount", "--lazy", lake], check=True)
    assert "may not be written to" in told or "Read-only file system" in told, told
    house.run("collect", week=WEEK)
    assert house.hashes() == undisturbed


def _free(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def _fails(house: House, step: str, **environment: str) -> str:
    process = house.start(step, week=WEEK, **environment)
    assert process.stdout is not None
    process.stdout.read()
    assert process.wait(timeout=180) != 0
    return house.told()
