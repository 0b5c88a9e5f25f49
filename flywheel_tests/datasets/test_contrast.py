"""Contrast drafts: made from the tools alone, edited and signed by people, taken whole or not at all."""

import json
from pathlib import Path

import pytest
import yaml

from flywheel.datasets.contrast import FOLDER, contrasts, take_ready, write_contrasts
from flywheel.datasets.demonstrations import read_demonstrations
from flywheel.demo.week import lay_out_pack
from flywheel.errors import FlywheelError
from flywheel.workflows.loader import load_pack
from flywheel.workflows.pack import Pack

DOOR = Path(__file__).parent.parent / "packs" / "door"


@pytest.fixture
def door(tmp_path: Path) -> Pack:
    lay_out_pack(DOOR, tmp_path / "door")
    return load_pack(tmp_path / "door")


def edit(file: Path, **changes) -> None:
    values = {**yaml.safe_load(file.read_text()), **changes}
    file.write_text("".join(f"{name}: {json.dumps(value)}\n" for name, value in values.items()))


def test_both_sides_of_a_confusion_are_drafted_with_calls_the_tools_accept(door: Pack):
    one, other = contrasts(door.tools, "open_door", "close_door", 7)
    assert (one.calls[0]["name"], other.calls[0]["name"]) == ("open_door", "close_door") and "7 times" in one.about
    silent = contrasts(door.tools, "no call", "open_door", 1)[0]
    assert silent.calls == [] and silent.reply and silent.reply.startswith("EDIT:")
    files = write_contrasts(door, [one, other, silent])
    assert len(files) == 3 and write_contrasts(door, [one]) == [], "a draft that is there is a person's"
    with pytest.raises(FlywheelError, match="EDIT"):
        edit(files[0], ready=True)
        take_ready(door)


def test_a_signed_draft_becomes_a_demonstration_and_a_wrong_one_leaves_nothing(door: Pack):
    good, bad = write_contrasts(door, contrasts(door.tools, "open_door", "close_door", 1))
    signed = {"ready": True, "annotator": "ann", "reviewer": "bob", "user": "let me in by the red door"}
    call = {"name": "open_door", "arguments": {"door": "red"}}
    edit(good, **signed, calls=[call])
    edit(bad, **signed, calls=[{"name": "close_door", "arguments": {"door": 5}}])
    with pytest.raises(FlywheelError, match="call of close_door"):
        take_ready(door)
    assert good.is_file() and not (door.folder / "demonstrations" / "contrast.jsonl").exists()
    edit(bad, reviewer="ann", calls=[call])
    with pytest.raises(FlywheelError, match="both wrote and accepted"):
        take_ready(door)
    edit(bad, ready=False)
    assert take_ready(door) == (["open_door-not-close_door"], ["close_door-not-open_door"])
    (row,) = read_demonstrations(door.folder / "demonstrations")
    assert (row["annotator"], row["reviewer"], row["qa_mode"], row["source"]) == ("ann", "bob", "two", "person")
    assert json.loads(row["messages"])[1]["content"] == "let me in by the red door" and not good.exists()


@pytest.mark.parametrize(
    "changes", [{"calls": [], "reply": None}, {"reply": "both"}, {"calls": ["open_door"]}, {"user": None}]
)
def test_a_draft_that_is_no_demonstration_is_told_where(door: Pack, changes: dict):
    file = write_contrasts(door, contrasts(door.tools, "open_door", "close_door", 1))[0]
    edit(file, **{"ready": True, "annotator": "ann", "reviewer": "bob", "user": "open it", **changes})
    with pytest.raises(FlywheelError) as told:
        take_ready(door)
    assert str(file) in str(told.value)
    file.write_text("ready: yes\n")
    with pytest.raises(FlywheelError, match="has the keys"):
        take_ready(door)
    assert FOLDER.as_posix() in str(file)


@pytest.mark.parametrize("changes", [{"reviewer": ""}, {"reviewer": None}, {"reviewer": "Ann "}, {"annotator": " "}])
def test_a_draft_that_two_people_did_not_sign_is_told_and_stays(door: Pack, changes: dict):
    file = write_contrasts(door, contrasts(door.tools, "open_door", "close_door", 1))[0]
    call = {"name": "open_door", "arguments": {"door": "red"}}
    edit(file, **{"ready": True, "annotator": "ann", "reviewer": "bob", "user": "open it", "calls": [call], **changes})
    with pytest.raises(FlywheelError) as told:
        take_ready(door)
    assert str(file) in str(told.value) and file.is_file()
    assert not (door.folder / "demonstrations" / "contrast.jsonl").exists()


def test_whatever_stops_the_taking_leaves_the_file_as_it_was(door: Pack, monkeypatch: pytest.MonkeyPatch):
    file = write_contrasts(door, contrasts(door.tools, "open_door", "close_door", 1))[0]
    call = {"name": "open_door", "arguments": {"door": "red"}}
    signed = {"ready": True, "annotator": "ann", "reviewer": "bob", "calls": [call]}
    edit(file, **signed, user="open it")
    taken = door.folder / "demonstrations" / "contrast.jsonl"
    with monkeypatch.context() as stopped:
        stopped.setattr("flywheel.datasets.contrast.read_demonstrations", interrupted)
        with pytest.raises(KeyboardInterrupt):
            take_ready(door)
        assert file.is_file() and not taken.exists()
    take_ready(door)
    before = taken.read_text()
    file = write_contrasts(door, contrasts(door.tools, "open_door", "close_door", 1))[0]
    edit(file, **signed, user="let me in")
    (taken.parent / "other.jsonl").write_text(json.dumps({**json.loads(before), "messages": None}))
    with pytest.raises(FlywheelError, match="other.jsonl:1"):
        take_ready(door)
    assert taken.read_text() == before and file.is_file()


def interrupted(folder: Path):
    raise KeyboardInterrupt
