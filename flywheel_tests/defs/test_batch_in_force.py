"""The batch in force and the table of its items are one version, whatever was tried in between and whoever begins meanwhile."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest
import yaml

from flywheel.corrections.events import Batch, EventStore
from flywheel.corrections.items import batch_items
from flywheel.corrections.states import Event
from flywheel.corrections.stores import open_store
from flywheel.defs import corrections
from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel.operations.launch import run_job
from flywheel.settings import Settings
from flywheel_tests.corrections.stores import play
from flywheel_tests.traces.test_inbox import line

WEEK = "2026-02-16"


class Collected:
    """A house of its own whose week is collected again and again, each time with another number of runs drawn at random."""

    def __init__(self, home: Path, instance: dg.DagsterInstance) -> None:
        self.settings, self.instance = Settings(home=home), instance
        self.lake = Lake(self.settings.lake())
        self.settings.inbox("door").mkdir(parents=True)
        runs = [line(n, started_at="2026-02-17T10:00:00Z", messages=_talk(n)) for n in range(8)]
        (self.settings.inbox("door") / "runs.jsonl").write_text("".join(json.dumps(run) + "\n" for run in runs))
        self._stages: list[str] | None = None

    @property
    def store(self) -> EventStore:
        return open_store(self.settings, "door")

    def collect(self, drawn: int) -> Batch:
        file = self.settings.workflows() / "door" / "workflow.yaml"
        pack = yaml.safe_load(file.read_text())
        pack["batch"]["random_slice"] = drawn
        file.write_text(yaml.safe_dump(pack, sort_keys=False))
        run_job("collect", workflow="door", week=WEEK, on=self.instance, stages=self._stages)
        self._stages = ["correction_batch"]  # the runs stay what they are
        return self.in_force()

    def in_force(self) -> Batch:
        batch = self.store.batch_of(WEEK, "door")
        assert batch
        return batch

    def agree(self) -> bool:
        """Whether the table holds the version in force and nothing else, and the workbench can open it."""
        rows, batch = self.lake.read_partition("correction_batch", workflow="door", week=WEEK), self.in_force()
        own = rows.sort("position")["item_id"].to_list() == batch.item_ids
        return own and set(rows["batch_version"]) == {batch.version} and bool(batch_items(self.lake, batch, self.store))


def _talk(number: int) -> list[dict[str, str]]:
    words = " ".join(f"w{number}x{k}" for k in range(30))
    return [
        {"role": "user", "content": f"Door {number}: {words}"}, {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": "No, that is wrong, do not do it"}, {"role": "assistant", "content": "ok"},
    ]  # fmt: skip


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Collected:
    home = tmp_path / "home"
    shutil.copytree(Settings().workflows() / "door", home / "workflows" / "door")
    monkeypatch.setenv("FLYWHEEL_HOME", str(home))
    (tmp_path / "dagster").mkdir()
    overrides = {"telemetry": {"enabled": False}}
    return Collected(home, dg.DagsterInstance.local_temp(str(tmp_path / "dagster"), overrides=overrides))


def _meanwhile(monkeypatch: pytest.MonkeyPatch, done: Callable[[], object]) -> None:
    """Have something happen between the picking of the items and the opening of the batch, once."""
    real = corrections.select

    def select(*given, **named):
        picked = real(*given, **named)
        done()
        monkeypatch.setattr(corrections, "select", real)
        return picked

    monkeypatch.setattr(corrections, "select", select)


def test_a_setting_tried_and_taken_back_puts_the_first_batch_in_force_again(house: Collected):
    few = house.collect(2)
    assert house.agree()
    more = house.collect(8)
    assert more.version != few.version and len(more.item_ids) > len(few.item_ids) and house.agree()
    for drawn, batch in ((2, few), (8, more), (8, more), (2, few)):
        assert house.collect(drawn).version == batch.version and house.agree()
    assert house.store.verify_chain()


def test_a_run_that_died_before_the_table_was_written_is_mended_by_the_old_setting_too(
    house: Collected, monkeypatch: pytest.MonkeyPatch
):
    few = house.collect(2)
    with monkeypatch.context() as patch:
        patch.setattr(corrections.Stage, "write", lambda *_, **__: 1 / 0)
        with pytest.raises(FlywheelError):
            house.collect(8)
    assert house.in_force().version != few.version
    assert house.collect(2).version == few.version and house.agree()


def test_who_begins_while_a_batch_is_picked_keeps_theirs_and_nothing_is_written_or_planted(
    house: Collected, monkeypatch: pytest.MonkeyPatch
):
    more = house.collect(8)
    before = (house.lake.version("correction_batch"), house.store.planted(more.name))
    _meanwhile(monkeypatch, lambda: play(house.store, more.name, more.item_ids[0], ("claim", "ann")))
    assert house.collect(2).version == more.version and house.in_force().frozen
    assert (house.lake.version("correction_batch"), house.store.planted(more.name)) == before and house.agree()
    assert house.collect(2).version == more.version and house.agree()
    assert house.store.state(more.item_ids[0], more.name).annotator == "ann"


def test_a_table_that_was_written_over_is_told_and_mended_once_the_items_are_picked_again(house: Collected):
    more = house.collect(8)
    few = house.collect(2)
    rows = house.lake.read_partition("correction_batch", workflow="door", week=WEEK).drop("workflow", "week")
    house.collect(8)
    house.store.append(more.name, Event(more.item_ids[0], "claim", "ann"))
    house.lake.replace_partition("correction_batch", rows, workflow="door", week=WEEK)
    assert house.collect(2).version == more.version and set(rows["batch_version"]) == {few.version}
    assert not house.agree(), "what was handed out is not picked with this setting"
    assert house.collect(8).version == more.version and house.agree()
