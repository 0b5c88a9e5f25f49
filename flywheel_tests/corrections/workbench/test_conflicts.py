"""A conflict in the workbench: both answers are shown with names, one is picked by its number, or another is written in the form."""

import json
from collections.abc import Callable
from pathlib import Path

from flywheel.corrections.events import EventStore
from flywheel.corrections.items import first_pass_items
from flywheel.corrections.workbench.server import make_app, make_workbench
from flywheel.lake import Lake
from flywheel.settings import Settings
from flywheel.workflows.loader import find_pack
from flywheel_tests.conftest import SUPPORT_DESK
from flywheel_tests.corrections.workbench.browser import Visitor
from flywheel_tests.corrections.workbench.house import call, item_row, make_house, wrong_enum

WEEK = "2026-01-12"
RIGHT = {"s:/reason": "given", "v:/reason": "2"}


def conflict_house(home: Path) -> Settings:
    """A house whose newest batch holds one conflict, answered by ann and bea."""
    settings = make_house(home, SUPPORT_DESK, runs=())
    tools, messages = find_pack(settings.workflows(), "support_desk").tools, wrong_enum()
    row = {**item_row(0, messages[:5], 4, "a cluster", "schema_violation", tools), "item_id": "both"}
    Lake(settings.lake()).replace_partition("correction_batch", [row], workflow="support_desk", week=WEEK)
    answers = [
        {"by": name, "given_by": [name], "answer_id": name, "context_id": "c", "from_week": "2026-01-05", "annotator_kind": "human",
         "proposal": {"first_bad_message_index": 4, "messages": [*messages[:4], call("cancel_order", {"order_id": "R4821", "reason": reason}, 2)],
                      "trainable_indices": [4], "suffix_mode": "truncated"}}
        for name, reason in (("ann", "other"), ("bea", "changed_mind"))
    ]  # fmt: skip
    payload = {"kind": "conflict", "barred": ["ann", "bea"], "answers": answers}
    EventStore(settings.qa_store("support_desk")).open_batch(
        week=WEEK,
        workflow="support_desk",
        version="v2",
        item_ids=["both"],
        qa_mode="three",
        conflicts={"both": payload},
    )
    return settings


def visitors(tmp_path: Path) -> tuple[Callable[[str], Visitor], Settings]:
    settings = conflict_house(tmp_path / "home")
    app = make_app(make_workbench(settings, "support_desk", week=WEEK))
    return lambda name: Visitor(app, name), settings


def state(settings: Settings):
    store = EventStore(settings.qa_store("support_desk"))
    batch = store.batch_of(WEEK, "support_desk")
    assert batch
    return store.states(batch.name)["both"], store, batch


def test_the_adjudicator_sees_both_answers_with_names_and_picks_one(tmp_path: Path):
    visit, settings = visitors(tmp_path)
    ann, joy = visit("ann"), visit("joy")
    assert ann.take("adjudicate") == "" and joy.take() == "", "a giver does not judge, and nobody annotates it"
    _, store, batch = state(settings)
    assert first_pass_items(Lake(settings.lake()), batch, store) == [], "a conflict is settled in the house"
    assert joy.take("adjudicate") == "both"
    for shown in ("by ann", "by bea", "changed_mind", "Answer 2 is right", "None can be right", "Write another"):
        assert shown in joy.page
    assert joy.decide("adjudicate", "uphold").status_code == 422
    assert joy.decide("adjudicate", "uphold-1").status_code == 422, "it needs a note"
    assert joy.decide("adjudicate", "uphold-1", "the guidelines ask for it").status_code == 303
    now, _, _ = state(settings)
    assert now.status == "accepted" and now.author == "bea" and now.adjudicator == "joy"
    for giver in (ann, visit("bea")):
        assert giver.take("audit") == "" and giver.http.get("/audit/both").status_code == 409
    assert visit("eve").take("audit") == "both"


def test_the_adjudicator_writes_another_and_a_reviewer_looks_at_it(tmp_path: Path):
    visit, settings = visitors(tmp_path)
    joy, rob = visit("joy"), visit("rob")
    joy.take("adjudicate")
    there = joy.decide("adjudicate", "write")
    assert there.status_code == 303 and there.headers["location"] == "/annotate/both"
    joy.page = joy.http.get("/annotate/both").text
    assert "Step 4 calls" in joy.page, "the step is marked already"
    joy.edit("raw")
    raw = json.dumps({"order_id": "R4821", "reason": "found_cheaper"})
    assert joy.submit(raw=raw).headers["location"] == "/"
    now, _, _ = state(settings)
    assert now.status == "auto_checked" and now.author == "joy"
    assert visit("bea").take("review") == "" and rob.take("review") == "both"
    assert rob.decide("review", "return", "look again").status_code == 303
    assert joy.take("adjudicate") == "both" and "The written one is right" in joy.page and "look again" in joy.page
    assert joy.decide("adjudicate", "drop", "the guidelines do not decide it").status_code == 303
