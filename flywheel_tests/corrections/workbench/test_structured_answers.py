"""Structured answers in the workbench: the form, its checks and its words, and what a reviewer sees."""

import json
from pathlib import Path
from typing import Any

import pytest

from flywheel.corrections.items import Item
from flywheel.corrections.proposal import auto_check
from flywheel.corrections.workbench import draft as ops
from flywheel.corrections.workbench.draft import Draft, proposal_of
from flywheel.corrections.workbench.editor import (
    begin_fields,
    changed_array,
    drawn_at,
    editor_of,
    problems_of,
    read_fields,
)
from flywheel.corrections.workbench.judge import compared
from flywheel.corrections.workbench.server import make_app, make_workbench
from flywheel.toolcalls.structured_answers import ResponseSchema
from flywheel.workflows.pack import Pack
from flywheel_tests.conftest import SUPPORT_DESK
from flywheel_tests.corrections.workbench.browser import Visitor
from flywheel_tests.corrections.workbench.house import SYSTEM, call, make_house, result, says, user

SCHEMA = {"type": "object", "required": ["order_id", "state"], "additionalProperties": False,
          "properties": {"order_id": {"type": "string"}, "state": {"enum": ["open", "shipped"]}, "amount": {"type": "number"},
                         "steps": {"type": "array", "items": {"type": "string"}}}}  # fmt: skip
STATUS = ResponseSchema("status", SCHEMA, ("get_order",))
ASKED = [
    SYSTEM,
    user("where is order R4821?"),
    call("get_order", {"order_id": "R4821"}),
    result({"order_id": "R4821", "status": "shipped"}),
]


def item(pack: Pack, said: str) -> Item:
    return Item("i", 0, [*ASKED, says(said)], pack.tools, 4, "c", "schema_violation", "major", "", (STATUS,))


def begun(one: Item) -> Draft:
    return ops.mark(Draft(), one.messages, 4)


def content(draft: Draft) -> Any:
    return (draft.step or {}).get("content")


def typed(one: Item, draft: Draft, **fields: str) -> Draft:
    return read_fields(one, draft, {"at": drawn_at(draft), **fields})


def test_the_form_of_an_answer_is_drawn_judged_and_read(pack: Pack):
    one = item(pack, '{"order_id": "R4821", "state": "sent"}')
    draft = begun(one)
    shown = editor_of(one, draft)
    assert shown.response == "status" and [field.name for field in shown.fields or ()] == [
        "/order_id",
        "/state",
        "/amount",
        "/steps",
    ]
    assert shown.fields and shown.fields[0].offered == ("R4821",) and set(shown.problems.by_field) == {"/state"}
    mended = typed(one, draft, **{"s:/state": "given", "v:/state": "1"})
    assert content(mended) == '{"order_id": "R4821", "state": "shipped"}' and problems_of(one, mended).all == []
    proposal = proposal_of(mended, one.messages)
    assert proposal and auto_check(proposal, one.messages, one.tools, one.responses) == []
    assert "not one of" in auto_check(proposal_of(draft, one.messages), one.messages, one.tools, one.responses)[-1]  # type: ignore[arg-type]
    longer = changed_array(one, mended, "/steps", add=True)
    assert json.loads(content(longer))["steps"] == [""] and content(ops.undo(longer)) == content(mended)


def test_the_same_values_again_change_nothing(pack: Pack):
    one = item(pack, '{ "order_id":"R4821",\n "state":"shipped" }')
    draft = begun(one)
    assert typed(one, draft, **{"s:/state": "given", "v:/state": "1"}) is draft
    assert "the marked step is unchanged" in problems_of(one, draft).all[0]


@pytest.mark.parametrize("said", ["It has been shipped.", '["R4821"]', '{"order_id": "R4821"'])
def test_words_become_a_form_and_come_back(pack: Pack, said: str):
    one = item(pack, said)
    draft = begun(one)
    assert editor_of(one, draft).fields is None and any(
        "answer status" in problem for problem in problems_of(one, draft).all
    )
    form = begin_fields(one, draft)
    assert content(form) == "{}" and [field.state for field in editor_of(one, form).fields or ()] == ["absent"] * 4
    assert content(ops.undo(form)) == said and begin_fields(one, form) is form


def test_a_call_that_should_have_answered_gets_the_form_at_once(pack: Pack):
    run = [*ASKED, call("get_order", {"order_id": "R4821"}, 2)]
    one = item(pack, "x")._replace(messages=run)
    answered = ops.answer(ops.mark(Draft(), run, 4))
    assert [field.name for field in editor_of(one, answered).fields or ()][:2] == ["/order_id", "/state"]
    assert typed(one, answered, **{"s:/order_id": "given", "v:/order_id": "R4821"}).step == {
        "role": "assistant",
        "content": '{"order_id": "R4821"}',
    }


def test_json_that_is_typed_is_kept_as_it_is_and_words_stay_free_elsewhere(pack: Pack):
    one = item(pack, "words")
    raw = ops.show_raw(begun(one), True)
    broken = typed(one, raw, content='{"order_id": 1')
    assert (
        content(broken) == '{"order_id": 1' and editor_of(one, broken).fields is None and problems_of(one, broken).all
    )
    free = one._replace(messages=[SYSTEM, user("hello"), says("a"), user("b"), says("c")])
    assert (
        editor_of(free, begun(free)).response == "" and problems_of(free, ops.set_content(begun(free), "d")).all == []
    )


def test_two_answers_are_compared_by_field():
    one, other = says('{"a": 1, "b": {"c": 2}}'), says('{"a": 1, "b": {"c": 3}}')
    assert [change.where for change in compared(one, other).changes] == ["b.c"] and compared(one, other).words is None
    assert (
        compared(one, says("words")).words == (one["content"], "words") and compared(one, says("words")).changes == []
    )
    assert compared(says('{"a":1}'), says('{"a": 1}')).words == ('{"a":1}', '{"a": 1}')


def test_an_answer_goes_from_its_form_to_the_reviewer(tmp_path: Path):
    settings = make_house(
        tmp_path / "home", SUPPORT_DESK, [([*ASKED, says("It has been shipped.")], 4, "c", "schema_violation")]
    )
    folder = settings.workflows() / "support_desk"
    (folder / "responses").mkdir()
    (folder / "responses" / "status.json").write_text(json.dumps(SCHEMA))
    with (folder / "workflow.yaml").open("a") as file:
        file.write("\nresponses: [{name: status, after_tools: [get_order]}]\n")
    bench = make_workbench(settings, "support_desk")
    app = make_app(bench)
    ann, rob = Visitor(app, "ann"), Visitor(app, "rob")
    ann.take()
    assert ann.edit("mark:4").status_code == 200 and "fill in the form" in ann.page
    assert ann.edit("form").status_code == 200 and 'name="v:/order_id"' in ann.page and 'name="content"' not in ann.page
    assert ann.submit(**{"s:/order_id": "given", "v:/order_id": "R4821"}).status_code == 422, "the state is missing"
    told = {"s:/order_id": "given", "v:/order_id": "R4821", "s:/state": "given", "v:/state": "1"}
    assert ann.submit(**told).status_code == 303
    (place,) = bench.desk.refresh().places.values()
    assert (
        place.state.proposal
        and place.state.proposal["messages"][4]["content"] == '{"order_id": "R4821", "state": "shipped"}'
    )
    assert place.state.status == "auto_checked" and rob.take("review") and "R4821" in rob.page
