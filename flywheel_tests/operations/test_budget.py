"""The budget: a stage that would pass it is not started, and says what was spent, what it would take, and what to do."""

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel.operations.budget import estimate, refuse_overspending, spent_hours
from flywheel.partitions import partition_key
from flywheel.workflows.budget_settings import Budget
from flywheel.workflows.pack import Pack
from flywheel_tests.promotion.house import blank

WEEK, BEFORE = "2026-01-12", "2026-01-05"


def with_budget(pack: Pack, **values: Any) -> Pack:
    rates = values.pop("rates", pack.settings.rates)
    changed = pack.settings.model_copy(update={"budget": Budget(**values), "rates": rates})
    return Pack(**{**vars(pack), "settings": changed})


@pytest.fixture(scope="module")
def spent(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Last week trained 400 presentations in two hours and evaluated; this week has trained for an hour."""
    lake = Lake(tmp_path_factory.mktemp("spent") / "lake")
    for week, seconds in ((BEFORE, 7200.0), (WEEK, 3600.0)):
        trained = [blank("checkpoint", adapter_id=f"a-{week}", sft_presentations=400)]
        lake.replace_partition("checkpoint", trained, workflow="support_desk", week=week, seconds=seconds)
    outputs = [blank("eval_results", case_id=f"c{n}", arm="candidate", epoch=0) for n in range(10)]
    lake.replace_partition("eval_results", outputs, workflow="support_desk", week=BEFORE, seconds=1800.0)
    figures = [blank("correction_quality", figure="cost", value=30.0, n=1)]
    lake.replace_partition("correction_quality", figures, workflow="support_desk", week=WEEK)
    return lake


@given(limit=st.floats(0.05, 20), amount=st.integers(0, 4000))
@settings(max_examples=15)
def test_a_stage_starts_exactly_when_it_stays_within(spent: Lake, pack: Pack, limit: float, amount: int):
    hours = 1 + amount / 400 * 2  # at the slowest pace of the newest weeks
    try:
        told = refuse_overspending(spent, None, with_budget(pack, accelerator_hours=limit), WEEK, "checkpoint", amount)
    except FlywheelError as error:
        assert hours > limit - 1e-9 or limit <= 1
        assert "budget.accelerator_hours" in str(error) and "1.00 of" in error.what and "workflow.yaml" in error.where
    else:
        assert told and told.total() == pytest.approx(hours) and hours <= limit + 1e-9


def test_before_anything_was_run_only_what_is_spent_counts(spent: Lake, pack: Pack):
    assert estimate(spent, "support_desk", BEFORE, "eval_results", 20)[0] == pytest.approx(1.0)
    hours, because = estimate(spent, "another", WEEK, "checkpoint", 400)
    assert hours is None and "not known" in because
    assert refuse_overspending(spent, None, pack, WEEK, "checkpoint", 10**9) is None, "no budget, no limit"


def test_money_counts_people_too_and_wants_a_rate(spent: Lake, pack: Pack):
    rates = {"accelerator_hour": 10.0}
    told = refuse_overspending(spent, None, with_budget(pack, money=60.01, rates=rates), WEEK, "checkpoint", 400)
    assert told and told.spent == 1.0
    with pytest.raises(FlywheelError, match="40.00 of 59.99 of money"):
        refuse_overspending(spent, None, with_budget(pack, money=59.99, rates=rates), WEEK, "checkpoint", 400)
    with pytest.raises(FlywheelError, match="price of an hour"):
        refuse_overspending(spent, None, with_budget(pack, money=60, rates={}), WEEK, "checkpoint", 400)


def test_attempts_that_failed_or_were_killed_are_spent_too(spent: Lake):
    def attempt(start: float | None, end: float | None) -> SimpleNamespace:
        return SimpleNamespace(start_time=start, end_time=end, attempts_list=[])

    steps = {
        "failed": [attempt(0, 3600)], "killed": [attempt(0, None)], "running": [attempt(0, None)],
        "retried": [SimpleNamespace(attempts_list=[attempt(0, 1800), attempt(2000, 3800), attempt(4000, None)])], "skipped": [attempt(None, None)],
    }  # fmt: skip
    records = [SimpleNamespace(end_time=7200.0 if run == "killed" else None,
                               dagster_run=SimpleNamespace(run_id=run, is_finished=run in ("failed", "killed", "skipped"))) for run in steps]  # fmt: skip
    on = SimpleNamespace(get_run_records=lambda _: records, get_run_step_stats=lambda run, _: steps[run])
    assert spent_hours(spent, on, "support_desk", WEEK) == pytest.approx(1 + 2 + 1)  # type: ignore[arg-type]
    assert spent_hours(spent, None, "support_desk", WEEK) == 1.0


@pytest.mark.slow
def test_a_real_instance_counts_a_failed_step(spent: Lake, tmp_path: Path):
    import time

    key = partition_key(WEEK, "support_desk")

    @dg.asset(partitions_def=dg.MultiPartitionsDefinition({
        "week": dg.StaticPartitionsDefinition([WEEK]), "workflow": dg.StaticPartitionsDefinition(["support_desk"])}))  # fmt: skip
    def checkpoint() -> None:
        time.sleep(1.0)
        raise ValueError("out of memory")

    with dg.DagsterInstance.local_temp(str(tmp_path), overrides={"telemetry": {"enabled": False}}) as on:
        empty = Lake(tmp_path / "lake")
        began = datetime.now(UTC)
        dg.materialize([checkpoint], instance=on, partition_key=key, raise_on_error=False)
        took = (datetime.now(UTC) - began).total_seconds()
        assert 1.0 <= spent_hours(empty, on, "support_desk", WEEK) * 3600 <= took
