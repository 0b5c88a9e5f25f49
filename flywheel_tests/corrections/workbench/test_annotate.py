"""The page on which a run is corrected: drafts, live checks, forms of every schema, the same patch for similar items."""

import json
import re
from typing import Any

from flywheel.corrections.workbench.call import Workbench
from flywheel.corrections.workbench.server import make_app, make_workbench
from flywheel.settings import Settings
from flywheel_tests.conftest import SUPPORT_DESK
from flywheel_tests.corrections.workbench.browser import RIGHT, Visit, Visitor
from flywheel_tests.corrections.workbench.house import (
    HOSTILE,
    call,
    make_house,
    says,
    user,
    wrong_enum,
)


def test_a_draft_survives_the_server(visitor: Visit, settings: Settings):
    ann = visitor("ann")
    item = ann.take()
    ann.edit("mark:4", **RIGHT)
    ann.http.post(f"/annotate/{item}/fields", data={**ann.form(), **RIGHT}, headers={"hx-request": "true"})
    again = Visitor(make_app(make_workbench(settings, "support_desk")), "ann")
    assert again.take() == item and again.form()["v:/reason"] == "2"


def test_live_validation_says_what_the_automatic_check_will_say(visitor: Visit):
    ann = visitor("ann")
    item = ann.take()
    ann.edit("mark:4")

    def live(**fields: str) -> str:
        data = {**ann.form(), **fields}
        return ann.http.post(f"/annotate/{item}/fields", data=data, headers={"hx-request": "true"}).text

    assert "is not one of" in live() and 'class="invalid"' in live()
    assert 'class="valid"' in live(**RIGHT)
    refused = ann.submit(**{"s:/reason": "given", "v:/reason": "2", "s:/order_id": "given", "v:/order_id": "x"})
    assert refused.status_code == 303
    ann.take()
    ann.edit("mark:4")
    refused = ann.submit()
    assert refused.status_code == 422 and "W05" in refused.text


def test_a_megabyte_is_clipped_and_shown_on_request(settings: Settings):
    long = "a" * 999_990 + HOSTILE
    make_house(
        settings.home,
        SUPPORT_DESK,
        [([user(long), call("get_order", {"order_id": long}), says("?")], 1, "c", "b")],
        workflow="long_desk",
    )
    ann = Visitor(make_app(make_workbench(settings, "long_desk")), "ann")
    item = ann.take()
    assert len(ann.page) < 60_000 and f"{len(long):,} characters" in ann.page and "Show all" in ann.page
    whole = ann.http.get(f"/annotate/{item}/text?message=0").text
    assert len(whole) > 999_000 and "<script>" not in whole
    ann.edit("mark:1")
    assert len(ann.page) < 90_000 and "kept as it is" in ann.page
    changed = ann.edit("tool:track_shipment")
    assert changed.status_code == 200 and ann.edit("undo").status_code == 200
    assert ann.form()["s:/order_id"] == "keep"


