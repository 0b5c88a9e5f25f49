"""Status: line one says what serves, since when, by whose act, and whether production carries it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from flywheel.cli.operations import _live, _serves
from flywheel.errors import FlywheelError
from flywheel.jobs import job_of
from flywheel.operations.launch import run_job
from flywheel.operations.status import status
from flywheel.promotion.announce import announce
from flywheel.workflows.pack import Hook
from flywheel_tests.promotion.house import WEEKS, blank, decide, make_adapter, make_house


def test_the_first_line_and_the_next_command_follow_the_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    acts = make_house(tmp_path)
    adapter = make_adapter(acts.settings, 1)
    (entry,) = status(acts.settings)
    assert _serves(entry) == "serves base" and not _live(entry["live"])
    decide(acts, WEEKS[0], adapter)
    (entry,) = status(acts.settings)
    assert entry["next"] == f"flywheel promote --workflow door --week {WEEKS[0]} --by NAME"
    acts.approve(WEEKS[0], by="Dana")
    (entry,) = status(acts.settings)
    assert entry["next"] == "nothing: the week is decided"
    line = _serves(entry)
    assert line.startswith(f"serves {adapter} since week {WEEKS[0]} (") and "approval by Dana); no runs since" in line
    late = datetime.now(UTC) + timedelta(hours=1)
    runs = [blank("production_traces", trace_id=str(n), adapter_id="base", shard=0, environment="production", started_at=late)
            for n in range(90)]  # fmt: skip
    acts.lake.replace_partition("production_traces", runs, workflow="door", week=WEEKS[1])
    assert "promoted_but_not_served: 0 of 90 runs since carry it, base 90" in _serves(status(acts.settings)[0])
    hooked = acts.pack.settings.model_copy(update={"on_promote": Hook(command=["false"])})
    pack = type(acts.pack)(**{**vars(acts.pack), "settings": hooked})
    announce(acts.lake, acts.settings, pack, acts.base)
    assert "on_promote: false was not told" in _live(status(acts.settings)[0]["live"])[-1]


def test_a_failed_build_of_the_datasets_is_shown_in_their_rows_and_the_next_command_can_be_run(tmp_path: Path):
    acts, week = make_house(tmp_path / "house"), "2026-05-04"
    acts.lake.replace_partition("production_traces", [blank("production_traces", trace_id="t", shard=0)], workflow="door", week=week)  # fmt: skip
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides={"telemetry": {"enabled": False}}) as on:
        with pytest.raises(FlywheelError):
            run_job("learn", workflow="door", week=week, on=on, stages=["preference_dataset"])
        (entry,) = status(acts.settings, on)
    failed = {one["stage"]: one["note"] for one in entry["stages"] if one["state"] == "failed"}
    assert list(failed) == ["sft_dataset", "preference_dataset"]
    assert all(note.startswith("base model tiny-random is not in the cache") for note in failed.values())
    assert entry["next"] == f"flywheel run --workflow door --week {week} --stage sft_dataset"
    assert job_of(entry["next"].split()[-1]) == "learn"
