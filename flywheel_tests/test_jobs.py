"""Every stage belongs to one job, and an unknown stage names the known ones."""

import pytest

from flywheel.errors import FlywheelError
from flywheel.jobs import JOBS, job_of


def test_every_stage_belongs_to_exactly_one_job():
    stages = [stage for stages in JOBS.values() for stage in stages]
    assert len(stages) == len(set(stages))
    assert all(stage in JOBS[job_of(stage)] for stage in stages)


def test_an_unknown_stage_names_the_known_ones():
    with pytest.raises(FlywheelError, match="no stage 'chekpoint'") as caught:
        job_of("chekpoint")
    assert "checkpoint" in str(caught.value)
