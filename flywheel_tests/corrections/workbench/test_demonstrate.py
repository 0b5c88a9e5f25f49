"""The demonstrate pages: an expert writes the right run from a prompt, with the pack's tools, before there is any batch."""

import json
from pathlib import Path
from typing import Any

import pytest

from flywheel.corrections.workbench.server import make_app, make_workbench
from flywheel.datasets.week_zero.cells import Cell
from flywheel.datasets.week_zero.ledger import Standing, ledger_of, lot_of
from flywheel.demo.week import lay_out_pack
from flywheel.errors import FlywheelError
from flywheel.operations.demonstrations import pack_prompts
from flywheel.settings import Settings
from flywheel.workflows.loader import load_pack
from flywheel_tests.corrections.workbench.browser import Visitor, fields_of
from flywheel_tests.corrections.workbench.chromium import keyboard, need_chromium, serving
from flywheel_tests.datasets.samples import called, said
from flywheel_tests.datasets.week_zero.shown import conversation

DOOR = Path(__file__).parents[2] / "packs" / "door"
DOORS = ("red", "green", "blue", "gold")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A home with the door pack, two tasks and no batch: one in a world with a jammed door, one with a recorded run."""
    found = Settings(home=tmp_path)
    lay_out_pack(DOOR, found.workflows() / "door")
    pack = load_pack(found.workflows() / "door")
    run = conversation(
        pack,
        "the green one",
        called("open_door", door="green"),
        said("Open."),
        result='{"door": "green", "state": "open"}',
    )
    tasks = [
        {"id": "a jam / 1", "messages": [{"role": "user", "content": "open the red door"}], "replies": ["then the blue one"],
         "environment": {"seed": 1, "overrides": {"jammed": ["red"]}}},
        {"id": "as recorded", "messages": [{"role": "user", "content": "the green one"}], "recorded": run},
    ]  # fmt: skip
    (pack.folder / "tasks.jsonl").write_text("".join(json.dumps(task) + "\n" for task in tasks))
    return found


class Expert(Visitor):
    """Somebody who demonstrates."""

    def __init__(self, settings: Settings, name: str) -> None:
        pack = load_pack(settings.workflows() / "door")
        super().__init__(make_app(make_workbench(settings, "door", demonstrations=pack_prompts(settings, pack))), name)
        self.place = ""

    def open(self) -> str:
        """The next prompt; where it leads."""
        self.place = self.http.post("/demonstrate/next", data={"csrf": self.csrf}).headers["location"]
        self.page = self.http.get(self.place).text
        return self.place

    def does(self, op: str, **typed: str) -> Any:
        """One command, or `submit`."""
        path, more = ("submit", {}) if op == "submit" else ("edit", {"op": op})
        headers = {} if op == "submit" else {"hx-request": "true"}
        answer = self.http.post(f"{self.place}/{path}", data={**fields_of(self.page), **typed, **more}, headers=headers)
        if answer.status_code == 200:
            self.page = answer.text
        return answer

    def opens(self, door: str) -> Any:
        """Write a call and run it."""
        assert self.does("tool:open_door").status_code == 200
        return self.does("again", **{"s:/door": "given", "v:/door": str(DOORS.index(door))})


def standings(settings: Settings) -> list[Standing]:
    folder = settings.workflows() / "door"
    return lot_of(ledger_of(settings.bootstrap(), folder), load_pack(folder)).standings


def test_a_run_is_shown_step_by_step_in_its_own_world(settings: Settings):
    ann = Expert(settings, "ann")
    assert "Demonstrate" in ann.http.get("/").text and "a jam / 1" in ann.http.get("/demonstrate").text
    ann.open()
    assert (
        "open the red door" in ann.page
        and "further things the person says: 1" in ann.page
        and "not fixable" not in ann.page
    )
    assert ann.does("submit").status_code == 422, "nothing is written yet"
    assert "JAMMED" in ann.opens("red").text
    assert "then the blue one" in ann.does("again", content="The red door is jammed. Another one?").text
    assert "&#34;open&#34;" in ann.opens("blue").text
    assert ann.does("again", content="It is open.").status_code == 409, "the person says nothing further"
    again = Expert(settings, "ann")
    again.place, again.page = ann.place, again.http.get(ann.place).text
    assert "It is open." in again.page, "what was typed outlives the server"
    assert again.does("submit").status_code == 303
    (one,) = standings(settings)
    assert (one.status, one.cell, one.writes, one.row["annotator"]) == (
        "second",
        Cell("recovery", "open_door"),
        True,
        "ann",
    )
    assert [message["role"] for message in one.row["messages"]] == ["system", "user", "assistant", "tool", "assistant", "user", "assistant", "tool",
                                                                     "assistant"]  # fmt: skip
    assert one.row["trains_from"] == 2 and one.row["task"] == "a jam / 1" and one.row["source"] == "person"
    assert ann.http.get(ann.place).status_code == 409, "nobody shows a prompt twice"
    assert Expert(settings, "bob").open() != ann.place


def test_recorded_results_are_said_again_and_a_single_step_is_enough(settings: Settings):
    ann = Expert(settings, "ann")
    ann.open()
    ann.opens("red")
    ann.does("undo")
    second = next(
        line.split('"')[0] for line in ann.http.get("/demonstrate").text.split('href="')[1:] if "as recorded" in line
    )
    ann.place, ann.page = second, ann.http.get(second).text
    assert ann.opens("gold").status_code == 409, "no result of this very call was recorded"
    assert "&#34;green&#34;" in ann.opens("green").text
    assert ann.does("submit", content="The green one is open.").status_code == 303
    ann.place, ann.page = second, ""
    single = Expert(settings, "bob")
    single.place, single.page = second, single.http.get(second).text
    single.does("tool:open_door")
    assert single.does("submit", **{"s:/door": "given", "v:/door": "1"}).status_code == 303
    rows = [one.row for one in standings(settings)]
    assert [row["annotator"] for row in rows] == ["ann", "bob"] and rows[1]["messages"][-1]["tool_calls"]


def test_a_structured_answer_is_shown_in_its_form(settings: Settings):
    folder = settings.workflows() / "door"
    (folder / "responses").mkdir()
    schema = {"type": "object", "properties": {"state": {"enum": ["open", "shut"]}}, "required": ["state"]}
    (folder / "responses" / "door.json").write_text(json.dumps(schema))
    with (folder / "workflow.yaml").open("a") as file:
        file.write("\nresponses: [{name: door, after_tools: [open_door]}]\n")
    ann = Expert(settings, "ann")
    ann.open()
    assert 'name="content"' in ann.page, "before a door was opened words are free"
    assert 'name="v:/state"' in ann.opens("red").text and 'name="content"' not in ann.page
    assert ann.does("submit").status_code == 422, "the state is missing"
    assert ann.does("submit", **{"s:/state": "given", "v:/state": "1"}).status_code == 303
    (one,) = standings(settings)
    assert one.row["messages"][-1] == said('{"state": "shut"}')


def test_what_makes_no_sense_is_refused_and_a_workbench_without_prompts_has_no_such_page(settings: Settings):
    ann = Expert(settings, "ann")
    ann.open()
    assert ann.does("mark:1").status_code == 422 and ann.does("roll").status_code == 422
    assert ann.http.get("/demonstrate/nothing").status_code == 404
    tasks = settings.workflows() / "door" / "tasks.jsonl"
    tasks.write_text('{"id": "broken"}\n')
    assert "messages" in ann.http.get("/").text and ann.http.get("/demonstrate").status_code >= 400
    with pytest.raises(FlywheelError, match="messages"):
        pack_prompts(settings, load_pack(settings.workflows() / "door"))
    tasks.unlink()
    assert pack_prompts(settings, load_pack(settings.workflows() / "door")) is None
    with pytest.raises(FlywheelError, match="no correction batch of door was opened"):
        make_workbench(settings, "door")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_expert_shows_a_run_in_a_browser_with_keys_only(settings: Settings, tmp_path: Path):
    need_chromium()
    with (
        serving(settings.home, "door") as (address, _),
        keyboard(address, tmp_path / "ann", width=1440, height=900) as ann,
    ):
        ann.sign_in("ann")
        ann.press("8")
        ann.wait("#editor")
        first = ann.driver.current_url
        ann.press("t", "1", "1", "x")
        ann.until(lambda: "JAMMED" in ann.text(".side"))
        ann.type("The red door is jammed. Another one?")
        ann.press("Escape", "x")
        ann.until(lambda: "then the blue one" in ann.text(".side"))
        ann.press("Escape", "t", "1", "3", "x")
        ann.until(lambda: '"open"' in ann.text(".side"))
        ann.type("It is open.")
        ann.picture("demonstrate-light")
        ann.press("Ctrl+Enter")
        ann.until(lambda: "/demonstrate/" in ann.driver.current_url and ann.driver.current_url != first)
        assert ann.problems() == []
    (one,) = standings(settings)
    assert one.cell == Cell("recovery", "open_door") and one.row["effort"]["active_ms"] > 0
