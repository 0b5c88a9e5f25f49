"""Running a tool again, rolling forward, and one patch for similar items."""

import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from flywheel.corrections.items import item_of
from flywheel.corrections.proposal import Proposal, auto_check
from flywheel.corrections.workbench.again import observe_again, recorded
from flywheel.corrections.workbench.forward import Model
from flywheel.corrections.workbench.rules import Refusal
from flywheel.corrections.workbench.similar import apply_patch, patch_of
from flywheel.errors import FlywheelError
from flywheel.privacy.egress import is_loopback
from flywheel.workflows.guesses import Guess, answer, write_guesses
from flywheel.workflows.loader import load_pack
from flywheel.workflows.pack import Pack
from flywheel_tests.corrections.workbench.house import call, item_row, result, says, user, wrong_enum

DOOR = Path(__file__).parent.parent.parent / "packs" / "door"


@pytest.fixture(scope="module")
def door() -> Pack:
    return load_pack(DOOR)


def opened(door: str, number: int = 1) -> list[dict[str, Any]]:
    return [call("open_door", {"door": door}, number), result({"door": door, "state": "open"}, number)]


def test_the_tool_is_run_again_where_the_environment_is_the_runs_world(door: Pack):
    run = [
        user("red, then blue"),
        *opened("red"),
        call("open_door", {"door": "gold"}, 2),
        result({"door": "gold", "state": "open"}, 2),
    ]
    found = observe_again(door, door.tools, run, run[:3], call("close_door", {"door": "red"}, 2))
    assert found.origin == "reexecuted" and json.loads(found.results[0]["content"]) == {
        "door": "red",
        "state": "closed",
    }
    assert found.results[0]["tool_call_id"] == "call_2"


def test_another_world_is_refused_and_a_recorded_result_is_taken(door: Pack):
    jammed = [
        user("red"),
        call("open_door", {"door": "red"}),
        result({"error": "JAMMED"}),
        call("close_door", {"door": "red"}, 2),
        result({"error": "JAMMED"}, 2),
    ]
    with pytest.raises(Refusal, match="not this run's world"):
        observe_again(door, door.tools, jammed, jammed[:3], call("open_door", {"door": "blue"}, 2))
    found = observe_again(door, door.tools, jammed, jammed[:3], call("close_door", {"door": "red"}, 9))
    assert found.origin == "recorded" and found.results[0]["tool_call_id"] == "call_9"


def test_a_world_that_nothing_shows_to_be_the_runs_is_refused(door: Pack):
    with pytest.raises(Refusal, match="recorded no result"):
        observe_again(door, door.tools, [user("red"), says("no")], [user("red")], call("open_door", {"door": "red"}))


def test_a_recorded_result_beyond_a_write_is_not_taken(pack: Pack):
    read, write = (
        call("get_order", {"order_id": "R1"}, 3),
        call("cancel_order", {"order_id": "R1", "reason": "other"}, 2),
    )
    run = [user("x"), write, result({"status": "cancelled"}, 2), read, result({"status": "cancelled"}, 3)]
    assert recorded(pack.tools, run, run[:1], read) is None, "a write lies between"
    assert recorded(pack.tools, run, run[:3], read) is not None
    with pytest.raises(Refusal, match="calls no tool"):
        observe_again(pack, pack.tools, run, run[:1], says("hm"))


def test_a_tool_that_is_read_only_by_a_guess_alone_is_taken_to_write(pack: Pack, tmp_path: Path):
    folder = Path(shutil.copytree(pack.folder, tmp_path / "desk", ignore=shutil.ignore_patterns("environment.py")))
    looks, read = call("track_shipment", {"tracking_number": "T1"}, 2), call("get_order", {"order_id": "R1"}, 3)
    run = [user("x"), looks, result({"status": "late"}, 2), read, result({"status": "open"}, 3)]
    assert observe_again(load_pack(folder), pack.tools, run, run[:1], read).origin == "recorded"
    write_guesses(folder, [Guess("t.x-access", "tools.json", ("track_shipment", "x-access"), "read_only", True, "")])
    with pytest.raises(Refusal, match="no result of this very call"):
        observe_again(load_pack(folder), pack.tools, run, run[:1], read)
    answer(folder, ["t.x-access"], by="ann", confirm=True)
    assert observe_again(load_pack(folder), pack.tools, run, run[:1], read).origin == "recorded"


def test_only_this_machine_may_be_asked():
    assert (
        is_loopback("127.0.0.1")
        and is_loopback("::1")
        and is_loopback("localhost")
        and not is_loopback("127.0.0.1.evil.org")
    )
    with pytest.raises(FlywheelError, match="leave the building"):
        Model("https://api.example.com/v1")


def test_the_model_goes_on_and_a_broken_server_is_said(pack: Pack):
    asked: list[dict[str, Any]] = []

    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._say({"data": [{"id": "candidate"}]})

        def do_POST(self) -> None:
            asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            function = {"name": "get_order", "arguments": '{"order_id": "R1"}'}
            self._say({"choices": [{"message": {"content": None, "tool_calls": [{"id": "z", "function": function}]}}]})

        def _say(self, value: Any) -> None:
            body = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    model = Model(f"http://127.0.0.1:{server.server_port}/v1")
    message = model.next_step([user("R1?")], pack.tools)
    assert message["tool_calls"][0]["function"]["name"] == "get_order" and asked[0]["model"] == "candidate"
    assert "x-access" not in json.dumps(asked[0]["tools"]), "our own keys are nobody's business"
    server.shutdown()
    server.server_close()
    with pytest.raises(Refusal, match="W14"):
        model.next_step([user("R1?")], pack.tools)


def items(pack: Pack) -> list[Any]:
    others = [wrong_enum("R2"), wrong_enum("R3"), [*wrong_enum("R4")[:4], call("cancel_order", {"order_id": "R4", "reason": "pricey"}, 2)],
              [*wrong_enum("R5")[:4], call("get_order", {"order_id": "R5"}, 2)]]  # fmt: skip
    return [item_of(item_row(n, run, 4, "c", "b", pack.tools)) for n, run in enumerate(others)]


def test_a_patch_fits_only_the_same_mistake_of_the_same_tool(pack: Pack):
    run = wrong_enum("R1")
    right = call("cancel_order", {"order_id": "R1", "reason": "found_cheaper"}, 2)
    patch = patch_of(run, Proposal(4, [*run[:4], right], [4]))
    assert patch
    made = [apply_patch(patch, item) for item in items(pack)]
    assert [one is not None for one in made] == [True, True, False, False]
    assert made[0] and json.loads(made[0].messages[4]["tool_calls"][0]["function"]["arguments"]) == {
        "order_id": "R2",
        "reason": "found_cheaper",
    }
    assert auto_check(made[0], items(pack)[0].messages, pack.tools) == []


def test_an_id_is_no_patch_for_others_and_an_answer_is(pack: Pack):
    run = wrong_enum("R1")
    other_id = patch_of(
        run, Proposal(4, [*run[:4], call("cancel_order", {"order_id": "R9", "reason": "other"}, 2)], [4])
    )
    assert other_id and apply_patch(other_id, items(pack)[0]) is None
    answer = patch_of(run, Proposal(4, [*run[:4], says("No.")], [4]))
    assert answer and (made := apply_patch(answer, items(pack)[0])) and made.messages[4]["content"] == "No."
    assert patch_of([user("x"), says("a")], Proposal(1, [user("x"), says("b")], [1])) is None
