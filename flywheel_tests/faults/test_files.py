"""Files of the lake that are broken or gone: the error names them, and the stage that wrote them writes them anew."""

from collections.abc import Callable
from pathlib import Path

import pytest

from flywheel_tests.faults.house import House

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]
WEEK = "2026-01-05"


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> House:
    house = House.build(tmp_path_factory.mktemp("collected") / "house")
    for step in ("freeze", "traffic", "collect"):
        house.run(step, week=WEEK)
    return house


def _remove(file: Path) -> None:
    file.unlink()


def _break_the_footer(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-20:] = b"x" * 20
    file.write_bytes(content)


def _cut_in_half(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@pytest.mark.parametrize("damage", [_remove, _break_the_footer, _cut_in_half])
@pytest.mark.parametrize("table", ["production_failures", "failure_clusters"])
def test_a_damaged_file_is_named_and_its_stage_writes_it_anew(
    collected: House, damage: Callable[[Path], None], table: str, tmp_path: Path
):
    house = collected.copy(tmp_path / "house")
    for file in (house.home / "lake" / table).rglob("*.parquet"):
        damage(file)
    if table == "production_failures":
        _fails(house, "correction_batch", f"table {table} cannot be read", "run the stage that writes it again")
    house.run("production_failures", week=WEEK)
    house.run("correction_batch", week=WEEK)
    assert house.hashes() == collected.hashes()


def test_a_broken_log_asks_for_the_backup(collected: House, tmp_path: Path):
    house = collected.copy(tmp_path / "house")
    log = sorted((house.home / "lake" / "production_failures" / "_delta_log").glob("*.json"))[-1]
    whole = log.read_text(encoding="utf-8")
    log.write_text(whole[: len(whole) // 2], encoding="utf-8")
    _fails(house, "correction_batch", "table production_failures cannot be read", "from a backup")
    log.write_text(whole, encoding="utf-8")
    house.run("correction_batch", week=WEEK)
    assert house.hashes() == collected.hashes()


def _fails(house: House, step: str, *said: str) -> None:
    process = house.start(step, week=WEEK)
    assert process.stdout is not None
    process.stdout.read()
    assert process.wait(timeout=120) != 0
    told = house.told()
    assert all(words in told for words in said), told
