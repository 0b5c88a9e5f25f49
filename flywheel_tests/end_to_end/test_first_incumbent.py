"""Two weeks of a team whose agent runs on an endpoint: the first candidate takes over from it, the second is judged against the first."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flywheel.operations.releasing import releases
from flywheel.promotion.announce import announce
from flywheel.promotion.pointer_file import read_pointer
from flywheel.settings import Settings
from flywheel_tests.faults.house import House, mondays
from flywheel_tests.stand_ins.endpoint import Raw, endpoint
from flywheel_tests.stand_ins.model import next_message


def large_1(body: dict[str, Any]) -> Raw:
    """A model that is wrong as often as the base model, and does not say how many tokens it took."""
    made = {
        "choices": [{"message": next_message("base", body["messages"]), "finish_reason": "stop"}],
        "model": "large-1",
    }
    return 200, "application/json", json.dumps(made)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_a_first_release_takes_over_from_an_endpoint_and_a_rollback_leads_back(tmp_path: Path):
    house = House.build(tmp_path / "house")
    first, second = mondays(2)
    file = house.home / "workflows" / "door" / "workflow.yaml"
    with endpoint(large_1) as server:
        file.write_text(f"{file.read_text()}\nfirst_incumbent: {{endpoint: {{url: '{server.url}', model: large-1}}}}\n")
        house.run("freeze", week=first)
        for week in (first, second):
            for step in ("traffic", "collect", "answers", "learn"):
                house.run(step, week=week)
            if week == first:
                asked = len(server.asked)
    named, lake = f"endpoint:large-1@{server.host}", house.lake()
    rows = {
        week: lake.read_partition("promotion", workflow="door", week=week).row(0, named=True)
        for week in (first, second)
    }
    adapter = rows[first]["candidate_adapter_id"]
    assert (rows[first]["incumbent_adapter_id"], rows[first]["verdict"], rows[first]["served_adapter_id"]) == (
        named,
        "PROMOTE",
        adapter,
    )
    assert "the incumbent is the endpoint large-1 at" in rows[first]["reasons"]
    assert asked > 0 and len(server.asked) == asked, (
        "an adapter is the incumbent of the second week, and nobody asks the endpoint"
    )
    assert rows[second]["incumbent_adapter_id"] == adapter
    scored = lake.read_partition("prequential_results", workflow="door", week=second)
    assert scored.height and named not in set(scored["adapter_id"])
    pages = [(house.home / "reports" / "door" / f"{week}.html").read_text(encoding="utf-8") for week in (first, second)]
    assert "The incumbent is an endpoint: large-1 at" in pages[0] and "other kind of incumbent" in pages[1]
    settings = Settings(home=house.home)
    acts = releases(settings, "door")
    steps = len(
        [row for row in acts.log().iter_rows(named=True) if row["previous_adapter_id"] != row["served_adapter_id"]]
    )
    for _ in range(steps):
        acts.roll_back(by="Dana", reason="worse", override=True)
    announce(acts.lake, settings, acts.pack, acts.base)
    pointer = read_pointer(settings.pointer("door"))
    assert (
        pointer.adapter_id == named and pointer.evaluated_by == f"decision {rows[first]['decision_id']} of week {first}"
    )
    assert pointer.since and datetime.fromisoformat(pointer.since) <= datetime.now(UTC)
