"""Which stage belongs to which job: the one list that Dagster's jobs, the command line and the lake's errors share."""

from flywheel.errors import FlywheelError

# weekly_report ends both; it is named once, where its own run belongs.
JOBS: dict[str, tuple[str, ...]] = {
    "freeze": ("benchmark", "demonstrations"),
    "collect": ("production_traces", "production_failures", "correction_batch"),
    "learn": (
        "corrected_traces", "prequential_results", "sft_dataset", "preference_dataset", "checkpoint", "eval_results", "promotion",
        "weekly_report",
    ),
}  # fmt: skip


def job_of(stage: str) -> str:
    """The job that runs a stage; raises FlywheelError naming the stages when there is none of that name."""
    for job, stages in JOBS.items():
        if stage in stages:
            return job
    known = ", ".join(stage for stages in JOBS.values() for stage in stages)
    raise FlywheelError(f"there is no stage {stage!r}", remedy=f"name one of: {', '.join(JOBS)}, {known}")
