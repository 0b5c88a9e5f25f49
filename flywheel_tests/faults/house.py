"""A house that can be copied, killed and compared: its folder, its processes, and the hashes of what is in it."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import polars as pl

from flywheel.lake import TABLES, Lake
from flywheel.lake.content import content_sha256
from flywheel.privacy.vault import Vault
from flywheel_tests.packs import door_simulation
from flywheel_tests.stand_ins.base_model import make_base_model

ROOT = Path(__file__).parents[2]
# What a clock, a run id or a Delta version makes differ between two runs of the same work.
MEASURED = {
    "seconds", "step_seconds", "log", "written_at", "run_id", "version", "inputs", "decided_at", "created_at", "received_at",
    "html_sha256",
}  # fmt: skip
# Of the evaluation's rows also when a case was asked, and with it the hash that guards the row.
MEASURED_THERE = {"eval_results": {"started_at", "row_sha256"}}
# A killed run must not leave the pool of the heavy stages taken.
DAGSTER = "telemetry: {enabled: false}\nnux: {enabled: false}\nconcurrency: {pools: {default_limit: 1}}\n"


class House:
    """One FLYWHEEL_HOME with the `door` pack under each of the names, a stand-in base model and a Dagster instance of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home

    @classmethod
    def build(cls, home: Path, workflows: tuple[str, ...] = ("door",)) -> "House":
        """A new one."""
        for name in workflows:
            shutil.copytree(
                door_simulation.FOLDER, home / "workflows" / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        make_base_model(home / "models", door_simulation.FOLDER)
        Vault(home / "vault")  # its key makes the pseudonyms: copies of a house must share it
        (home / "dagster").mkdir()
        (home / "dagster" / "dagster.yaml").write_text(DAGSTER, encoding="utf-8")
        return cls(home)

    def copy(self, home: Path) -> "House":
        """The same house elsewhere, as a backup would restore it."""
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(self.home, home)
        return House(home)

    def environment(self, **more: str) -> dict[str, str]:
        """What a process of this house needs."""
        return {
            **os.environ, "FLYWHEEL_HOME": str(self.home), "DAGSTER_HOME": str(self.home / "dagster"), "PYTHONPATH": str(ROOT),
            "FLYWHEEL_RETRY_SECONDS": "0.1", "POLARS_MAX_THREADS": "1", **more,
        }  # fmt: skip

    def start(self, step: str, *, week: str, workflow: str = "door", **environment: str) -> subprocess.Popen[bytes]:
        """A step in a process of its own; `began` is its first line of output."""
        command = [sys.executable, "-m", "flywheel_tests.faults.step", workflow, week, step]
        log = (self.home / "step.log").open("ab")
        return subprocess.Popen(
            command, env=self.environment(**environment), cwd=ROOT, stdout=subprocess.PIPE, stderr=log,
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    def run(self, step: str, *, week: str, workflow: str = "door", **environment: str) -> float:
        """A step to its end; the seconds it took after its imports. Fails with the end of its log."""
        process = self.start(step, week=week, workflow=workflow, **environment)
        assert process.stdout is not None
        process.stdout.readline()
        started = time.monotonic()
        code = process.wait(timeout=900)
        assert code == 0, f"{step} of {week}: exit code {code}\n{self.told()}"
        return time.monotonic() - started

    def told(self) -> str:
        """The end of what its steps wrote to standard error."""
        return (self.home / "step.log").read_text(encoding="utf-8", errors="replace")[-2500:]

    def lake(self) -> Lake:
        """Its tables."""
        return Lake(self.home / "lake")

    def hashes(self, workflow: str = "door") -> dict[str, str]:
        """Table and week -> hash of the rows without what was measured; the lineage's own table apart."""
        lake, found = self.lake(), {}
        for name in sorted(set(TABLES) - {"lineage"}):
            rows = comparable(lake.read_weeks(name, workflow=workflow), MEASURED_THERE.get(name, set())).with_columns(
                # Where the house lay when it was written: a copy lies elsewhere.
                pl.col(pl.String).str.replace_all(r'"/[^"\s]*/', '"')
            )
            if not rows.height:
                continue
            if "week" not in rows.columns:
                found[name] = content_sha256(rows)
                continue
            for (week,), part in rows.group_by("week"):
                found[f"{name}/{week}"] = content_sha256(part)
        return dict(sorted(found.items()))

    def processes(self) -> list[int]:
        """Processes that work for this house, by the environment they were started with."""
        mark, found = f"FLYWHEEL_HOME={self.home}".encode(), []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (folder / "environ").read_bytes().split(b"\0") and "Z" not in _state(folder):
                    found.append(int(folder.name))
            except OSError:
                continue
        return found

    def orphans(self, seconds: float = 20) -> list[str]:
        """Command lines of processes that are still there after `seconds`, when nothing should run."""
        deadline = time.monotonic() + seconds
        while (left := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return [" ".join(_command(process)) for process in left]


def comparable(rows: pl.DataFrame, measured: set[str] = frozenset()) -> pl.DataFrame:  # pyright: ignore[reportArgumentType]
    """Rows without measured columns; of the metrics those that are no times and no prices."""
    if "unit" in rows.columns:
        rows = rows.filter(pl.col("unit").is_in(["share", "tokens", "steps"]))
    return rows.drop([name for name in rows.columns if name in MEASURED | measured])


class Kill(NamedTuple):
    """One kill: of which process, how long after the step began, and whether the step was still at work."""

    victim: str
    after: float
    hit: bool


def kill_within(house: House, process: subprocess.Popen[bytes], seconds: float, rng: random.Random) -> Kill:
    """SIGKILL to the step or to one of its children, at a random moment of `seconds` after it began."""
    assert process.stdout is not None
    process.stdout.readline()
    delay = rng.uniform(0, seconds)
    try:
        process.wait(timeout=delay)
        return Kill("nobody", delay, False)
    except subprocess.TimeoutExpired:
        pass
    children = [other for other in house.processes() if other != process.pid]
    # The step itself half of the time, else whoever works for it.
    victim = rng.choice(children) if children and rng.random() < 0.5 else process.pid
    name = "step" if victim == process.pid else next(iter(_command(victim)[-1:]), "?")
    try:
        words = _command(victim)
        name = "step" if victim == process.pid else next((word for word in words if word.startswith("flywheel")), name)
        os.kill(victim, signal.SIGKILL)
    except ProcessLookupError:
        return Kill(name, delay, False)
    process.wait(timeout=900)
    return Kill(name, delay, True)


def _command(process: int) -> list[str]:
    try:
        return [part.decode() for part in Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0") if part]
    except OSError:
        return []


def _state(folder: Path) -> str:
    return (folder / "stat").read_text().rsplit(")", 1)[1].split()[0]


def mondays(count: int, first: str = "2026-01-05") -> Iterator[str]:
    """The first weeks there are partitions for."""
    from datetime import date, timedelta

    for number in range(count):
        yield (date.fromisoformat(first) + timedelta(weeks=number)).isoformat()
