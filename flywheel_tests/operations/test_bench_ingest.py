"""The two sides of the ingest benchmark do the same work: they find the same failures and the same groups."""

from pathlib import Path

import pytest

from flywheel.operations.bench_ingest import Judge, cached_judge, naive_judge, plain_week, whole_week
from flywheel.operations.bench_traces import write_traces


@pytest.mark.parametrize(("judge", "count"), [(cached_judge(), 1_500), (naive_judge(), 40)])
def test_the_plain_loop_finds_what_the_week_finds(judge: Judge, count: int, tmp_path: Path):
    (tmp_path / "in").mkdir()
    write_traces(tmp_path / "in" / "traces.jsonl", count)
    ours = whole_week(tmp_path / "in", tmp_path / "ours", ())
    plain = plain_week(tmp_path / "in" / "traces.jsonl", tmp_path / "plain", count, judge)
    said = ["failure_id", "trace_id", "message_index", "bucket", "fault", "tool", "tags"]
    assert ours.failures.height > count / 10
    assert ours.failures.select(said).sort("failure_id").equals(plain.failures.select(said).sort("failure_id"))
    assert ours.groups.sort("trace_id").equals(plain.groups.sort("trace_id"))
