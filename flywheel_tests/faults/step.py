"""One step of a week in a process that can be killed: `python -m flywheel_tests.faults.step WORKFLOW WEEK STEP`.

Says `began` on standard output once everything is imported, so that whoever kills it hits the step and not the imports. A step is a
stage's name, a job's, or one of the simulated parts: `traffic` and `answers`. WORKFLOW may be several, with commas between them: each
is done in turn.
"""

import os
import sys
from pathlib import Path

from flywheel_tests.stand_ins import install


def run(workflow: str, week: str, step: str) -> None:
    """Run the step to its end."""
    from flywheel.demo.week import answer_batch, simulate_traffic
    from flywheel.evaluation.servers import server_spec
    from flywheel.jobs import JOBS, job_of
    from flywheel.lake import Lake
    from flywheel.operations.launch import instance, run_job
    from flywheel.promotion.pointer import serving
    from flywheel.serving.trained_on import trained_on
    from flywheel.settings import Settings
    from flywheel.workflows.base_model import find_base_model
    from flywheel.workflows.loader import find_pack
    from flywheel_tests.packs import door_simulation

    settings = Settings()
    lake, pack = Lake(settings.lake()), find_pack(settings.workflows(), workflow)
    if step == "traffic":
        base = find_base_model(settings.models(), pack.settings.base_model)
        adapter = serving(lake.read_weeks("promotion_log", workflow=workflow), before_week=week)
        own = trained_on(lake, pack, base, settings.models(), adapter)
        simulate_traffic(
            settings,
            pack,
            own.renderer(),
            server_spec(settings, own, {adapter}),
            door_simulation,
            week=week,
            adapter=adapter,
            count=30,
        )
        return
    if step == "answers":
        answer_batch(settings, pack, door_simulation, lake, week=week)
        return
    import flywheel.definitions  # noqa: F401

    with instance() as on:
        print("began", flush=True)
        job, stages = (step, None) if step in JOBS else (job_of(step), [step])
        if step == "sft_dataset":
            stages = ["sft_dataset", "preference_dataset"]  # one build writes both
        run_job(job, workflow=workflow, week=None if job == "freeze" else week, on=on, stages=stages)


if __name__ == "__main__":
    os.chdir(Path(os.environ["FLYWHEEL_HOME"]))
    install()
    for name in sys.argv[1].split(","):
        run(name, *sys.argv[2:])
