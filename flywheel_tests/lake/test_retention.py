"""Old versions go, pinned ones stay readable whatever the log's age; a pruned week keeps its place and refuses to be made again."""

import os
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.defs.stage import Stage
from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel.lake.retention import (
    drop_old_versions,
    is_pruned,
    old_versions,
    partition_sizes,
    take_rows_away,
)
from flywheel_tests.promotion.house import blank

COMMITS = 23


def write(folder: Path, number: int, **options: object) -> None:
    """One commit over one of two weeks: `number` + 1 rows."""
    week = "ab"[number % 2]
    frame = pl.DataFrame({"week": [week] * (number + 1), "x": range(number + 1)})
    write_deltalake(str(folder), frame.to_arrow(), mode="overwrite", predicate=f"week = '{week}'", partition_by=["week"],
                    **options)  # type: ignore[arg-type]  # fmt: skip


def rows_at(version: int) -> int:
    """Rows of a version: its own week's and, after the first, the other's of the commit before."""
    return 2 * version + 1 if version else 1


def aged(folder: Path, days: int = 40) -> None:
    for path in (folder / "_delta_log").iterdir():
        moment = time.time() - days * 86_400
        os.utime(path, (moment, moment))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("delta") / "table"
    for number in range(COMMITS):
        options = {"configuration": {"delta.checkpointInterval": "10", "delta.enableExpiredLogCleanup": "false"}}
        write(folder, number, **({} if number else options))
    aged(folder)
    return folder


def copy(table: Path) -> Path:
    folder = table.with_name(f"copy-{time.monotonic_ns()}")
    shutil.copytree(table, folder)
    aged(folder)
    return folder


@given(pins=st.sets(st.integers(0, COMMITS - 1), max_size=4), young=st.integers(0, COMMITS))
@settings(max_examples=4)
def test_pinned_versions_and_the_newest_read_as_before(table: Path, pins: set[int], young: int):
    folder = copy(table)
    now = time.time()
    for path in (folder / "_delta_log").glob("*.json"):
        if int(path.name.split(".")[0]) >= young:
            os.utime(path, (now, now))
    planned = old_versions(folder, days=0, pins=pins)
    before = {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    done = drop_old_versions(folder, days=0, pins=pins)
    gone = {path for path in before if not path.exists()}
    assert gone == {*planned.data, *planned.log} and done.bytes == planned.bytes == sum(before[path] for path in gone)
    for version in (*pins, COMMITS - 1):
        assert pl.read_delta(str(folder), version=version).height == rows_at(version)
    assert pl.read_delta(str(folder)).height == rows_at(COMMITS - 1)
    write(folder, 40)
    again = old_versions(folder, days=0, pins=pins)
    replaced = 0 if COMMITS - 1 in pins else 1
    assert len(again.data) == replaced and again.pinned == sorted(pins)
    shutil.rmtree(folder)


def test_what_a_recent_version_needs_stays(table: Path):
    folder = copy(table)
    assert not old_versions(folder, days=7, pins=()).data, "all was replaced a moment ago"
    write(folder, 40)
    assert pl.read_delta(str(folder), version=COMMITS - 1).height == rows_at(COMMITS - 1)


def test_left_to_itself_delta_loses_a_pinned_version_with_its_log(tmp_path: Path):
    folder = tmp_path / "table"
    for number in range(12):
        write(folder, number, **({} if number else {"configuration": {"delta.checkpointInterval": "10"}}))
    aged(folder)
    for number in range(12, 24):
        write(folder, number)
    with pytest.raises(DeltaError):
        DeltaTable(str(folder)).vacuum(
            retention_hours=0, enforce_retention_duration=False, full=True, keep_versions=[5]
        )
    assert old_versions(folder, days=0, pins=[5]).pinned == [], "what is lost already does not keep the rest from going"
    drop_old_versions(folder, days=0, pins=[5])
    aged(folder)
    version = DeltaTable(str(folder)).version()
    rows = pl.read_delta(str(folder)).height
    for number in range(24, 48):
        write(folder, number)
    assert pl.read_delta(str(folder), version=version).height == rows, "from now on the log stays"


def test_a_pruned_week_says_what_it_was_and_is_not_made_again(lake: Lake):
    rows = [blank("production_traces", trace_id=name, shard=0) for name in ("made-a-case", "other")]
    for week in ("2026-01-05", "2026-01-12"):
        lake.replace_partition("production_traces", rows, workflow="door", week=week, fingerprint="f")
    before = lake.lineage("production_traces", workflow="door", week="2026-01-05")
    sizes = partition_sizes(lake).filter(table="production_traces", week="2026-01-05")
    assert sizes["rows"].to_list() == [2] and sizes["bytes"][0] > 0
    assert take_rows_away(lake, "production_traces", workflow="door", week="2026-01-05", but={"made-a-case"}) == 1
    after = lake.lineage("production_traces", workflow="door", week="2026-01-05")
    assert before and after and (after.content_sha256, after.rows, after.fingerprint) == (before.content_sha256, 2, "f")
    left = lake.read_partition("production_traces", workflow="door", week="2026-01-05")
    assert left["trace_id"].to_list() == ["made-a-case"]
    assert lake.read_partition("production_traces", workflow="door", week="2026-01-12").height == 2
    assert is_pruned(lake, "production_traces", workflow="door", week="2026-01-05")
    key = dg.MultiPartitionKey({"week": "2026-01-05", "workflow": "door"})
    context, house = SimpleNamespace(partition_key=key), SimpleNamespace(lake=lambda: lake)
    with pytest.raises(FlywheelError, match="taken away"):
        Stage.begin(context, house, "production_traces", "1")  # type: ignore[arg-type]
    stage = Stage.begin(context, house, "production_failures", "1")  # type: ignore[arg-type]
    for read in (stage.read, stage.note):
        with pytest.raises(FlywheelError, match="retention.traces_weeks"):
            read("production_traces")
    lake.replace_partition("production_traces", rows, workflow="door", week="2026-01-05")
    assert not is_pruned(lake, "production_traces", workflow="door", week="2026-01-05")
