"""Turn a year: `python -m flywheel_tests.year.turn [WEEKS] [HOME]`, 52 by default, of the three workflows at once.

For each week: the customers' traffic lands in the inboxes, the weekly schedule is evaluated at its tick and what it requests is queued,
the daemon runs it, simulated experts answer the batches, the sensor notices and requests `learn`, the daemon runs that. Nobody does
anything else. The clock is the machine's own: weeks before today, one right after the other. Ends with what the platform team asks:
were all weeks decided, what did memory do, how fast is an asset's page now. Goes on where it was stopped.
"""

import json
import os
import statistics
import sys
import time
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg

from flywheel_tests.faults.house import House
from flywheel_tests.stand_ins import install
from flywheel_tests.stand_ins.deployment import Deployment

WORKFLOWS = ("north_door", "south_door", "west_door")
PAGE = """query($key: AssetKeyInput!) { assetOrError(assetKey: $key) { ... on Asset { definition {
  description partitionStats { numMaterialized numPartitions } partitionKeysByDimension { name partitionKeys } }
  assetMaterializations(limit: 200) { timestamp partition runId metadataEntries { label __typename } } } } }"""

AT_WORK = "{ runsOrError(filter: {statuses: [QUEUED, NOT_STARTED, STARTING, STARTED, CANCELING]}, limit: 10) { ... on Runs { results { runId } } } }"  # fmt: skip


def first_monday(weeks: int) -> str:
    """The Monday from which on so many whole weeks have passed by today."""
    today = datetime.now(UTC).date()
    return (today - timedelta(days=today.weekday(), weeks=weeks)).isoformat()


def turn(weeks: int, home: Path) -> dict[str, Any]:
    """The whole year; what was measured."""
    state = home.parent / "first_week.txt"
    if not home.exists():
        House.build(home, WORKFLOWS)
        state.write_text(first_monday(weeks), encoding="utf-8")
    house, first = House(home), state.read_text(encoding="utf-8")
    more = {"FLYWHEEL_FIRST_WEEK": first}
    os.environ |= {"FLYWHEEL_HOME": str(home), **more}  # before the code location is imported here, for the ticks
    for workflow in WORKFLOWS:
        house.run("freeze", week=first, workflow=workflow, **more)
    told = home.parent / "weeks.jsonl"  # a line a week: a year that goes on where it was stopped keeps what it measured
    with Deployment(house, more=more) as on:
        for number in range(weeks):
            week = (date.fromisoformat(first) + timedelta(weeks=number)).isoformat()
            if _decided(house, week) == len(WORKFLOWS):
                continue
            started = time.monotonic()
            _one_week(house, on, week, more)
            seconds, memory = time.monotonic() - started, {name: on.resident_mib(name) for name in on.processes}
            with told.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps({"week": number + 1, "ticks": 1, "seconds": seconds, **memory}) + "\n")
            print(f"week {number + 1} of {weeks}, {week}: {seconds:.0f} s; {memory}", flush=True)
        return _measured(house, on, first, weeks, [json.loads(line) for line in told.read_text("utf-8").splitlines()])


def _one_week(house: House, on: Deployment, week: str, more: dict[str, str]) -> None:
    """Traffic, tick, collect, answers, learn; fails unless the tick requested a run for every workflow."""
    house.run("traffic", week=week, workflow=",".join(WORKFLOWS), **more)
    requested = _tick(week)
    assert {request["dagster/partition/workflow"] for request in requested} == set(WORKFLOWS), requested
    ended = on.wait([on.launch("collect", tags) for tags in requested])
    assert set(ended.values()) == {"SUCCESS"}, ended
    house.run("answers", week=week, workflow=",".join(WORKFLOWS), **more)
    deadline = time.monotonic() + 600
    # The sensor and the daemon are on their own here. A run ends a moment after its last table is written.
    while _decided(house, week) < len(WORKFLOWS) or on.ask(AT_WORK)["runsOrError"]["results"]:
        assert time.monotonic() < deadline, (house.home / "daemon.log").read_text()[-3000:]
        time.sleep(3)


def _tick(week: str) -> list[dict[str, str]]:
    """The tags of the runs that the weekly schedule requests on the Tuesday after a week."""
    from flywheel.definitions import defs
    from flywheel.defs.automation import collect_every_week

    moment = datetime.fromisoformat(week).replace(tzinfo=UTC) + timedelta(days=8, hours=6)
    with dg.instance_for_test() as instance:
        context = dg.build_schedule_context(
            instance, scheduled_execution_time=moment, repository_def=defs.get_repository_def()
        )
        data = collect_every_week.evaluate_tick(context)
    return [{key: value for key, value in request.tags.items()} for request in data.run_requests or []]


def _decided(house: House, week: str) -> int:
    """How many workflows have their weekly report, the last thing that `learn` writes, after their decision."""
    lake, done = house.lake(), 0
    for workflow in WORKFLOWS:
        decision, report = (lake.lineage(name, workflow=workflow, week=week) for name in ("promotion", "weekly_report"))
        done += decision is not None and report is not None and report.written_at > decision.written_at
    return done


def _measured(
    house: House, on: Deployment, first: str, weeks: int, told: list[dict[str, float]]
) -> dict[str, Any]:  # fmt: skip
    """What the year shows; `told` has a line for each week that was turned to its end, whichever sitting it was."""
    lake = house.lake()
    decided = {workflow: lake.read_weeks("promotion", workflow=workflow) for workflow in WORKFLOWS}
    runs = on.ask("{ runsOrError(limit: 2000) { ... on Runs { results { status jobName } } } }")["runsOrError"][
        "results"
    ]
    pages = {}
    for asset in ("production_traces", "eval_results", "promotion"):
        times = []
        for _ in range(5):
            started = time.monotonic()
            found = on.ask(PAGE, {"key": {"path": [asset]}})
            times.append(time.monotonic() - started)
            assert found["assetOrError"]["assetMaterializations"], asset
        pages[asset] = statistics.median(times)
    return {
        "first_week": first, "weeks": weeks, "workflows": len(WORKFLOWS), "ticks_evaluated": sum(week["ticks"] for week in told),
        "decided": {workflow: rows.height for workflow, rows in decided.items()},
        "verdicts": {workflow: dict(Counter(rows["verdict"])) for workflow, rows in decided.items()},
        "runs": dict(Counter(f"{run['jobName']} {run['status']}" for run in runs)),
        "seconds_a_week": {"median": statistics.median(week["seconds"] for week in told), "first": told[0]["seconds"], "last": told[-1]["seconds"]},
        "resident_mib": {place: {name: told[at][name] for name in on.processes} for place, at in {"first": 0, "middle": len(told) // 2, "last": -1}.items()},
        "asset_page_seconds": pages,
    }  # fmt: skip


def main() -> None:
    """Command line."""
    weeks = int(sys.argv[1]) if len(sys.argv) > 1 else 52
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(".flywheel/year")
    folder.mkdir(parents=True, exist_ok=True)
    install()
    found = turn(weeks, folder.absolute() / "house")
    (folder / "year.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=2))
    late = {name: count for name, count in found["decided"].items() if count != weeks}
    slow = {asset: seconds for asset, seconds in found["asset_page_seconds"].items() if seconds >= 2}
    failed = {name: count for name, count in found["runs"].items() if not name.endswith("SUCCESS")}
    if late or slow or failed:
        sys.exit(f"not as it must be: weeks undecided {late}, pages over 2 s {slow}, runs {failed}")


if __name__ == "__main__":
    main()
