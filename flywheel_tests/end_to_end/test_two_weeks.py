"""Two whole weeks: real Dagster, real Delta, real training, real vLLM; only the model is tiny and the people simulated.

All of it is in the slow tier: it takes minutes, and `make lap` turns such a week by hand.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from flywheel.errors import FlywheelError
from flywheel_tests.packs import door_simulation

WEEKS = ("2026-01-05", "2026-01-12")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


class House:
    """The folder both weeks live in, its Dagster instance and its lake."""

    def __init__(self, home: Path) -> None:
        from flywheel.lake import Lake
        from flywheel.operations.screen import Screen
        from flywheel.settings import Settings

        self.settings = Settings(home=home)
        self.lake = Lake(self.settings.lake())
        self.screen = Screen(home / "run.log")
        (home / "dagster").mkdir(exist_ok=True)
        self.instance = dg.DagsterInstance.local_temp(
            str(home / "dagster"), overrides={"telemetry": {"enabled": False}}
        )

    def turn(self, week: str) -> None:
        from flywheel.demo.turn import Size, turn

        turn(
            self.settings,
            door_simulation.FOLDER,
            door_simulation,
            week=week,
            size=Size(customers=30, demonstrated_runs=48, demonstrated_steps=0),
            on=self.instance,
            screen=self.screen,
        )

    def run(self, job: str, week: str | None, stages: list[str] | None = None) -> str:
        from flywheel.operations.launch import run_job

        return run_job(job, workflow="door", week=week, on=self.instance, stages=stages)

    def table(self, name: str, week: str) -> pl.DataFrame:
        return self.lake.read_partition(name, workflow="door", week=week)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The first week turned; the pack is known to the code location because FLYWHEEL_HOME says where packs lie."""
    home = Path(os.environ["FLYWHEEL_HOME"])
    made = House(home)
    made.turn(WEEKS[0])
    yield made


def test_the_first_week_learns_and_is_promoted_on_evidence(house: House):
    decision = house.table("promotion", WEEKS[0]).row(0, named=True)
    assert (decision["verdict"], decision["incumbent_adapter_id"]) == ("PROMOTE", "base"), decision["reasons"]
    assert decision["candidate_success"] >= decision["incumbent_success"] + 0.3
    assert decision["served_adapter_id"] == house.table("checkpoint", WEEKS[0])["adapter_id"][0]


def test_every_line_is_accounted_for_and_everything_simulated_says_so(house: House):
    ledger = house.lake.read_partition("inbox_ledger", workflow="door")
    assert (ledger["read"] == ledger["accepted"] + ledger["duplicate"] + ledger["quarantined"]).all()
    assert set(house.table("production_traces", WEEKS[0])["environment"]) == {"simulated"}
    assert set(house.table("corrected_traces", WEEKS[0])["annotator_kind"]) == {"simulated"}
    page = house.settings.report("door", WEEKS[0]).read_text()
    assert "Simulated week" in page and "PROMOTE" in page and "<script" not in page


def test_running_again_does_no_work_and_changes_nothing(house: House):
    before = house.lake.all_lineage(workflow="door").sort("table_name", "week")
    calls = house.settings.scratch("door", WEEKS[0], "checkpoint") / "result.json"
    trained_at = calls.stat().st_mtime
    house.turn(WEEKS[0])
    assert (
        house.lake.all_lineage(workflow="door")
        .sort("table_name", "week")
        .drop("written_at")
        .equals(before.drop("written_at"))
    )
    assert calls.stat().st_mtime == trained_at, "nothing was trained again"


def test_the_ui_has_runs_and_metadata_of_every_asset(house: House):
    key = dg.MultiPartitionKey({"week": WEEKS[0], "workflow": "door"})
    for asset in ("production_traces", "production_failures", "correction_batch", "corrected_traces", "sft_dataset", "preference_dataset",
                  "checkpoint", "eval_results", "promotion", "weekly_report", "served_model"):  # fmt: skip
        filters = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[key])
        records = house.instance.fetch_materializations(filters, limit=50).records
        assert records, asset
        if asset != "served_model":
            first = records[-1].asset_materialization
            assert first and {"dagster/partition_row_count", "delta_version", "input_versions"} <= set(
                first.metadata
            ), asset


def test_a_lone_promotion_run_recomputes_and_a_planted_case_stops_training(house: House):
    run = house.run("learn", WEEKS[0], ["promotion"])
    assert house.instance.get_run_by_id(run).is_success  # type: ignore[union-attr]
    rows = house.table("sft_dataset", WEEKS[0])
    case = json.loads(house.lake.read_partition("benchmark", workflow="door")["case"][0])
    planted = rows.head(1).with_columns(row_id=pl.lit("planted"), conversation_id=pl.lit(case["id"]))
    house.lake.replace_partition(
        "sft_dataset", pl.concat([rows, planted]).drop("week", "workflow"), workflow="door", week=WEEKS[0]
    )
    try:
        with pytest.raises(FlywheelError, match="touch the benchmark"):
            house.run("learn", WEEKS[0], ["checkpoint"])
    finally:
        house.lake.replace_partition("sft_dataset", rows.drop("week", "workflow"), workflow="door", week=WEEKS[0])


def test_the_second_week_names_the_first_weeks_adapter_as_incumbent(house: House):
    house.turn(WEEKS[1])
    first, second = (house.table("promotion", week).row(0, named=True) for week in WEEKS)
    assert second["incumbent_adapter_id"] == first["served_adapter_id"] != "base"
    assert set(house.table("production_traces", WEEKS[1])["adapter_id"]) == {first["served_adapter_id"]}
    assert second["candidate_adapter_id"] not in ("base", first["candidate_adapter_id"]), "week 2 trained its own"
    assert set(house.table("sft_dataset", WEEKS[1])["from_week"].drop_nulls()) == set(WEEKS), "the mix accumulates"
    batches = [house.table("correction_batch", week) for week in WEEKS]
    # A contradiction between accepted answers comes back for adjudication, whenever its answers were given.
    picked = [set(batch.filter(~pl.col("picked_because").str.starts_with("conflict"))["trace_id"]) for batch in batches]
    assert picked[0] and picked[1] and not picked[0] & picked[1]
