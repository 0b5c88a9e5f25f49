"""Prune: what goes, what stays and why; a dry run changes nothing, and what is said to be freed is freed."""

import json
import os
import shutil
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel.operations.backup import back_up
from flywheel.operations.disk import disk
from flywheel.operations.doctor import _backup, _disk
from flywheel.operations.late import late_weeks
from flywheel.operations.prune import Thing, plan, prune
from flywheel.operations.prune_runs import drop_run, runs_to_judge
from flywheel.promotion.releases import Releases
from flywheel.settings import Settings
from flywheel.workflows.base_model import find_base_model
from flywheel.workflows.loader import find_pack
from flywheel_tests.conftest import HOME
from flywheel_tests.promotion.house import WEEKS, blank, decide, make_adapter, make_house

LATER = ("2026-01-26", "2026-02-02", "2026-02-09")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(tmp_path_factory.mktemp("template"))


@pytest.fixture
def acts(template: Path, tmp_path: Path) -> Releases:
    """A copy of one's own."""
    shutil.copytree(template, tmp_path / "house")
    settings = Settings(home=tmp_path / "house")
    pack, base = find_pack(settings.workflows(), "door"), find_base_model(settings.models(), "tiny-random")
    return Releases(Lake(settings.lake()), settings, pack, base)


def fill(folder: Path) -> Path:
    """Six decided weeks, of which the first and the third were promoted; traces of all; scratch, a bundle, an inbox."""
    made = make_house(folder)
    made.settings.workflows().unlink()
    shutil.copytree(HOME / "workflows", made.settings.workflows())
    pack = made.settings.workflows() / "door"
    with (pack / "workflow.yaml").open("a") as opened:
        opened.write("\nretention: {traces_weeks: 5, adapters_weeks: 2, scratch_weeks: 1}\n")
    for number, week in enumerate((*WEEKS, *LATER)):
        run = blank("production_traces", trace_id=f"t{number}", shard=0, messages="long " * 400)
        made.lake.replace_partition("production_traces", [run], workflow="door", week=week)
        good = number in (0, 2)
        decide(made, week, make_adapter(made.settings, number), verdict="PROMOTE" if good else "REJECT", automatic=good)
        scratch = made.settings.scratch("door", week, "checkpoint")
        scratch.mkdir(parents=True)
        (scratch / "vllm.log").write_text("x" * 1000)
    ledger = [
        blank("inbox_ledger", source_file=f"{week}.jsonl", weeks=json.dumps({week: 1}), first_read_week=week)
        for week in WEEKS
    ]
    made.lake.replace_partition("inbox_ledger", ledger, workflow="door")
    made.settings.inbox("door").mkdir(parents=True)
    for week in WEEKS:
        (made.settings.inbox("door") / f"{week}.jsonl").write_text("{}\n")
    return folder


def of(things: list[Thing], kind: str, goes: bool) -> dict[str, str]:
    return {thing.name: thing.why for thing in things if thing.kind == kind and thing.goes == goes}


def test_policy_takes_the_old_and_says_why_the_rest_stays(acts: Releases):
    house, today = acts.settings.home, date(2026, 2, 18)
    names = [
        row["adapter_id"]
        for week in (*WEEKS, *LATER)
        for row in acts.lake.read_partition("checkpoint", workflow="door", week=week).to_dicts()
    ]
    orphan, young = (acts.settings.checkpoints("door") / name for name in ("adapter-orphan", "adapter-young"))
    for folder, age in ((orphan, 8), (young, 1)):
        folder.mkdir()
        moment = time.time() - age * 86_400
        os.utime(folder, (moment, moment))
    before = {path: path.stat().st_mtime_ns for path in house.rglob("*")}
    things = plan(acts.settings, None, today)
    assert {path: path.stat().st_mtime_ns for path in house.rglob("*")} == before, "looking changes nothing"
    kept = of(things, "adapter", False)
    assert kept[names[2]] == "serves" and kept[names[0]] == "a rollback would let it serve again"
    assert "newest 2 weeks" in kept[names[5]] and "last seven days" in kept["adapter-young"]
    assert of(things, "adapter", True).keys() == {names[1], names[3], "adapter-orphan"}
    assert of(things, "traces", True).keys() == {"production_traces 2026-01-05"}
    assert of(things, "inbox", True).keys() == {"2026-01-05.jsonl"}
    assert of(things, "scratch", False).keys() == {LATER[2]} and len(of(things, "scratch", True)) == 5
    pinned = of(things, "versions", False)
    assert any(
        name.startswith("checkpoint version") and "promoted in the week" in why or "serves" in why
        for name, why in pinned.items()
    )
    freed = sum(thing.bytes for thing in things if thing.goes and thing.kind not in ("traces", "versions"))
    size = disk(acts.settings).total()
    done = prune(acts.settings, None, today)
    assert [thing[:6] for thing in done] == [thing[:6] for thing in things]
    lake_grew = 60_000  # a commit each for lineage and the emptied partition
    assert size - freed <= disk(acts.settings).total() <= size - freed + lake_grew
    assert sorted(path.name for path in acts.settings.checkpoints("door").iterdir()) == sorted(kept)
    assert acts.lake.read_partition("production_traces", workflow="door", week=WEEKS[0]).height == 0
    again = plan(acts.settings, None, today)
    assert not [thing for thing in again if thing.goes], "nothing is left to do"


