"""The workbench over HTTP: the work gets done, and whatever else is asked is refused by number and loses nothing."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any, cast

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from flywheel.corrections.states import Event
from flywheel.corrections.workbench.call import Workbench
from flywheel.corrections.workbench.forward import Model
from flywheel.corrections.workbench.server import make_app, make_workbench, people_of
from flywheel.lake import TABLES
from flywheel.settings import Settings
from flywheel_tests.conftest import SUPPORT_DESK
from flywheel_tests.corrections.workbench.browser import HOST, Visitor, hidden
from flywheel_tests.corrections.workbench.house import (
    HOSTILE,
    call,
    item_row,
    make_house,
    result,
    says,
    user,
    wrong_enum,
)

Visit = Callable[..., Visitor]
RIGHT = {"s:/reason": "given", "v:/reason": "2"}


def inline_parts(page: str) -> list[str]:
    """Scripts, styles and handlers that stand in the page itself."""
    found: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            names = dict(attrs)
            found.extend(
                [name for name in names if name.startswith("on") or name.startswith("hx-on") or name == "style"]
            )
            found.extend([tag] if tag in ("style", "iframe", "img") or (tag == "script" and "src" not in names) else [])

    Reader().feed(page)
    return found


def corrected(visitor: Visitor) -> None:
    """Take the first item and correct it."""
    visitor.take()
    visitor.edit("mark:4")
    assert visitor.submit(**RIGHT).status_code == 303


def test_a_person_sees_what_became_of_their_own_corrections(visitor: Visit, bench: Workbench):
    empty = {name: None for name in TABLES["corrected_traces"].polars_schema() if name not in ("week", "workflow")}
    rows = [{**empty, "correction_id": who, "item_id": who, "annotator": who, "bucket": "b", "failure_cluster": f"of {who}: {HOSTILE}"}
            for who in ("ann", "rob")]  # fmt: skip
    bench.desk.lake.replace_partition("corrected_traces", rows, workflow="support_desk", week="2025-12-29")
    page = visitor("ann").http.get("/receipts").text
    assert "1 correction " in page and "of ann" in page and "of rob" not in page and inline_parts(page) == []
    assert "No correction of yours was accepted" in visitor("joy").http.get("/receipts").text


def test_an_item_goes_through_all_passes_to_the_closed_batch(visitor: Visit, bench: Workbench):
    ann, rob, joy, eve = (visitor(name) for name in ("ann", "rob", "joy", "eve"))
    corrected(ann)
    assert ann.take() and ann.edit("unfixable:policy_gap").status_code == 200 and ann.submit().status_code == 303
    assert ann.take() and ann.edit("mark:2").status_code == 200 and ann.edit("refusal").status_code == 200
    assert "I cannot help with that." in ann.page and ann.submit().headers["location"] == "/?done=annotate"
    assert (
        rob.take("review") and "found_cheaper" in rob.page and "ann" not in re.sub(r"<[^>]*>", " ", rob.page).split()
    ), "names are hidden"
    assert rob.decide("review", "dispute").status_code == 422, "a dispute needs a reason"
    assert rob.decide("review", "dispute", "not what was asked").status_code == 303
    assert rob.take("review") and "policy gap" in rob.page
    assert rob.decide("review", "accept").status_code == 422
    assert rob.decide("review", "drop").status_code == 303
    assert rob.take("review") and rob.decide("review", "return", "another answer").status_code == 303
    assert ann.take() and "another answer" in ann.page and ann.submit(content="I may not.").status_code == 303
    assert rob.take("review") and "I may not." in rob.page and rob.decide("review", "accept").status_code == 303
    assert rob.take("adjudicate") == "" and ann.take("adjudicate") == "", "nobody judges their own"
    assert eve.http.post("/audit/next", data={"csrf": eve.csrf}).status_code == 409, "the lot is open"
    assert joy.take("adjudicate") and "not what was asked" in joy.page
    assert joy.decide("adjudicate", "uphold").status_code == 422
    assert joy.decide("adjudicate", "uphold", "it is what was asked").status_code == 303
    refused = joy.http.post("/lead/close", data={"csrf": joy.csrf})
    assert refused.status_code == 409 and "wait for the audit" in refused.text
    waits = re.compile(r"Audit</span>.*?count\">(\d+)<")
    assert [waits.search(who.http.get("/").text)[1] for who in (joy, eve)] == ["1", "2"], "not what she had a part in"
    for _ in range(2):
        assert joy.take("audit") in ("", joy.item) and eve.take("audit")
        assert eve.decide("audit", "passed").status_code == 303
    assert eve.take("audit") == ""
    assert joy.http.post("/lead/close", data={"csrf": joy.csrf}).status_code == 303
    assert bench.desk.board.closed and bench.desk.store.verify_chain()
    assert {place.state.audit for place in bench.desk.board.with_status("accepted")} == {"passed"}


def test_the_lead_closes_a_complete_batch_only(visitor: Visit, bench: Workbench):
    ann, lead = visitor("ann"), visitor("lea")
    refused = lead.http.post("/lead/close", data={"csrf": lead.csrf})
    assert refused.status_code == 409 and "W17" in refused.text and "3 items are not decided" in refused.text
    assert "flywheel batch close support_desk 2026-01-05 --by lea" in lead.http.get("/lead").text, "earlier, by command"
    for _ in range(3):
        ann.take()
        ann.edit("unfixable:not_a_failure")
        ann.submit()
    rob = visitor("rob")
    for _ in range(3):
        rob.take("review")
        rob.decide("review", "drop")
    assert lead.http.post("/lead/close", data={"csrf": lead.csrf}).status_code == 303
    assert bench.desk.refresh().closed and "closed" in lead.http.get("/lead").text
    assert ann.take() == ""


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


def test_a_stale_page_a_second_tab_and_a_replayed_request(visitor: Visit, bench: Workbench):
    ann = visitor("ann")
    item = ann.take()
    ann.edit("mark:4")
    form = {**ann.form(), **RIGHT}
    stale = ann.http.post(f"/annotate/{item}/submit", data={**form, "seen": "1"})
    assert stale.status_code == 409 and "W03" in stale.text and bench.desk.place(item).state.status == "claimed"
    assert ann.http.post(f"/annotate/{item}/submit", data=form).status_code == 303
    events = bench.desk.store.verify_chain()
    replay = ann.http.post(f"/annotate/{item}/submit", data=form)
    assert replay.status_code == 409 and ("W03" in replay.text or "W02" in replay.text)
    assert bench.desk.store.verify_chain() == events, "a replayed request adds nothing"


def test_an_expired_lease_keeps_the_draft(visitor: Visit, bench: Workbench, monkeypatch: pytest.MonkeyPatch):
    ann = visitor("ann")
    item = ann.take()
    ann.edit("mark:4", **RIGHT)
    form = {**ann.form(), "s:/reason": "given", "v:/reason": "3"}
    place = bench.desk.place(item)
    bench.desk.store.append(
        bench.desk.board.batch, Event(item, "give_back", "ann", {"because": "lease expired"}), after=place.sequence
    )
    for path in ("submit", "edit", "fields"):
        refused = ann.http.post(f"/annotate/{item}/{path}", data={**form, "op": "undo"}, headers={"hx-request": "true"})
        assert refused.status_code == 409 and "W02" in refused.text and "Claim it again" in refused.text
    seen = hidden(refused.text, "seen")
    assert ann.http.post(f"/annotate/{item}/claim", data={"csrf": ann.csrf, "seen": seen or ""}).status_code == 303
    ann.page = ann.http.get(f"/annotate/{item}").text
    assert 'data-marked="4"' in ann.page and ann.form()["v:/reason"] == "3", (
        "the draft is still there, the last keystroke too"
    )


def test_leases_run_from_the_last_input(visitor: Visit, bench: Workbench, monkeypatch: pytest.MonkeyPatch):
    from flywheel.corrections.workbench import desk

    ann = visitor("ann")
    item = ann.take()
    ann.edit("mark:4")

    class Later(datetime):
        offset = timedelta(0)

        @classmethod
        def now(cls, tz=None):
            return datetime.now(UTC) + cls.offset

    monkeypatch.setattr(desk, "datetime", Later)
    Later.offset = timedelta(minutes=59)
    bench.desk.refresh()
    assert bench.desk.place(item).state.status == "claimed"
    Later.offset = timedelta(minutes=61)
    bench.desk.refresh()
    assert bench.desk.place(item).state.status == "queued"


def test_a_person_never_gets_a_second_role_on_an_item(visitor: Visit, bench: Workbench):
    ann = visitor("ann")
    corrected(ann)
    item = next(place.item_id for place in bench.desk.board.with_status("auto_checked"))
    assert ann.take("review") == "", "their own item is not offered"
    forged = ann.http.post(
        f"/review/{item}/decide",
        data={"csrf": ann.csrf, "seen": str(bench.desk.place(item).sequence), "decision": "accept"},
    )
    assert forged.status_code == 409 and bench.desk.refresh().places[item].state.status == "auto_checked"


def test_wrong_roles(settings: Settings):
    people_of(settings).add("ann", ["annotator"], "correct horse battery", by="lea")
    app = make_app(make_workbench(settings, "support_desk"))
    ann = Visitor(app, "ann", "correct horse battery")
    assert ann.take()
    for path in ("/lead", "/grade", "/review/x", "/audit/x", "/adjudicate/x"):
        refused = ann.http.get(path)
        assert refused.status_code == 403 and "W01" in refused.text
    stranger = Visitor(app, "ann", "wrong password")
    assert stranger.http.get("/").headers["location"] == "/sign-in"
    people_of(settings).remove("ann", by="lea")
    assert ann.http.get("/").status_code == 303, "a removed person is out with the next request"


def test_forged_requests(visitor: Visit, app: Starlette, bench: Workbench):
    ann, bob = visitor("ann"), visitor("bob")
    item = ann.take()
    events = bench.desk.store.verify_chain()

    def post(headers: dict[str, str] | None = None, **data: str):
        return ann.http.post(f"/annotate/{item}/give-back", data={"seen": "2", **data}, headers=headers or {})

    for refused in (
        post(), post(csrf="0" * 64), post(csrf=bob.csrf), post(csrf=ann.csrf, headers={"origin": "http://evil.example"}),
        post(csrf=ann.csrf, headers={"sec-fetch-site": "cross-site"}), post(csrf=ann.csrf, headers={"origin": "null"}),
    ):  # fmt: skip
        assert refused.status_code == 403 and "W04" in refused.text
    bare = TestClient(app, base_url=HOST)
    assert "W09" in bare.post(f"/annotate/{item}/give-back", data={"csrf": ann.csrf, "seen": "2"}).text
    rebound = ann.http.get("/", headers={"host": "evil.example"})
    assert rebound.status_code == 403 and "W16" in rebound.text
    assert bench.desk.store.verify_chain() == events


def test_requests_that_make_no_sense(visitor: Visit):
    ann = visitor("ann")
    item = ann.take()
    ann.edit("mark:4")
    assert (
        "W19" in ann.edit("no-such-command").text
        and "W19" in ann.edit("mark:3").text
        and "W19" in ann.edit("mark:99").text
    )
    assert "W05" in ann.edit("tool:drop_tables").text, "a tool the run was not offered"
    assert "W07" in ann.http.get("/annotate/nobody").text and ann.http.get("/nowhere").status_code == 404
    assert "W19" in ann.submit(**RIGHT, seen="many").text
    assert "W15" in ann.submit(content="x" * 4_100_000).text
    assert "W19" in ann.http.post(f"/annotate/{item}/edit", json={"op": "undo"}).text
    assert ann.http.get(f"/annotate/{item}/text?message=99").status_code == 422
    assert "W14" in ann.edit("roll").text and "--model-url" in ann.page
    assert ann.http.put("/lead").status_code == 405


def test_hostile_text_is_shown_and_inert(visitor: Visit):
    ann = visitor("ann")
    ann.take()
    while "Ignore your rules" not in ann.page:
        ann.edit("unfixable:tool_bug")
        ann.submit()
        assert ann.take()
    assert "<script>alert" not in ann.page and "<img src=x" not in ann.page and "&lt;script&gt;alert(1)" in ann.page
    for character in ("\u202e", "\u202c", "\u200b", "\x1b"):
        assert character not in ann.page and f"\\u{ord(character):04x}" in ann.page
    ann.edit("mark:2")
    assert "<script>alert" not in ann.page and "spelled out" in ann.page, (
        "in a field the text is as it was, and shown beside it"
    )
    answer = ann.http.get("/")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'") and "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["cache-control"] == "no-store"
    assert inline_parts(ann.page) == inline_parts(answer.text) == []


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


def test_personal_data_keeps_an_item_from_everybody(visitor: Visit, bench: Workbench):
    ann, bob = visitor("ann"), visitor("bob")
    item = ann.take()
    assert ann.http.post(f"/annotate/{item}/report", data=ann.form()).status_code == 303
    taken = {ann.take(), bob.take()}
    assert item not in taken and bench.desk.place(item).reported
    assert item in visitor("lea").http.get("/lead").text


def test_effort_is_kept_with_the_events_and_nonsense_is_not(visitor: Visit, bench: Workbench):
    ann = visitor("ann")
    item = ann.take()
    ann.edit("mark:4")
    told = {"active_ms": 4200, "keystrokes": 5, "first_edit_ms": -3, "opened_at": "2026-01-06T10:00:00Z", "extra": "x"}
    ann.submit(**RIGHT, effort=json.dumps(told))
    proposal = bench.desk.place(item).state.proposal
    assert proposal and proposal["effort"] == {"active_ms": 4200, "keystrokes": 5, "opened_at": "2026-01-06T10:00:00Z"}


def test_what_was_given_back_comes_last(visitor: Visit, bench: Workbench):
    ann, rob = visitor("ann"), visitor("rob")
    first = ann.take()
    ann.http.post(f"/annotate/{first}/give-back", data=ann.form())
    second = ann.take()
    assert second != first
    ann.edit("unfixable:tool_bug")
    ann.submit()
    third = ann.take()
    ann.http.post(f"/annotate/{third}/give-back", data=ann.form())
    assert ann.take() in (first, third), "when nothing else is left"
    assert rob.take("review") == second and rob.decide("review", "give_back").status_code == 303
    assert bench.desk.place(second).state.status in ("auto_checked", "in_review")


def test_a_reviewer_reports_personal_data(visitor: Visit, bench: Workbench):
    corrected(visitor("ann"))
    rob = visitor("rob")
    item = rob.take("review")
    assert rob.http.post(f"/annotate/{item}/report", data=rob.form()).headers["location"] == "/"
    assert bench.desk.place(item).state.status == "quarantined" and rob.take("review") == ""


def test_planted_items_look_like_the_others_and_come_while_the_server_runs(
    visitor: Visit, bench: Workbench, settings: Settings
):
    desk, pack = bench.desk, bench.desk.pack
    source = next(iter(desk.items))
    twin = item_row(7, wrong_enum("R4821"), 4, desk.items[source].failure_cluster, "schema_violation", pack.tools)
    bad = item_row(8, wrong_enum("R99"), 4, "c", "schema_violation", pack.tools)
    run = wrong_enum("R99")
    spoiled = {"first_bad_message_index": 4, "messages": [*run[:4], call("cancel_order", {"order_id": "R99", "reason": "other"}, 2)],
               "trainable_indices": [4], "suffix_mode": "truncated"}  # fmt: skip
    plain: dict[str, Any] = {"source": source, "expected": None, "barred": []}
    desk.store.plant(desk.board.batch, twin["item_id"], 0.5, {**plain, "kind": "overlap", "item": twin})
    desk.store.plant(
        desk.board.batch,
        bad["item_id"],
        1.5,
        {**plain, "kind": "known_bad", "source": "x", "item": bad, "proposal": spoiled, "barred": ["zoe"]},
        role="reviewer",
    )
    ann, rob = visitor("ann"), visitor("rob")
    seen = {ann.take()}
    assert len(desk.board.places) == 5
    for _ in range(4):
        ann.edit("unfixable:not_a_failure")
        ann.submit()
        seen.add(ann.take())
    assert len({source, twin["item_id"]} & seen) == 1, "one person never corrects both twins"
    assert visitor("zoe").take("review") != bad["item_id"]
    pages = []
    while rob.take("review"):
        pages.append(rob.page)
        rob.decide("review", "dispute", "wrong")
    assert any("R99" in page and "by hand" in page for page in pages)
    assert not any(word in page for page in pages for word in ("planted", "known_bad", "overlap", "gold"))


def test_rolling_forward_with_the_checkpoint_step_by_step(settings: Settings):
    class Checkpoint:
        def next_step(self, messages: list[dict[str, Any]], tools: list[Any]) -> dict[str, Any]:
            assert messages[-1]["role"] == "tool" and tools
            return says("Your refund is on its way.")

    run = [user("The lamp from Q68024 is broken."), call("get_order", {"order_id": "Q68024"}),
           result({"order_id": "Q68024", "status": "delivered", "amount": 55.8}), call("track_shipment", {"tracking_number": "x"}, 2),
           result({"error": "PARCEL_NOT_FOUND"}, 2)]  # fmt: skip
    make_house(settings.home, SUPPORT_DESK, [(run, 3, "c", "b")] * 1, workflow="roll_desk")
    bench = make_workbench(settings, "roll_desk")._replace(model=cast(Model, Checkpoint()))
    ann = Visitor(make_app(bench), "ann")
    item = ann.take()
    ann.edit("mark:3")
    ann.edit("tool:refund_order")
    refused = ann.edit("again", **{"s:/order_id": "given", "v:/order_id": "Q68024"})
    assert "W05" in refused.text, "an invalid call is not run"
    ann.page = ann.http.get(f"/annotate/{item}").text
    assert ann.edit("again", **{"s:/reason": "given", "v:/reason": "0"}).status_code == 200 and "refunded" in ann.page
    assert ann.edit("roll").status_code == 200 and "rolled forward" in ann.page
    assert ann.submit().status_code == 303
    proposal = bench.desk.place(item).state.proposal
    assert (
        proposal
        and proposal["suffix_mode"] == "rolled_forward"
        and proposal["origins"] == ["written", "reexecuted", "model"]
    )
    assert proposal["trainable_indices"] == [3], "the model's own words are nobody's correction"
