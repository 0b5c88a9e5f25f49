"""Slow: the lake in a bucket of a real S3 server (moto's, on loopback): weeks, writers at once, erasure, and stores that fail."""

import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import dagster as dg
import httpx
import polars as pl
import pytest
from deltalake.exceptions import CommitFailedError

from flywheel.errors import FlywheelError, Interrupted
from flywheel.lake import Lake
from flywheel.lake.conform import declared_rows
from flywheel.lake.place import as_folder, check_bucket, is_remote, open_table
from flywheel.lake.scrub import scrub
from flywheel.operations.launch import run_job
from flywheel.privacy.erasure import search
from flywheel_tests.traces.test_inbox import line

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
WEEK = "2026-03-02"


class Server:
    """A server, and the environment under which everything reaches it."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "flywheel_tests.s3_server", *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self.process.stdout.readline())}"
        self.environment = {"AWS_ENDPOINT_URL": self.url, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1",
                            "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}  # fmt: skip

    def bucket(self) -> str:
        name = f"lake-{uuid4().hex[:8]}"
        assert httpx.put(f"{self.url}/{name}", timeout=120).status_code == 200
        return f"s3://{name}/flywheel"

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    pytest.importorskip("moto", reason="pip install 'moto[s3]' flask flask-cors")
    started = Server()
    yield started
    started.stop()


@pytest.fixture
def root(server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return server.bucket()


def report(path: str) -> dict:
    return {"week_of": WEEK, "path": path, "html_sha256": "x", "learn_ran": True, "note": ""}


def tombstone(number: int) -> dict:
    return {"tombstone_id": f"t{number}", "content_sha256": "x", "version_before": "a", "version_after": "b", "reason": "r",
            "erased_at": None}  # fmt: skip


def content(lake: Lake) -> dict[str, str]:
    known = lake.all_lineage(workflow="door").filter(pl.col("week").is_in([WEEK, "-"]))
    return dict(known.select("table_name", "content_sha256").sort("table_name").rows())


def test_a_collected_week_is_the_same_in_a_bucket_and_in_a_folder_and_twice_is_once(
    root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    home = Path(os.environ["FLYWHEEL_HOME"])
    (home / "inbox" / "door").mkdir(parents=True, exist_ok=True)
    lines = [line(f"bucket-{n}", started_at="2026-03-03T10:00:00Z") for n in range(40)]
    file = home / "inbox" / "door" / "bucket.jsonl"
    file.write_text("\n".join(json.dumps(text) for text in lines) + "\n{broken\n")
    (tmp_path / "dagster").mkdir()
    instance = dg.DagsterInstance.local_temp(str(tmp_path / "dagster"), overrides={"telemetry": {"enabled": False}})
    monkeypatch.setenv("FLYWHEEL_LAKE", root)
    try:
        run_job("collect", workflow="door", week=WEEK, on=instance)
        lake = Lake(root)
        assert is_remote(lake.root)
        assert lake.read_partition("production_traces", workflow="door", week=WEEK).height == 40
        assert lake.read_partition("quarantined_records", workflow="door", week=WEEK).height == 1
        first, version = content(lake), lake.version("production_traces")
        run_job("collect", workflow="door", week=WEEK, on=instance)
        assert (content(lake), Lake(root).version("production_traces")) == (first, version), "no work the second time"
        shards = [
            frame.height
            for frame in lake.batches("production_traces", workflow="door", week=WEEK, columns=["trace_id"], rows=7)
        ]
        assert sum(shards) == 40 and max(shards) <= 7
        assert not list((home / "staging").glob("*")), "staged files were moved into the bucket"
        monkeypatch.setenv("FLYWHEEL_LAKE", str(tmp_path / "folder"))
        run_job("collect", workflow="door", week=WEEK, on=instance)
        page = {"weekly_report"}  # says when it was written
        in_folder = content(Lake(tmp_path / "folder"))
        assert len(in_folder) >= 8
        assert {t: first[t] for t in in_folder if t not in page} == {
            t: in_folder[t] for t in in_folder if t not in page
        }
    finally:
        file.unlink()


def test_rows_made_from_an_older_version_are_not_written_over_newer_ones(root: str):
    one, other = Lake(root), Lake(root)
    seen = one.replace_partition("weekly_report", [report("a")], workflow="desk", week=WEEK)
    other.replace_partition("weekly_report", [report("b")], workflow="desk", week=WEEK)
    with pytest.raises(CommitFailedError):
        one.replace_partition("weekly_report", [report("c")], workflow="desk", week=WEEK, onto=seen)
    assert one.read_partition("weekly_report", workflow="desk", week=WEEK)["path"].to_list() == ["b"]
    one.replace_partition("weekly_report", [report("d")], workflow="desk", week=WEEK)
    assert other.read_partition("weekly_report", workflow="desk", week=WEEK)["path"].to_list() == ["d"], "last one wins"
    assert one.read_partition("weekly_report", workflow="desk", week=WEEK, version=seen)["path"].to_list() == ["a"]


def _append(root: str, writer: int) -> int:
    lake = Lake(root)
    return sum(lake.append_new("benchmark_tombstones", [tombstone(10 * writer + n)], workflow="desk") for n in range(3))


def test_three_writers_at_once_lose_no_row(root: str):
    Lake(root).append_new("benchmark_tombstones", [tombstone(999)], workflow="desk")
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        added = pool.starmap(_append, [(root, writer) for writer in range(3)])
    assert added == [3, 3, 3]
    rows = Lake(root).read_weeks("benchmark_tombstones", workflow="desk")
    assert set(rows["tombstone_id"]) == {"t999", *(f"t{10 * w + n}" for w in range(3) for n in range(3))}
    assert rows.height == 10


def test_what_was_scrubbed_is_in_no_object(root: str):
    lake = Lake(root)
    lake.replace_partition("weekly_report", [report("secret-name")], workflow="desk", week=WEEK)
    version = lake.replace_partition("weekly_report", [report("other")], workflow="desk", week=WEEK)
    with as_folder(root) as folder:
        hits, _ = search([folder], ["secret-name"])
        assert len(hits) >= 1, "the old version's file holds it"
    assert scrub(lake.uri("weekly_report")) >= 2
    with as_folder(root) as folder:
        hits, searched = search([folder], ["secret-name"])
        assert not hits and searched >= 3
    assert Lake(root).read_partition("weekly_report", workflow="desk", week=WEEK)["path"].to_list() == ["other"]
    assert lake.read_partition("weekly_report", workflow="desk", week=WEEK)["path"].to_list() == ["other"]
    assert lake.replace_partition("weekly_report", [report("x")], workflow="desk", week=WEEK) > version


def test_a_store_that_refuses_or_is_gone_is_said_so(root: str, monkeypatch: pytest.MonkeyPatch):
    assert "refuses a second put" in check_bucket(root)
    with pytest.raises(FlywheelError, match="see that the bucket exists") as refused:
        Lake("s3://nobody-made-it/x").version("weekly_report")
    assert not isinstance(refused.value, Interrupted)
    with pytest.raises(FlywheelError, match="see that the bucket exists"):
        check_bucket("s3://nobody-made-it/x")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(Interrupted, match="after .* retries"):
        Lake(root).version("weekly_report")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "false")
    with pytest.raises(FlywheelError, match="scheme is not allowed"):
        Lake(root).version("weekly_report")


def test_a_store_that_goes_away_under_an_opened_table_is_said_so(monkeypatch: pytest.MonkeyPatch):
    gone = Server()
    try:
        for name, value in gone.environment.items():
            monkeypatch.setenv(name, value)
        lake = Lake(gone.bucket())
        lake.replace_partition("weekly_report", [report("a")], workflow="desk", week=WEEK)
        opened = open_table(lake.uri("weekly_report"))
    finally:
        gone.stop()
    with pytest.raises(Interrupted, match="see that the bucket exists"):
        declared_rows(pl.scan_delta(opened), {"path": pl.String}, lake.root)
    with pytest.raises(Interrupted, match="see that the bucket exists"):
        lake.read_partition("weekly_report", workflow="desk", week=WEEK)


def test_a_store_without_conditional_puts_is_found_out(monkeypatch: pytest.MonkeyPatch):
    blind = Server("--blind")
    try:
        for name, value in blind.environment.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(FlywheelError, match="commits would be lost"):
            check_bucket(blind.bucket())
    finally:
        blind.stop()
