"""The desk: leases and what they keep, items that nobody may see, the order of what was given back, planted items."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flywheel.corrections.states import Event
from flywheel.corrections.workbench.call import Workbench
from flywheel.corrections.workbench.server import make_workbench
from flywheel.settings import Settings
from flywheel_tests.corrections.workbench.browser import RIGHT, Visit, corrected, hidden
from flywheel_tests.corrections.workbench.house import WEEK, call, item_row, wrong_enum


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


def test_personal_data_keeps_an_item_from_everybody(visitor: Visit, bench: Workbench):
    ann, bob = visitor("ann"), visitor("bob")
    item = ann.take()
    assert ann.http.post(f"/annotate/{item}/report", data=ann.form()).status_code == 303
    taken = {ann.take(), bob.take()}
    assert item not in taken and bench.desk.place(item).reported
    assert item in visitor("lea").http.get("/lead").text


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


def test_an_erased_item_leaves_a_running_bench_and_a_new_one_starts_without_it(
    visitor: Visit, bench: Workbench, settings: Settings
):
    desk = bench.desk
    first, second, third = desk.board.places
    ann = visitor("ann")
    assert ann.take() == first
    desk.store.erase_items([second])
    lake, batch = desk.lake, desk.board.batch
    rows = lake.read_partition("correction_batch", workflow="support_desk", week=WEEK).drop("week", "workflow")
    kept = rows.filter(rows["item_id"] != second)
    lake.replace_partition("correction_batch", kept, workflow="support_desk", week=WEEK)
    assert list(desk.refresh().places) == [first, third] and desk.board.batch == batch
    assert desk.place(first).holder() == "ann", "what others do goes on"
    assert ann.http.get(f"/annotate/{second}").status_code == 404
    again = make_workbench(settings, "support_desk").desk
    assert list(again.board.places) == [first, third] and again.place(first).holder() == "ann"
