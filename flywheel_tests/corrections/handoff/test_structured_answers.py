"""Structured answers in a hand-off: the batch carries their schemas, and both sides judge written answers by them alike."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.corrections.handoff.importing import handed_out, import_return
from flywheel.corrections.handoff.verify.answers import Response
from flywheel.corrections.handoff.verify.answers import response_at as theirs
from flywheel.corrections.handoff.verify.batch import BatchProblem, load_batch
from flywheel.corrections.handoff.verify.command import verify_folder
from flywheel.toolcalls.structured_answers import ResponseSchema, response_at
from flywheel.workflows.pack import Pack
from flywheel_tests.corrections.handoff.house import House, build, call, correction, items, part

SCHEMA = {"type": "object", "required": ["order_id", "state"], "additionalProperties": False,
          "properties": {"order_id": {"type": "string"}, "state": {"enum": ["open", "cancelled"]}}}  # fmt: skip
# Only the house's engine judges this pattern: the offline judge says so and leaves the answer to it.
FLAGGED = {"type": "object", "required": ["note"], "properties": {"note": {"type": "string", "pattern": "(?i)^done"}}}
DECLARED = (ResponseSchema("status", SCHEMA, ("cancel_order",)), ResponseSchema("closing", FLAGGED, ("get_order",)))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, pack: Pack) -> House:
    return build(tmp_path_factory.mktemp("house"), replace(pack, responses=DECLARED), count=2)


def answered(house: House, said: str) -> dict[str, Any]:
    """A right correction of the first item whose last word is `said`."""
    row = correction(items(house)[0])
    row["resulting_messages"][4]["content"] = said
    return row


@pytest.mark.parametrize(
    ("said", "path"),
    [
        ('{"order_id": "A0", "state": "cancelled"}', None),
        ("Order A0 is cancelled.", ""),
        ('```json\n{"order_id": "A0", "state": "cancelled"}\n```', ""),
        ('["A0"]', ""),
        ('{"order_id": "A0"}', ""),
        ('{"order_id": "A0", "state": "gone"}', "/state"),
        ('{"order_id": "A0", "state": "open", "more": 1}', ""),
    ],
)
def test_a_written_answer_is_judged_by_its_schema(house: House, said: str, path: str | None):
    part(house, [answered(house, said)])
    found = verify_folder(house.returns, load_batch(house.folder)).report["findings"]
    told = [(one["rule_id"], one["class"], one["path"].partition(" ")[2], one["expected"][:7]) for one in found]
    assert told == ([] if path is None else [("V24", "critical", f"resulting_messages/4/content{path}", "status:")])


def test_the_batch_says_which_schemas_and_which_are_left_to_the_house(house: House):
    handed = load_batch(house.folder)
    assert [(one.name, one.after_tools, bool(one.unusable)) for one in handed.responses] == [
        ("status", ("cancel_order",), False), ("closing", ("get_order",), True),
    ]  # fmt: skip
    assert [*handed.responses[0].schema["properties"]] == ["order_id", "state"], "in the order of the form"
    assert set(handed.manifest["responses"]) == {"status", "closing"} and "responses.json" in handed.manifest["files"]
    assert [*house.exported.left_to_us] == ["closing"] and "flags" in house.exported.left_to_us["closing"]
    file = house.folder / "responses.json"
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b"cancelled", b"forgotten"))
    with pytest.raises(BatchProblem, match="V01"):
        load_batch(house.folder)
    file.write_bytes(whole)


def test_what_their_judge_cannot_check_the_house_checks_when_it_comes_back(house: House):
    first, second = items(house)
    rows = []
    for item, note in ((first, "DONE"), (second, "not yet")):
        row = correction(item, first_bad_message_index=2, trainable_indices=[2, 4])
        row["resulting_messages"][2:] = [
            call("get_order", {"order_id": "A0"}), row["resulting_messages"][3], {"role": "assistant", "content": json.dumps({"note": note})},
        ]  # fmt: skip
        rows.append(row)
    part(house, rows)
    done = import_return(house.store, house.lake, handed_out(house.folder), house.returns)
    assert done.verdict.report["findings"] == [] and done.submitted == ["item00"]
    assert "the house's own check: message 4, answer closing" in done.not_taken["item01"]


def test_a_batch_of_a_pack_without_structured_answers_says_nothing_of_them(tmp_path: Path, pack: Pack):
    house = build(tmp_path, pack, count=1)
    handed = load_batch(house.folder)
    assert handed.responses == () and "responses" not in handed.manifest
    assert not (house.folder / "responses.json").exists()


MESSAGES = st.lists(
    st.one_of(
        st.just({"role": "user", "content": "u"}),
        st.just({"role": "assistant", "content": "a"}),
        st.just({"role": "tool", "tool_call_id": "call_0", "content": "{}"}),
        st.sampled_from(["get_order", "cancel_order", "track"]).map(lambda name: call(name, {})),
    ),
    min_size=1, max_size=8,
)  # fmt: skip
AFTER = st.lists(st.lists(st.sampled_from(["get_order", "cancel_order"]), max_size=2), max_size=3)


@given(MESSAGES, AFTER)
def test_both_sides_ask_the_same_answers(messages: list[dict[str, Any]], after: list[list[str]]):
    ours = [ResponseSchema(f"r{number}", {}, tuple(tools)) for number, tools in enumerate(after)]
    given_out = [Response(one.name, one.schema, one.after_tools, "") for one in ours]
    for index in range(len(messages)):
        one, other = response_at(ours, messages, index), theirs(given_out, messages, index)
        assert (one.name if one else None) == (other.name if other else None)
