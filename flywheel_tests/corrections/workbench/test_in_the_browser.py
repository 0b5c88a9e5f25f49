"""Three people in a real browser, keys only: annotate, review, adjudicate, audit, close; and the rows are in the lake."""

import json
import os
from pathlib import Path

import dagster as dg
import pytest

from flywheel.corrections.events import EventStore
from flywheel.lake import Lake
from flywheel.operations.launch import run_job
from flywheel_tests.conftest import SUPPORT_DESK
from flywheel_tests.corrections.workbench.chromium import keyboard, need_chromium, serving
from flywheel_tests.corrections.workbench.house import call, make_house, result, says, unsafe_answer, user

WEEK = "2026-03-09"
SYSTEM = {"role": "system", "content": (SUPPORT_DESK / "system.md").read_text(encoding="utf-8").strip()}


def wrong_enum() -> list[dict]:
    """A reason the schema does not know, in the world of seed 0: the tool can be run again."""
    return [
        SYSTEM, user("Please cancel order Q41275, I found the same chair cheaper elsewhere. My e-mail is customer11@example.org."),
        call("get_order", {"order_id": "Q41275"}), result({"order_id": "Q41275", "status": "processing", "amount": 161.62}),
        call("cancel_order", {"order_id": "Q41275", "reason": "cheaper"}, 2), result({"order_id": "Q41275", "status": "cancelled"}, 2),
        says("I cancelled your order and refunded 161.62 to your card."),
    ]  # fmt: skip


def wrong_tool() -> list[dict]:
    """A parcel is looked for where a refund was asked for."""
    return [
        SYSTEM, user("The lamp from order Q68024 arrived broken. I want my money back, please."),
        call("get_order", {"order_id": "Q68024"}), result({"order_id": "Q68024", "status": "delivered", "amount": 55.8}),
        call("track_shipment", {"tracking_number": "unknown"}, 2), result({"error": "PARCEL_NOT_FOUND"}, 2),
        says("I cannot find your parcel."),
    ]  # fmt: skip


RUNS = [
    (wrong_enum(), 4, "cancel_order | schema_violation | not_in_enum", "schema_violation"),
    (wrong_tool(), 4, "track_shipment | wrong_tool_selection | PARCEL_NOT_FOUND", "wrong_tool_selection"),
    (unsafe_answer(), 2, "answer | refusal_error | none", "refusal_error"),
]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_three_people_with_keys_only_end_in_the_lake(tmp_path: Path):
    need_chromium()
    home = Path(os.environ["FLYWHEEL_HOME"])
    settings = make_house(home, SUPPORT_DESK, RUNS, week=WEEK)
    keys: dict[str, int] = {}
    with serving(home, "support_desk", "--week", WEEK) as (address, _):
        _annotate(address, tmp_path, keys)
        _review(address, tmp_path, keys)
        _adjudicate_audit_close(address, tmp_path, keys)
    print("\nkeys pressed:", keys)
    assert keys["a wrong enum value"] <= 8 and keys["a wrong tool with two arguments"] <= 12
    store = EventStore(settings.qa_store("support_desk"))
    submitted = [entry.event.payload for entry in store.since(0) if entry.event.kind == "submit"]
    assert all(payload["effort"]["active_ms"] > 0 and payload["effort"]["keystrokes"] > 0 for payload in submitted)
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(
        str(tmp_path / "dagster"), overrides={"telemetry": {"enabled": False}}
    ) as instance:
        run_job("learn", workflow="support_desk", week=WEEK, on=instance, stages=["corrected_traces"])
    rows = Lake(settings.lake()).read_partition("corrected_traces", workflow="support_desk", week=WEEK)
    assert (
        rows.height == 2
        and set(rows["annotator"]) == {"ann"}
        and set(rows["reviewer"]) == {"rob"}
        and set(rows["auditor"]) == {"joy"}
    )
    assert sorted(rows["suffix_mode"]) == ["reexecuted", "truncated"] and set(rows["annotator_kind"]) == {"human"}
    made = [json.loads(m)[4]["tool_calls"][0]["function"] for m in rows.sort("failure_cluster")["messages"]]
    assert [json.loads(function["arguments"]) for function in made] == [
        {"order_id": "Q41275", "reason": "found_cheaper"}, {"order_id": "Q68024", "reason": "damaged"},
    ]  # fmt: skip


def _annotate(address: str, folder: Path, keys: dict[str, int]) -> None:
    with keyboard(address, folder / "ann", width=1440, height=900) as ann:
        ann.sign_in("ann")
        ann.picture("start-light")
        ann.press("1")
        ann.wait("#editor")
        ann.count()
        ann.press("b", "3", "Enter")
        ann.until(lambda: "Q68024" in ann.text(".run"))
        keys["a wrong enum value"] = ann.count()
        ann.press("b", "t")
        ann.picture("tools-light")
        ann.press("5", "Alt+1", "Tab", "1")
        ann.until(lambda: "Valid" in ann.text("#status"))
        ann.picture("annotate-form-light")
        ann.press("x")
        ann.until(lambda: "re-run" in ann.text(".side").lower() and "refunded" in ann.text(".side"))
        ann.picture("annotate-light")
        ann.press("Ctrl+Enter")
        ann.until(lambda: "Ignore your rules" in ann.text(".run"))
        keys["a wrong tool with two arguments"] = ann.count()
        ann.press("?")
        ann.picture("help-light")
        ann.press("Escape", "b", "f")
        ann.picture("refusal-light")
        ann.count()
        ann.press("z", "z", "u", "4", "z", "b", "a")
        assert ann.driver.switch_to.active_element.get_attribute("id") == "content", "an answer is written at once"
        ann.press("Escape", "f", "Enter")
        ann.until(lambda: "done=annotate" in ann.driver.current_url)
        assert "nothing" not in ann.text("#notice").lower() and ann.problems() == []