def test_a_schema_the_form_cannot_draw_is_written_as_json_and_validated(settings: Settings):
    odd = {"type": "function", "x-access": "write", "function": {"name": "odd", "parameters": {
        "type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}], "additionalProperties": {"type": "integer"}}}}  # fmt: skip
    make_house(
        settings.home,
        SUPPORT_DESK,
        [([user("x"), call("odd", "{broken"), says("?")], 1, "c", "b")],
        workflow="odd_desk",
        tools=[odd],
    )
    ann = Visitor(make_app(make_workbench(settings, "odd_desk")), "ann")
    ann.take()
    ann.edit("mark:1")
    assert "Arguments as JSON" in ann.page and ann.form()["raw"] == "{broken"
    for wrong in ("{broken", "[]", '{"a": "x"}', '{"c": 1}', '{"a": 1, "b": 2}'):
        assert ann.submit(raw=wrong).status_code == 422
        ann.page = ann.http.get(f"/annotate/{ann.item}").text
        assert json.loads(json.dumps(ann.form()["raw"])) in (
            wrong,
            json.dumps(json.loads(wrong), indent=2) if wrong != "{broken" else wrong,
        )
    assert ann.submit(raw='{"a": 1}').status_code == 303


def test_arrays_and_nested_objects_are_drawn_and_grown(settings: Settings):
    tool = {"type": "function", "x-access": "write", "function": {"name": "pack", "parameters": {"type": "object", "properties": {
        "items": {"type": "array", "items": {"type": "object", "properties": {"sku": {"type": "string"}, "n": {"type": "integer"}}, "required": ["sku"]}},
        "to": {"type": "object", "properties": {"zip": {"type": "string"}}, "required": ["zip"]}}, "required": ["items"]}}}  # fmt: skip
    make_house(
        settings.home,
        SUPPORT_DESK,
        [([user("x"), call("pack", {"items": 3}), says("?")], 1, "c", "b")],
        workflow="pack_desk",
        tools=[tool],
    )
    bench = make_workbench(settings, "pack_desk")
    ann = Visitor(make_app(bench), "ann")
    item = ann.take()
    ann.edit("mark:1")
    assert ann.form()["s:/items"] == "keep"
    ann.edit("tool:pack", **{"s:/items": "given", "n:/items": "0"})
    ann.edit("add-item:/items")
    ann.edit("add-item:/items", **{"v:/items/0/sku": "A1", "s:/items/0/n": "given", "v:/items/0/n": "2"})
    ann.edit("remove-item:/items/1")
    assert ann.submit(**{"s:/to": "given", "s:/to/zip": "given", "v:/to/zip": "10115"}).status_code == 303
    proposal = bench.desk.place(item).state.proposal
    made = json.loads(proposal["messages"][1]["tool_calls"][0]["function"]["arguments"]) if proposal else None
    assert made == {"items": [{"sku": "A1", "n": 2}], "to": {"zip": "10115"}}


def test_a_command_for_an_element_that_is_gone_changes_nothing(settings: Settings):
    def tool(name: str, **properties: Any) -> dict[str, Any]:
        parameters = {"type": "object", "properties": properties}
        return {"type": "function", "x-access": "write", "function": {"name": name, "parameters": parameters}}

    words = {"type": "array", "items": {"type": "string"}}
    nested = {"type": "object", "properties": {"tags": words}}
    tools = [tool("pack", items=words, note=nested), tool("track", number={"type": "string"})]
    run = ([user("x"), call("pack", {"items": ["a"]}), says("?")], 1, "c", "b")
    make_house(settings.home, SUPPORT_DESK, [run], workflow="pack_desk", tools=tools)
    ann = Visitor(make_app(make_workbench(settings, "pack_desk")), "ann")
    ann.take()
    ann.edit("mark:1")
    for _ in range(2):
        assert ann.edit("remove-item:/items/0").status_code == 200, "pressed twice"
        assert ann.form()["n:/items"] == "0"
    assert ann.edit("add-item:/note/tags").status_code == 200 and ann.form()["n:/note/tags"] == "1", (
        "in what was absent"
    )
    before = ann.form()
    for gone in ("remove-item:/items/x", "remove-item:/none/0", "remove-item:", "add-item:", "add-item:/items/0", "add-item:/none/0/x",
                 f"remove-item:/items/{'9' * 5000}"):  # fmt: skip
        assert ann.edit(gone).status_code == 200 and ann.form() == before, gone
    ann.edit("tool:track")
    before = ann.form()
    for gone in ("remove-item:/items/0", "add-item:/items", "add-item:/note/tags", "remove-item:/note"):
        assert ann.edit(gone).status_code == 200 and ann.form() == before, gone


def test_the_same_patch_for_similar_items(settings: Settings):
    runs = [(wrong_enum(f"R{n}"), 4, "cluster", "schema_violation") for n in range(5)]
    make_house(settings.home, SUPPORT_DESK, runs, workflow="many_desk")
    bench = make_workbench(settings, "many_desk")
    ann = Visitor(make_app(bench), "ann")
    item = ann.take()
    ann.edit("mark:4")
    listed = ann.http.post(f"/annotate/{item}/similar", data={**ann.form(), **RIGHT}).text
    others = re.findall(r'name="tick" value="(\w+)"', listed)
    assert len(others) == 4
    done = ann.http.post(f"/annotate/{item}/submit", data={**ann.form(), **RIGHT, "similar": "1", "tick": others[:3]})
    assert done.status_code == 303 and bench.desk.refresh().counts() == {"auto_checked": 4, "claimed": 1}
    rob = Visitor(make_app(bench), "rob")
    for _ in range(4):
        assert rob.take("review") and rob.decide("review", "accept").status_code == 303
    assert rob.take("review") == ""


def test_effort_is_kept_with_the_events_and_nonsense_is_not(visitor: Visit, bench: Workbench):
    ann = visitor("ann")
    item = ann.take()
    ann.edit("mark:4")
    told = {"active_ms": 4200, "keystrokes": 5, "first_edit_ms": -3, "opened_at": "2026-01-06T10:00:00Z", "extra": "x"}
    ann.submit(**RIGHT, effort=json.dumps(told))
    proposal = bench.desk.place(item).state.proposal
    assert proposal and proposal["effort"] == {"active_ms": 4200, "keystrokes": 5, "opened_at": "2026-01-06T10:00:00Z"}
