"""A stage is tried again only when what failed may pass; a failure carries its cause and remedy in any case."""

import errno

import dagster as dg
import httpx
import polars as pl
import pytest
from deltalake.exceptions import CommitFailedError, DeltaError

from flywheel.defs.retries import is_damage, may_pass, says_why
from flywheel.defs.stage import passed
from flywheel.errors import FlywheelError, Interrupted, MissingPartition
from flywheel.operations.failures import failed_steps

LASTING = [
    FlywheelError("wrong", remedy="mend it"), MissingPartition("none", remedy="run it"), ValueError("shape"), KeyError("column"), MemoryError(),
    pl.exceptions.ColumnNotFoundError("x"), DeltaError("corrupt"), OSError(errno.ENOSPC, "No space left"), FileNotFoundError(errno.ENOENT, "gone"),
]  # fmt: skip
PASSING = [
    Interrupted("killed", remedy="again"), ConnectionResetError(errno.ECONNRESET, "reset"), TimeoutError("late"), httpx.ReadTimeout("late"),
    CommitFailedError("another write won"), OSError(errno.EAGAIN, "try again"),
]  # fmt: skip


@pytest.mark.parametrize("error", LASTING, ids=repr)
def test_what_comes_back_every_time_is_not_tried_again(error: Exception):
    assert not may_pass(error)


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_what_came_from_outside_may_pass(error: Exception):
    assert may_pass(error)


def test_only_an_unreadable_table_is_damage():
    assert is_damage(DeltaError("corrupt")) and not is_damage(CommitFailedError("race")) and not is_damage(ValueError())


def test_a_real_instance_runs_a_lasting_failure_once_and_a_passing_one_until_it_is_spent():
    tries: list[str] = []

    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=2, delay=0))
    @says_why
    def wrong() -> None:
        """Fails for ever."""
        tries.append("wrong")
        raise FlywheelError("the rows are broken", where="rows.jsonl:3", remedy="mend line 3")

    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=2, delay=0))
    @says_why
    def killed() -> None:
        """Fails twice."""
        tries.append("killed")
        if tries.count("killed") < 3:
            raise Interrupted("the child was killed", remedy="again")

    instance = dg.DagsterInstance.ephemeral()
    done = dg.materialize([wrong, killed], instance=instance, raise_on_error=False)
    assert tries.count("wrong") == 1 and tries.count("killed") == 3
    (told,) = failed_steps(instance, done.run_id)
    assert (told.stage, told.cause, told.remedy) == (
        "wrong",
        "the rows are broken [rows.jsonl:3]",
        "mend line 3",
    ) and not told.damage


def test_every_stage_says_why_and_the_heavy_ones_are_tried_again():
    from flywheel.definitions import defs

    for name, heavy in (
        ("production_traces", False),
        ("checkpoint", True),
        ("eval_results", True),
        ("promotion", False),
    ):
        made = defs.resolve_assets_def(dg.AssetKey(name))
        policy = made.op.retry_policy
        assert (policy is not None) == heavy
        assert not policy or policy.backoff == dg.Backoff.EXPONENTIAL
        assert hasattr(made.op.compute_fn.decorated_fn, "__wrapped__"), f"{name} is not wrapped by says_why"


def test_a_blocking_check_that_failed_says_its_own_sentence():
    @dg.asset
    def rows() -> None:
        """Rows."""

    @dg.asset_check(asset=rows, blocking=True)
    def nothing_is_lost() -> dg.AssetCheckResult:
        return passed(False, "3 of 10 rows are lost; raise the limit")

    instance = dg.DagsterInstance.ephemeral()
    done = dg.materialize([rows, nothing_is_lost], instance=instance, raise_on_error=False)
    (told,) = failed_steps(instance, done.run_id)
    assert told.cause == "nothing_is_lost: 3 of 10 rows are lost; raise the limit"
