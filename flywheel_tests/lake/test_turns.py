"""Writers at once: each gets its turn, and one that never does is told so."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from deltalake.exceptions import CommitFailedError

from flywheel.errors import Interrupted
from flywheel.lake import Lake, store, turns

ROW = {"content_sha256": "x", "version_before": "a", "version_after": "b", "reason": "r", "erased_at": None}


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that were waited, without waiting them."""
    slept: list[float] = []
    monkeypatch.setattr(turns.time, "sleep", slept.append)
    return slept


def always_overtaken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    tried: list[int] = []

    def write(*_: object, **__: object) -> None:
        tried.append(1)
        raise CommitFailedError("another write won")

    monkeypatch.setattr(store, "write_deltalake", write)
    return tried


def test_pauses_are_random_and_their_bound_doubles_up_to_the_longest(pauses: list[float]):
    for _ in range(300):
        assert list(turns.tries()) == list(range(12))
    bounds = [0.1, 0.2, 0.4, 0.8, 1.6, *[2.0] * 6]
    by_place = [pauses[place :: len(bounds)] for place in range(len(bounds))]
    for bound, seen in zip(bounds, by_place, strict=True):
        assert 0 <= min(seen) < bound / 4
        assert bound * 3 / 4 < max(seen) <= bound


@pytest.mark.usefixtures("pauses")
def test_a_writer_that_is_overtaken_every_time_is_told_what_to_do(lake: Lake, monkeypatch: pytest.MonkeyPatch):
    lake.append_new("benchmark_tombstones", [{"tombstone_id": "t0", **ROW}], workflow="desk")
    tried = always_overtaken(monkeypatch)
    with pytest.raises(Interrupted, match="12 times in a row") as told:
        lake.append_new("benchmark_tombstones", [{"tombstone_id": "t1", **ROW}], workflow="desk")
    assert "run the same command again" in told.value.remedy
    assert len(tried) == 12
    rows = lake.read_weeks("benchmark_tombstones", workflow="desk")
    assert rows["tombstone_id"].to_list() == ["t0"]


@pytest.mark.usefixtures("pauses")
def test_rows_made_from_one_version_are_not_tried_again(lake: Lake, monkeypatch: pytest.MonkeyPatch):
    row = {"week_of": "2026-01-05", "path": "a", "html_sha256": "x", "learn_ran": True, "note": ""}
    seen = lake.replace_partition("weekly_report", [row], workflow="desk", week="2026-01-05")
    tried = always_overtaken(monkeypatch)
    with pytest.raises(CommitFailedError):
        lake.replace_partition("weekly_report", [row], workflow="desk", week="2026-01-05", onto=seen)
    assert len(tried) == 1


def test_six_writers_at_once_lose_no_row(lake: Lake):
    lake.append_new("benchmark_tombstones", [{"tombstone_id": "first", **ROW}], workflow="desk")

    def append(writer: int) -> int:
        own = Lake(lake.root)
        rows = [{"tombstone_id": f"{writer}-{n}", **ROW} for n in range(3)]
        return sum(own.append_new("benchmark_tombstones", [row], workflow="desk") for row in rows)

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(append, range(6))) == [3] * 6
    rows = lake.read_weeks("benchmark_tombstones", workflow="desk")
    assert sorted(rows["tombstone_id"]) == sorted(["first", *(f"{w}-{n}" for w in range(6) for n in range(3))])
