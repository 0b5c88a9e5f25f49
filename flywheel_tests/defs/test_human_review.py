"""A pack that requires people: promotion waits and decides nothing, the sensor asks once they are done, then it promotes."""

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from flywheel.defs.automation import evaluation_review_completed
from flywheel.defs.promotion import promotion
from flywheel.defs.resources import House
from flywheel.evaluation.human_review import sheets_of
from flywheel.evaluation.review_store import import_ratings, read_review
from flywheel.lake import Lake
from flywheel.partitions import partition_key
from flywheel.settings import Settings
from flywheel.workflows.base_model import write_manifest
from flywheel_tests.evaluation.judged import WEEK, door_pack, evaluated, ratings_of
from flywheel_tests.promotion.house import blank, make_adapter

NOW = datetime(2026, 1, 14, tzinfo=UTC)


def test_promotion_waits_for_people_and_the_sensor_asks_for_it_when_they_are_done(tmp_path: Path):
    pack, lake = door_pack(tmp_path, human_review="required", review={"at_least": 40}), Lake(tmp_path / "lake")
    model = tmp_path / "models" / "tiny-random-000000000000"
    model.mkdir(parents=True)
    (model / "tokenizer.json").write_text("{}")
    write_manifest(model, sha256="0" * 64, source="a test")
    candidate = make_adapter(Settings(home=tmp_path), 1)
    evaluated(lake, pack, candidate=candidate)
    lake.replace_partition("corrected_traces", [], workflow="door", week=WEEK)
    lake.replace_partition("checkpoint", [blank("checkpoint", adapter_id=candidate)], workflow="door", week=WEEK)
    house, instance = House(home=str(tmp_path)), dg.DagsterInstance.ephemeral()

    def decide() -> tuple[str, str]:
        done = dg.materialize(
            [promotion], partition_key=partition_key(WEEK, "door"), resources={"house": house}, instance=instance
        )
        assert done.success
        row = lake.read_partition("promotion", workflow="door", week=WEEK).row(0, named=True)
        return row["verdict"], row["reasons"]

    def tick():
        return evaluation_review_completed(dg.build_sensor_context(instance=instance), house=house)

    assert "no evaluation waits for people" in tick().skip_message, "promotion has not run yet"
    verdict, reasons = decide()
    assert verdict == "INVALID" and "0 of 40 sampled cases reviewed" in reasons
    assert not lake.read_weeks("promotion_log", workflow="door").height, "the week is not decided"
    assert "0 of 40 sampled cases reviewed" in tick().skip_message
    for sheet, person in zip(sheets_of(read_review(lake, pack, WEEK).sample, 2), ("ann", "bob"), strict=True):
        import_ratings(lake, pack, WEEK, ratings_of(sheet), by=person, now=NOW)
    (request,) = tick().run_requests
    assert request.partition_key == partition_key(WEEK, "door") and tick().run_requests[0].run_key == request.run_key
    assert {key.to_user_string() for key in request.asset_selection} == {"promotion", "weekly_report"}
    verdict, reasons = decide()
    assert verdict == "PROMOTE", reasons
    assert lake.read_weeks("promotion_log", workflow="door")["served_adapter_id"].to_list() == [candidate]
    assert "no evaluation waits for people" in tick().skip_message
    found = lake.read_partition("evaluation_review", workflow="door", week=WEEK)
    assert found.filter(figure="agreement")["value"].item() == 1.0
