"""A failed step and a crashed run are told by the stage that a person can run again."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

from flywheel.defs.stage import passed
from flywheel.errors import FlywheelError
from flywheel.jobs import JOBS, job_of
from flywheel.operations.failures import Told, failed_steps, stages_by_step
from flywheel.operations.week_table import failures_of
from flywheel.partitions import partition_key, week_by_workflow

WEEK = "2026-05-04"
RETRIES = {"telemetry": {"enabled": False}, "run_retries": {"enabled": True, "max_retries": 1, "retry_on_asset_or_op_failure": False}}  # fmt: skip
RUN_ID = "11111111-2222-4333-8444-555555555555"
ORIGIN = RemoteJobOrigin(RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("flywheel"), "__repository__"), "learn")
KILLED = """
import os, signal, sys
import dagster as dg
from flywheel_tests.operations.test_failures import learn

with dg.DagsterInstance.local_temp(sys.argv[1], overrides={"telemetry": {"enabled": False}}) as on:
    wrong = {"checkpoint": lambda: os.kill(os.getpid(), signal.SIGKILL)}
    learn(wrong).execute_in_process(instance=on, run_id=sys.argv[2], partition_key=sys.argv[3])
"""


def learn(wrong: dict) -> dg.JobDefinition:
    """A job whose steps are called as in defs/datasets.py. `wrong`: step -> what goes wrong there, called by the step; or a failed check."""

    @dg.multi_asset(
        specs=[dg.AssetSpec("sft_dataset"), dg.AssetSpec("preference_dataset")], partitions_def=week_by_workflow
    )
    def training_datasets() -> Iterator[dg.MaterializeResult]:
        wrong.get("training_datasets", lambda: None)()
        yield dg.MaterializeResult(asset_key="sft_dataset")
        yield dg.MaterializeResult(asset_key="preference_dataset")

    @dg.multi_asset_check(
        specs=[dg.AssetCheckSpec("no_benchmark_leak", asset=name, blocking=True, partitions_def=week_by_workflow)
               for name in ("sft_dataset", "preference_dataset")]
    )  # fmt: skip
    def no_benchmark_leak() -> Iterator[dg.AssetCheckResult]:
        for name in ("sft_dataset", "preference_dataset"):
            result = passed(wrong.get("no_benchmark_leak") != name, f"rows of {name} touch the benchmark")
            yield result._replace(asset_key=dg.AssetKey(name), check_name="no_benchmark_leak")

    @dg.asset_check(asset="sft_dataset", blocking=True, partitions_def=week_by_workflow)
    def no_correction_is_lost() -> dg.AssetCheckResult:
        return passed("no_correction_is_lost" not in wrong, "3 of 10 corrections are lost")

    @dg.asset(deps=["sft_dataset", "preference_dataset"], partitions_def=week_by_workflow)
    def checkpoint() -> None:
        wrong.get("checkpoint", lambda: None)()

    job = dg.define_asset_job("learn", partitions_def=week_by_workflow, executor_def=dg.in_process_executor)
    made = dg.Definitions(
        [training_datasets, checkpoint], asset_checks=[no_benchmark_leak, no_correction_is_lost], jobs=[job]
    )
    return made.resolve_job_def("learn")


def broken() -> None:
    raise ValueError("no such column")


def run(wrong: dict, on: dg.DagsterInstance) -> list[Told]:
    key = partition_key(WEEK, "door")
    done = learn(wrong).execute_in_process(instance=on, partition_key=key, raise_on_error=False)
    return failed_steps(on, done.run_id)


def planned(on: dg.DagsterInstance, origin: RemoteJobOrigin | None = None, after: str | None = None) -> dg.DagsterRun:
    """A run that Dagster made and that no process began. `after`: id of the run that it tries again."""
    tags = {"dagster/partition": partition_key(WEEK, "door")}
    tags |= {"dagster/root_run_id": after, "dagster/parent_run_id": after} if after else {}
    return on.create_run_for_job(
        learn({}), tags=tags, remote_job_origin=origin, status=dg.DagsterRunStatus.STARTING,
        root_run_id=after, parent_run_id=after,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "step", "stages", "cause"),
    [
        ({"training_datasets": broken}, "training_datasets", ("sft_dataset", "preference_dataset"), "no such column"),
        ({"no_correction_is_lost": True}, "sft_dataset_no_correction_is_lost", ("sft_dataset",), "no_correction_is_lost: 3 of 10 corrections are lost"),
        ({"no_benchmark_leak": "preference_dataset"}, "no_benchmark_leak", ("preference_dataset",), "no_benchmark_leak: rows of preference_dataset touch the benchmark"),
    ],
)  # fmt: skip
def test_a_step_of_another_name_is_told_by_its_assets_until_it_succeeds(
    wrong: dict, step: str, stages: tuple[str, ...], cause: str
):
    on = dg.DagsterInstance.ephemeral()
    (told,) = run(wrong, on)
    assert (told.step, told.stages, told.stage, told.cause) == (step, stages, stages[0], cause)
    assert failures_of(on, "door", WEEK) == dict.fromkeys(stages, cause)
    assert run({"checkpoint": broken}, on)[0].stage == "checkpoint"
    assert failures_of(on, "door", WEEK) == {"checkpoint": "no such column"}
    assert run({}, on) == [] and failures_of(on, "door", WEEK) == {}


def test_every_step_of_the_jobs_is_known_by_a_stage_that_can_be_run_alone():
    from flywheel.definitions import defs

    on, seen = dg.DagsterInstance.ephemeral(), set()
    for job in JOBS:
        made = on.create_run_for_job(defs.resolve_job_def(job))
        steps = stages_by_step(on, made.run_id)
        assert list(steps) and all(job_of(stage) for stages in steps.values() for stage in stages)
        seen |= set(steps)
    assert {"training_datasets", "no_benchmark_leak", "sft_dataset_no_correction_is_lost", "checkpoint"} <= seen


def test_a_run_whose_process_was_killed_is_told_by_the_stage_it_was_at(tmp_path: Path):
    key = partition_key(WEEK, "door")
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), RUN_ID, key], capture_output=True, timeout=120
    )
    assert killed.returncode == -9, killed.stderr.decode()
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides=RETRIES) as on:
        made = on.get_run_by_id(RUN_ID)
        assert made is not None and failed_steps(on, RUN_ID) == [] == list(failures_of(on, "door", WEEK))
        on.report_run_failed(made, "Detected run worker status FAILED. Marking run as failed.")
        (told,) = failed_steps(on, RUN_ID)
        assert (told.step, told.stage, told.damage) == ("checkpoint", "checkpoint", False)
        assert told.cause == "Detected run worker status FAILED. Marking run as failed."
        assert told.remedy and "memory" in told.remedy and "run the same command again" in told.remedy
        assert failures_of(on, "door", WEEK) == {"checkpoint": told.cause}
        assert run({}, on) == [] and failures_of(on, "door", WEEK) == {}


def test_a_run_that_never_started_is_told_by_its_first_stage():
    on = dg.DagsterInstance.ephemeral()
    on.report_run_failed(planned(on), "Run timed out due to taking longer than 300 seconds to start.")
    cause = "Run timed out due to taking longer than 300 seconds to start."
    assert failures_of(on, "door", WEEK) == {"sft_dataset": cause, "preference_dataset": cause}


def test_a_crash_after_the_last_stage_is_told_by_the_job_and_leaves_no_stage_to_run():
    on = dg.DagsterInstance.ephemeral()
    assert run({}, on) == []
    (made,) = on.get_runs()
    on.report_run_failed(made, "the pod is gone")
    (told,) = failed_steps(on, made.run_id)
    assert (told.stage, told.cause) == ("learn", "the pod is gone") and failures_of(on, "door", WEEK) == {}


def test_a_crash_that_dagster_tries_again_is_told_when_the_last_try_crashed(tmp_path: Path):
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides=RETRIES) as on:
        first = planned(on, ORIGIN)
        on.report_run_failed(first, "the pod is gone")
        again = on.get_run_by_id(first.run_id)
        assert again is not None and again.tags["dagster/will_retry"] == "true"
        assert failed_steps(on, first.run_id) == [] and failures_of(on, "door", WEEK) == {}
        last = planned(on, ORIGIN, after=first.run_id)
        on.report_run_failed(last, "the pod is gone again")
        (told,) = failed_steps(on, last.run_id)
        assert told.cause == "the pod is gone again" and "sft_dataset" in failures_of(on, "door", WEEK)


def test_a_run_of_the_command_line_that_crashed_is_told_though_dagster_marks_it_for_another_try(tmp_path: Path):
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides=RETRIES) as on:
        made = planned(on)
        on.report_run_failed(made, "The process of this run was killed.")
        marked = on.get_run_by_id(made.run_id)
        assert marked is not None and marked.tags["dagster/will_retry"] == "true"
        assert [told.cause for told in failed_steps(on, made.run_id)] == ["The process of this run was killed."]


def test_a_run_that_could_not_be_set_up_says_its_own_error():
    class Gone(dg.ConfigurableResource):
        def setup_for_execution(self, context: dg.InitResourceContext) -> None:
            raise FlywheelError("there is no house", where="/house", remedy="mount it")

    @dg.asset
    def rows(house: Gone) -> None:
        """Rows."""

    job = dg.define_asset_job("learn", executor_def=dg.in_process_executor)
    made = dg.Definitions([rows], resources={"house": Gone()}, jobs=[job]).resolve_job_def("learn")
    on = dg.DagsterInstance.ephemeral()
    done = made.execute_in_process(instance=on, raise_on_error=False)
    (told,) = failed_steps(on, done.run_id)
    assert (told.stage, told.cause, told.remedy) == ("rows", "there is no house [/house]", "mount it")
