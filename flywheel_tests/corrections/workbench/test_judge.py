"""Review, adjudication, audit and the end of a batch: everybody has one role on an item, and reasons are asked for."""

import re
from typing import Any

import pytest

from flywheel.corrections.released import found_right
from flywheel.corrections.scorecard import _judged
from flywheel.corrections.workbench.call import Workbench
from flywheel_tests.corrections.stores import CLEAN, FIX, accept, play
from flywheel_tests.corrections.workbench.browser import Visit, Visitor, corrected
from flywheel_tests.corrections.workbench.house import item_row, wrong_enum


def waits(who: Visitor) -> str | None:
    """How many items the start page says wait for their audit."""
    found = re.search(r"Audit</span>.*?count\">(\d+)<", who.http.get("/").text)
    return found[1] if found else None


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
    assert [waits(who) for who in (joy, eve)] == ["1", "2"], "not what she had a part in"
    for _ in range(2):
        assert joy.take("audit") in ("", joy.item) and eve.take("audit")
        assert eve.decide("audit", "passed").status_code == 303
    assert eve.take("audit") == ""
    assert joy.http.post("/lead/close", data={"csrf": joy.csrf}).status_code == 303
    assert bench.desk.board.closed and bench.desk.store.verify_chain()
    assert {place.state.audit for place in bench.desk.board.with_status("accepted")} == {"passed"}


@pytest.mark.parametrize(
    ("reason", "confirm", "right"), [("not_a_failure", "Confirm: the run is right", True), ("tool_bug", "Confirm: cannot be fixed", False)]
)  # fmt: skip
def test_of_what_is_said_to_need_no_correction_the_adjudicator_confirms_or_drops_it(
    visitor: Visit, bench: Workbench, reason: str, confirm: str, right: bool
):
    ann, rob, joy = (visitor(name) for name in ("ann", "rob", "joy"))
    for _ in range(2):
        assert ann.take() and ann.edit(f"unfixable:{reason}").status_code == 200 and ann.submit().status_code == 303
        assert rob.take("review") and confirm in rob.page
        assert rob.decide("review", "dispute", "the enum value is plainly wrong").status_code == 303
    told, items = {}, []
    for decision in ("confirm", "drop"):
        items.append(joy.take("adjudicate"))
        assert confirm in joy.page and "Drop the item" in joy.page and "Uphold" not in joy.page
        assert joy.decide("adjudicate", "uphold", "it is right").status_code == 422, "there is nothing to uphold"
        assert joy.decide("adjudicate", decision).status_code == 422, "an adjudication needs a note"
        assert joy.decide("adjudicate", decision, "the guidelines say so").status_code == 303
        told[decision] = bench.desk.place(items[-1]).state
    assert [(one.status, one.confirmed) for one in told.values()] == [("dropped", True), ("dropped", False)]
    desk = bench.desk
    assert desk.batch and found_right(desk.store, desk.batch) == ({items[0]} if right else set())
    assert _judged(desk.store.history(desk.board.batch))["ann"] == ["", "dropped"], "who was confirmed made no mistake"


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


def test_who_annotated_the_twin_is_offered_the_other_items_to_audit_and_never_sees_this_one(
    visitor: Visit, bench: Workbench
):
    desk = bench.desk
    store, batch, (first, *others) = desk.store, desk.board.batch, list(desk.items)
    twin = item_row(7, wrong_enum(), 4, desk.items[first].failure_cluster, "schema_violation", desk.pack.tools)
    plain = {"kind": "overlap", "source": first, "item": twin, "expected": None, "barred": []}
    store.plant(batch, twin["item_id"], 0.5, plain)

    def fix(item: str) -> dict[str, Any]:
        index = desk.items[item].message_index
        return {**FIX, "first_bad_message_index": index, "messages": desk.items[item].messages[: index + 1]}

    play(store, batch, twin["item_id"], ("claim", "cid"), ("submit", "cid", fix(first)), CLEAN)
    for item in (first, *others):
        accept(store, batch, item, fix=fix(item))
    cid, eve = visitor("cid"), visitor("eve")
    assert [waits(who) for who in (cid, eve)] == ["2", "3"]
    refused = cid.http.get(f"/audit/{first}")
    assert refused.status_code == 409 and "W06" in refused.text and "chair cheaper" not in refused.text
    for left in ("1", "0"):
        assert cid.take("audit") in others and f"<b>{left}</b> more waiting" in cid.page
        assert cid.decide("audit", "passed").status_code == 303
    assert cid.take("audit") == "" and "somebody who had no part" in cid.http.get("/?done=audit").text
    assert eve.take("audit") == first