def test_a_late_run_of_a_pruned_week_asks_for_no_reading(acts: Releases):
    prune(acts.settings, None, date(2026, 2, 18))
    weeks = json.dumps({WEEKS[0]: 3, WEEKS[1]: 2, LATER[0]: 1})
    rows = [blank("inbox_ledger", source_file="late.jsonl", weeks=weeks, first_read_week=LATER[0])]
    acts.lake.replace_partition("inbox_ledger", rows, workflow="door")
    assert late_weeks(acts.lake, "door", LATER[0], "2026-01-05") == [WEEKS[1]]


def test_the_budget_and_the_backup_are_looked_at(acts: Releases, tmp_path: Path):
    tight = acts.settings.model_copy(update={"disk_budget_gib": 1e-6})
    assert not _disk(tight).ok and "of a budget of" in _disk(tight).found and "prune --dry-run" in _disk(tight).remedy
    assert "of a budget" not in disk(acts.settings).sentence()
    assert _backup(acts.settings).ok and "none is known" in _backup(acts.settings).found
    back_up(acts.settings, tmp_path / "backup")
    assert "0 days old" in _backup(acts.settings).found
    old = (datetime.now(UTC) - timedelta(days=40)).isoformat()
    file = acts.settings.home / "backups.jsonl"
    file.write_text(json.dumps({**json.loads(file.read_text()), "made_at": old}) + "\n")
    assert not _backup(acts.settings).ok
    with file.open("a") as opened:
        opened.write('{"made_at": "2026-')
    assert "40 days old" in _backup(acts.settings).found, "half a line, of a backup that was killed, is passed over"


@pytest.mark.slow
def test_runs_go_when_later_ones_stand_in_their_place(tmp_path: Path):
    @dg.asset(partitions_def=dg.StaticPartitionsDefinition(["a", "b"]))
    def thing() -> int:
        return 1

    with dg.DagsterInstance.local_temp(str(tmp_path), overrides={"telemetry": {"enabled": False}}) as on:
        first, second, third = (
            dg.materialize([thing], instance=on, partition_key=key).run_id for key in ("a", "a", "b")
        )
        day = (datetime.now(UTC) + timedelta(days=2)).date()
        judged = runs_to_judge(on, before=day, wrote=set())
        assert {run.run_id: run.goes for run in judged} == {first: True, "2 runs": False}
        assert not [run for run in runs_to_judge(on, before=day, wrote={first}) if run.goes], "it wrote what stands"
        assert not [run for run in runs_to_judge(on, before=day - timedelta(days=30), wrote=set()) if run.goes]
        shard = Path(on.event_log_storage.path_for_shard(first))  # type: ignore[attr-defined]
        assert judged[0].bytes >= shard.stat().st_size > 0
        drop_run(on, first)
        assert not shard.exists() and on.get_run_by_id(first) is None
        assert {run.run_id for run in on.get_runs()} == {second, third}
        assert on.get_materialized_partitions(dg.AssetKey("thing")) == {"a", "b"}


def test_prune_waits_for_nobody(acts: Releases):
    from flywheel.operations.alone import alone

    with alone(acts.settings, "a backup"), pytest.raises(FlywheelError, match="a backup is running"):
        prune(Settings(home=acts.settings.home), None)
