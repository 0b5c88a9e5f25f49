"""Run a job, or one stage of it, for one week in this process, on the Dagster instance the UI reads."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.utils import make_new_run_id

from flywheel.errors import FlywheelError
from flywheel.operations.abandoned import at_work, end_abandoned
from flywheel.operations.failures import failed_steps
from flywheel.operations.screen import Screen, foreign
from flywheel.partitions import checked_week, partition_key, week_by_workflow

# What the project's own folder holds as dagster.yaml and workspace.yaml, for a folder that holds nothing yet.
LAPTOP = Path(__file__).parent / "laptop"
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def lay_out_instance() -> list[str]:
    """Make the working folder one that Dagster keeps its runs in, where no DAGSTER_HOME is set and it is none yet; returns what was made."""
    here = Path.cwd()
    if os.environ.get("DAGSTER_HOME") or (here / "dagster.yaml").exists() or not os.access(here, os.W_OK):
        return []
    missing = [file for file in sorted(LAPTOP.iterdir()) if not (here / file.name).exists()]
    for file in missing:
        shutil.copyfile(file, here / file.name)
    return [file.name for file in missing]


def instance() -> dg.DagsterInstance:
    """The instance of DAGSTER_HOME, else of the working folder's dagster.yaml; made when it does not exist yet."""
    os.environ.setdefault("DAGSTER_HOME", str(Path.cwd()))
    if not (Path(os.environ["DAGSTER_HOME"]) / "dagster.yaml").is_file():
        raise FlywheelError("there is no dagster.yaml", where=os.environ["DAGSTER_HOME"],
                            remedy="run it in the folder where you ran `flywheel init`, or set DAGSTER_HOME to the folder that has one")  # fmt: skip
    return dg.DagsterInstance.get()


@contextmanager
def known_instance() -> Iterator[dg.DagsterInstance | None]:
    """The instance for a command that only looks: None where there is none, and none is made."""
    folder = Path(os.environ.get("DAGSTER_HOME") or Path.cwd())
    if not (folder / "dagster.yaml").is_file():
        yield None
        return
    with instance() as on:
        yield on


def run_job(
    name: str, *, workflow: str, week: str | None, on: dg.DagsterInstance, screen: Screen | None = None,
    stages: list[str] | None = None,
) -> str:  # fmt: skip
    """Run a job for one partition, or only `stages` of it; returns the run id.

    Raises FlywheelError with the failed stage's own words when a stage or a blocking check fails.
    """
    from flywheel.definitions import defs

    if week is not None:
        checked_week(week)
        key: Any = partition_key(week, workflow)
        if not week_by_workflow.has_partition_key(key):
            raise FlywheelError(f"there is no partition for week {week} of {workflow}", where="flywheel/partitions.py",
                                remedy="a week can be run once it has ended, from FLYWHEEL_FIRST_WEEK on")  # fmt: skip
    else:
        key = workflow
    job = defs.resolve_job_def(name)
    run_id = make_new_run_id()
    follow = _Follower(on, run_id, screen)
    arguments: dict[str, Any] = {
        "instance": on,
        "partition_key": key,
        "run_id": run_id,
        "raise_on_error": False,
        "run_config": _QUIET,
    }
    if stages:
        graph = job.asset_layer.asset_graph
        # What one function writes can only be made together: both datasets, whichever of them is named.
        together = [graph.get(dg.AssetKey(stage)).execution_set_asset_keys for stage in stages]
        arguments["asset_selection"] = sorted(set().union(*together))
    for gone in end_abandoned(on):
        if screen is not None:
            screen.say(f"run {gone[:8]} was killed before it ended: marked as failed, what it held is free again")
    watched = screen.working(name, follow.poll) if screen is not None else nullcontext()
    with at_work(on, run_id), watched:
        result = job.execute_in_process(**arguments)
    if not result.success:
        raise _failed(on, run_id, name, screen)
    return run_id


class _Follower:
    """Prints a line for every stage a run finished, while it runs."""

    def __init__(self, on: dg.DagsterInstance, run_id: str, screen: Screen | None) -> None:
        self.on, self.run_id, self.screen = on, run_id, screen
        self.seen = 0

    def poll(self) -> None:
        if self.screen is None or not self.on.has_run(self.run_id):
            return
        entries = self.on.all_logs(self.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
        for entry in entries[self.seen :]:
            event = entry.get_dagster_event()
            found = event.step_materialization_data.materialization
            self.screen.say(_line(event.asset_key.to_user_string() if event.asset_key else "", found.metadata))
        self.seen = len(entries)


def _line(name: str, metadata: Any) -> str:
    values = {key: getattr(value, "value", value) for key, value in metadata.items()}
    rows = values.get("dagster/partition_row_count")
    note = "unchanged, no work" if values.get("unchanged") else values.get("verdict") or values.get("note") or ""
    counted = f"{rows:>6} rows" if rows is not None else " " * 11
    seconds = f"{values['seconds']:>7.1f} s" if "seconds" in values else " " * 9
    said = foreign(str(note))
    return f"  {name:<22}{counted} {seconds}  {said if len(said) <= 100 else said[:99] + '…'}"


def _failed(on: dg.DagsterInstance, run_id: str, job: str, screen: Screen | None) -> FlywheelError:
    for told in failed_steps(on, run_id):
        where = f"stage {told.stage}, run {run_id}"
        if told.remedy:
            return FlywheelError(told.cause, where=where, remedy=told.remedy)
        log = f", or {screen.log}" if screen else ""
        return FlywheelError(
            told.cause, where=where, remedy=f"see the run in `make ui`{log}; then rematerialize that stage"
        )
    return FlywheelError(f"{job} failed", where=f"run {run_id}", remedy="see the run in `make ui`")
