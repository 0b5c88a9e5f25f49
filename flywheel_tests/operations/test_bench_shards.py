"""The `spawn_pool` row: measured only where both ways wrote the same tables, with one thread in each process."""

import pytest

from flywheel.errors import FlywheelError
from flywheel.operations import bench_shards


def test_a_process_with_all_cores_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("POLARS_MAX_THREADS", raising=False)
    with pytest.raises(FlywheelError, match="all cores"):
        bench_shards.measure(10)


@pytest.mark.slow
def test_the_row_rests_on_equal_tables(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("POLARS_MAX_THREADS", "1")
    seen = []
    content = bench_shards.content
    monkeypatch.setattr(bench_shards, "content", lambda lake: seen.append(content(lake)) or seen[-1])
    row = bench_shards.measure(600)
    assert row["name"] == "spawn_pool" and row["target"] == 1.5 and row["ratio"] > 0
    assert len(seen) == 2 and len(seen[0]) == 3 and seen[0] == seen[1]
    monkeypatch.setattr(bench_shards, "content", lambda lake: [str(len(seen.append([]) or seen))])
    with pytest.raises(FlywheelError, match="wrote other tables"):
        bench_shards.measure(20)
