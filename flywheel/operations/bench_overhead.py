"""What orchestration costs: `python -m flywheel.operations.bench_overhead`; prints bench rows.

`overhead`: seconds of a week's two jobs that are not a stage's own work: loading the code location in two fresh processes, Dagster's
planning, events and checks. Measured on a lap (the shipped pack with a tiny model), because none of it depends on how long a stage
works; against 5 % of a week whose children work ten minutes. `unchanged_week`: a person rematerializes a whole week in which nothing
changed, both jobs, from the command line to its end.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from flywheel.errors import FlywheelError

WEEK, WORKFLOW = "2026-01-05", "support_desk"
TEN_MINUTES = 600.0
SHARE, UNCHANGED_SECONDS = 0.05, 15.0


def rows() -> list[dict[str, Any]]:
    """Both bench rows; turns a lap in a folder of its own first, about a minute and a half."""
    with tempfile.TemporaryDirectory(prefix="flywheel-bench-") as folder:
        environment = {**os.environ, "FLYWHEEL_HOME": folder}
        _flywheel(environment, "lap")
        home = Path(folder) / "lap"
        inside = environment | {
            "FLYWHEEL_HOME": str(home), "DAGSTER_HOME": str(home / "dagster"), "FLYWHEEL_BASE_MODEL": "tiny-random",
        }  # fmt: skip
        loading = _seconds(
            lambda: subprocess.run([sys.executable, "-c", "import flywheel.definitions"], check=True, env=inside)
        )
        jobs, stages = _jobs_and_stages(home / "dagster")
        again = [
            _seconds(lambda job=job: _flywheel(inside, "run", "--workflow", WORKFLOW, "--week", WEEK, "--stage", job))
            for job in ("collect", "learn")
        ]
    overhead = 2 * loading + jobs - stages
    return [
        _row("overhead", overhead, SHARE * TEN_MINUTES),
        _row("unchanged_week", sum(again), UNCHANGED_SECONDS),
    ]


def _row(name: str, seconds: float, limit: float) -> dict[str, Any]:
    """A row whose value must stay below its target."""
    return {"name": name, "value": seconds, "unit": "s", "baseline": None, "ratio": None, "target": limit, "ok": seconds < limit}  # fmt: skip


def _jobs_and_stages(instance: Path) -> tuple[float, float]:
    """Seconds of the newest `collect` and `learn`, and of the stages in them as each measured itself."""
    import dagster as dg

    jobs = stages = 0.0
    with dg.DagsterInstance.from_config(str(instance)) as on:
        for name in ("collect", "learn"):
            record = on.get_run_records(dg.RunsFilter(job_name=name), limit=1)[0]
            assert record.start_time is not None and record.end_time is not None
            jobs += record.end_time - record.start_time
            for entry in on.all_logs(record.dagster_run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION):
                found = entry.get_dagster_event().step_materialization_data.materialization.metadata.get("seconds")
                stages += float(found.value) if found is not None else 0.0  # pyright: ignore[reportArgumentType]
    return jobs, stages


def _flywheel(environment: dict[str, str], *arguments: str) -> None:
    command = [sys.executable, "-c", "from flywheel.cli import app; app()", *arguments]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise FlywheelError(f"flywheel {' '.join(arguments)} failed: {ended.stderr.strip()[-500:]}",
                            remedy="mend that first: the overhead is measured on a lap (make lap)")  # fmt: skip


def _seconds(work: Any) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


if __name__ == "__main__":
    print(json.dumps(rows()))