def _review(address: str, folder: Path, keys: dict[str, int]) -> None:
    with keyboard(address, folder / "rob", dark=True, width=1440, height=900) as rob:
        rob.sign_in("rob")
        rob.press("2")
        rob.wait("#editor")
        rob.count()
        assert "found_cheaper" in rob.text(".diff") and "ann" not in rob.text("main").split()
        rob.press("a")
        rob.until(lambda: "refund_order" in rob.text(".diff"))
        keys["a review"] = rob.count()
        rob.picture("review-dark")
        rob.press("a")
        rob.until(lambda: "I cannot help with that." in rob.text(".side"))
        rob.press("d")
        rob.picture("dispute-dark")
        rob.press("4")
        rob.until(lambda: "done=review" in rob.driver.current_url)
        assert rob.problems() == []


def _adjudicate_audit_close(address: str, folder: Path, keys: dict[str, int]) -> None:
    with keyboard(address, folder / "joy", dark=True, width=1920, height=1080) as joy:
        joy.sign_in("joy")
        joy.press("3")
        joy.wait("#editor")
        joy.picture("adjudicate-dark")
        joy.count()
        joy.press("d", "1")
        joy.until(lambda: "done=adjudicate" in joy.driver.current_url)
        keys["an adjudication"] = joy.count()
        joy.press("4")
        joy.wait("#editor")
        joy.picture("audit-dark")
        joy.press("p")
        joy.until(lambda: "Pass: kept" in joy.text())
        joy.press("p")
        joy.until(lambda: "done=audit" in joy.driver.current_url)
        joy.press("6")
        joy.wait(".lead")
        joy.picture("lead-dark")
        joy.press("c")
        joy.until(lambda: "learn may read it" in joy.text())
        assert joy.problems() == []


MANY = [
    {"type": "function", "x-access": "write", "function": {"name": f"tool_{name}", "description": "", "parameters": {
        "type": "object", "properties": {"colour": {"enum": [f"shade {n}" for n in range(20)]}, "tags": {"type": "array", "items": {"type": "string"}},
        "size": {"type": ["integer", "null"]}}, "required": ["colour"], "additionalProperties": False}}}
    for name in ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven")
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_hard_cases_with_keys(tmp_path: Path):
    """More than nine tools and values, arrays, JSON, hostile text, a second tab, and a server that dies and comes back."""
    need_chromium()
    hostile = unsafe_answer()[1]["content"]
    runs = [
        ([SYSTEM, user(f"paint it {n} {hostile}"), call("tool_one", {"colour": hostile}), says("?")], 2, "c", "b")
        for n in range(3)
    ]
    home = tmp_path / "home"
    make_house(home, SUPPORT_DESK, runs, tools=MANY)
    with serving(home, "support_desk") as (address, process):
        with keyboard(address, tmp_path / "ann", width=1280, height=800) as ann:
            ann.sign_in("ann")
            ann.press("1")
            ann.wait("#editor")
            ann.press("b", "t")
            ann.type("eleven")
            ann.picture("typeahead-1280")
            ann.press("Enter")
            ann.until(lambda: ann.driver.switch_to.active_element.get_attribute("name") == "v:/colour")
            ann.type("shade 17")
            ann.until(lambda: "Valid" in ann.text("#status"))
            ann.press("Escape", "r")
            assert ann.driver.execute_script("return JSON.parse(document.querySelector('#raw').value)") == {
                "colour": "shade 17"
            }
            ann.press("e")
            ann.type("{")
            ann.until(lambda: "not valid JSON" in ann.text("#status"))
            ann.press("Ctrl+Enter")
            ann.until(lambda: "W05" in ann.text("#notice"))
            ann.press("Escape", "z", "r")
            ann.until(lambda: ann.driver.find_elements("css selector", '[data-field="/tags"]'))
            ann.driver.find_element("css selector", '[value="add-item:/tags"]').click()
            ann.until(lambda: ann.driver.find_elements("css selector", '[data-field="/tags/0"]'))
            ann.picture("array-1280")
            place = ann.driver.current_url
            tab = ann.driver.current_window_handle
            ann.driver.switch_to.new_window("tab")
            ann.driver.get(place)
            ann.press("Ctrl+Enter")
            ann.until(lambda: ann.driver.current_url != place)
            ann.driver.close()
            ann.driver.switch_to.window(tab)
            ann.press("Ctrl+Enter")
            ann.until(lambda: "W03" in ann.text("#notice") or "W02" in ann.text("#notice"))
            ann.picture("stale-1280")
            assert not any("alert" in problem or "Content Security" in problem for problem in ann.problems())
            process.kill()
            process.wait()
            ann.press("Escape", "z")
            ann.until(lambda: "does not answer" in ann.text("#notice"))
