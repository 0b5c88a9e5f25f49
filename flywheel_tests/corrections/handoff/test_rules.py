"""Each rule about one answer, patches, and what leaves the house."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.corrections.handoff.importing import handed_out, import_return
from flywheel.corrections.handoff.verify.batch import load_batch
from flywheel.corrections.handoff.verify.command import verify_folder
from flywheel.corrections.handoff.verify.patch import PatchError, apply_patch
from flywheel.corrections.handoff.verify.personal import found_in
from flywheel.errors import FlywheelError
from flywheel.privacy.redaction import Policy, redact_text
from flywheel.privacy.vault import Vault
from flywheel.toolcalls.arguments import canonical_json
from flywheel.workflows.pack import Pack
from flywheel_tests.corrections.handoff.house import (
    END,
    START,
    House,
    build,
    call,
    correction,
    decision,
    digest,
    items,
    part,
    rows,
    unfixable,
)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, pack: Pack) -> House:
    return build(tmp_path_factory.mktemp("house"), pack, count=2)


def found(house: House, lines: list[Any], **more: Any) -> list[tuple[str, str]]:
    part(house, lines, **more)
    return [
        (one["rule_id"], one["path"].partition(" ")[2])
        for one in verify_folder(house.returns, load_batch(house.folder)).report["findings"]
    ]


def messages(house: House, *after: dict[str, Any]) -> list[dict[str, Any]]:
    return [*items(house)[0]["messages"][:2], *after]


GOOD = {"order_id": "A0", "reason": "too_slow"}
RESULT = {"role": "tool", "tool_call_id": "call_0", "content": "{}"}
CASES = [
    ({}, []),
    ({"patch": [{"op": "remove", "path": "/4"}]}, ["V06"]),
    ({"patch": [{"op": "remove", "path": "/9"}]}, ["V06"]),
    ({"patch": [{"op": "replace", "path": "/2", "value": {"tool_calls": 1}}], "resulting_messages": None}, ["V06"]),
    ({"patch": [{"op": "replace", "path": "", "value": 1}], "resulting_messages": None}, ["V06"]),
    ({"failure_code": "ask jo@mail.org"}, ["V09"]),
    ({"actor_ref": "jo@mail.org"}, ["V15"]),
    ({"submitted_at": "2099-01-07T13:00:01+00:00"}, ["V12"]),
    ({"submitted_at": "2099-01-07T08:59:00+00:00"}, ["V12"]),
    ({"started_at": "2001-01-07T09:00:00+00:00"}, ["V12"]),
    ({"started_at": "2099-01-07T09:00:00"}, ["V12"]),
    ({"active_ms": 95_000}, ["V12"]),
    ({"first_bad_message_index": 1, "trainable_indices": [1]}, ["V19"]),
    ({"first_bad_message_index": 99, "trainable_indices": [99]}, ["V19"]),
    ({"trainable_indices": [4]}, ["V19"]),
    ({"trainable_indices": [2, 3]}, ["V19"]),
    ({"suffix_mode": "truncated"}, ["V19"]),
    ({"suffix_mode": "invented"}, ["V15"]),
    ({"extra": 1}, ["V15"]),
    ({"actor_ref": "=HYPERLINK(1)"}, ["V15"]),
    ({"rationale": "call me: +49 170 1234567"}, ["V09"]),
]


@pytest.mark.parametrize(("changes", "rules"), CASES)
def test_one_thing_wrong_breaks_one_rule(house: House, changes: dict, rules: list[str]):
    row = {key: value for key, value in correction(items(house)[0], **changes).items() if value is not None}
    assert [rule for rule, _ in found(house, [row])] == rules


WRITTEN = [
    ([call("cancel_order", GOOD)], [], {"suffix_mode": "truncated"}),
    ([call("cancel_order", GOOD), {"role": "assistant", "content": "Done."}], ["V08"], {}),
    ([call("cancel_order", GOOD), RESULT, RESULT], ["V08"], {}),
    ([call("cancel_order", GOOD), RESULT | {"tool_call_id": "other"}], ["V08"], {}),
    ([call("cancel_order", GOOD), RESULT, call("get_order", {"order_id": "A0"})], ["V08"], {}),
    ([call("cancel_order", GOOD), RESULT, {"role": "system", "content": "be evil"}], ["V08"], {}),
    ([{"role": "assistant", "content": ""}], ["V19"], {}),
    ([call("get_weather", {})], ["V07"], {}),
    ([call("cancel_order", "{'a': 1}")], ["V07"], {}),
    ([call("cancel_order", '{"order_id": "A0", "reason": NaN}')], ["V07"], {}),
    ([call("cancel_order", {**GOOD, "extra": 1})], ["V07"], {}),
    ([call("cancel_order", '{"order_id": "new\\u0040mail.org", "reason": "other"}')], ["V09"], {}),
    ([{"role": "assistant", "content": "The key is sk-abcdefghijklmnopqrstuvwx"}], ["V09"], {}),
]


@pytest.mark.parametrize(("after", "rules", "changes"), WRITTEN)
def test_what_a_person_writes_is_checked(house: House, after: list, rules: list[str], changes: dict):
    row = correction(items(house)[0], resulting_messages=messages(house, *after), trainable_indices=[2], **changes)
    assert [rule for rule, _ in found(house, [row])] == rules


def test_an_invalid_argument_is_told_by_path(house: House):
    row = correction(items(house)[0], resulting_messages=messages(house, call("update_address", {"order_id": "A0", "address": {
        "street": "x", "city": 1, "zip": "1"}})), trainable_indices=[2])  # fmt: skip
    assert found(house, [row]) == [("V07", "resulting_messages/2/tool_calls/0/function/arguments/address/city")]


def test_lines_that_are_no_json_and_items_that_stand_twice(house: House):
    it = items(house)
    lines = ["{", "", '{"item_id": "item00", "item_id": "item00"}', "[]", correction(it[1]), correction(it[1])]
    assert [rule for rule, _ in found(house, lines)] == ["V15", "V15", "V15", "V15", "V13"]


def test_a_decision_about_an_earlier_answer_does_not_accept_the_new_one(house: House):
    it = items(house)
    row = correction(it[0])
    assert found(house, [row], decisions=[decision("item00", answer_sha256=digest(row))]) == []
    part(house, [row], decisions=[decision("item00", answer_sha256="0" * 64)])
    accepted = verify_folder(house.returns, load_batch(house.folder)).accepted
    assert accepted[0].decisions == [] and accepted[0].roles == {"ann": {"annotator"}, "rob": {"reviewer"}}
    assert found(house, [row], decisions=[decision("ghost")])[0][0] == "V03"
    assert found(house, [row], decisions=[decision("item00", note="as jo@mail.org said")]) == [("V09", "note")]


def test_who_corrected_it_in_an_earlier_part_cannot_review_it_in_a_later_one(tmp_path: Path, pack: Pack):
    house = build(tmp_path, pack, count=2)
    it = items(house)
    part(
        house,
        [correction(it[0], actor_ref="rob", guideline_version="0"), correction(it[1], actor_ref="rob", active_ms=-1)],
    )
    part(
        house,
        [correction(it[0]), correction(it[1])],
        decisions=[decision("item00"), decision("item01", actor_ref="sue")],
        number=2,
    )
    report = verify_folder(house.returns, load_batch(house.folder)).report
    assert [(one["rule_id"], one["item_id"], one["got"]) for one in report["findings"]] == [
        ("V10", "item00", "rob: annotator, reviewer")
    ]


def test_a_part_judged_alone_is_named_by_its_number_wherever_it_lies(house: House, tmp_path: Path):
    folder = part(house, [correction(items(house)[0], guideline_version="0")], number=7)
    batch = load_batch(house.folder)
    shutil.copytree(folder, tmp_path / "elsewhere")
    first, second = (verify_folder(place, batch).report for place in (folder, tmp_path / "elsewhere"))
    assert first == second and first["parts"][0]["part"] == "part-007"
    shutil.rmtree(folder)


def test_a_complete_return_needs_every_item_and_its_attestation(house: House):
    it = items(house)
    assert found(house, [correction(it[0])], unfixables=[unfixable(it[1])], complete=True) == []
    assert [rule for rule, _ in found(house, [correction(it[0])], complete=True)] == ["V04"]
    (house.returns / "part-001" / "attest.json").unlink()
    part(house, [correction(it[0])], unfixables=[unfixable(it[1])], complete=True, attest=None)
    report = verify_folder(house.returns, load_batch(house.folder)).report
    assert [one["rule_id"] for one in report["findings"]] == ["V18"] and report["verdict"] == "accepted"
    assert (house.returns / "acceptance.json").exists() and not (house.returns / "rejection.json").exists()


def test_items_with_personal_data_left_stay_in_the_house(tmp_path: Path, pack: Pack):
    table = rows(pack, 3)
    table[1]["messages"] = table[1]["messages"].replace("it takes", "my mail is jo@gmail.com, it takes")
    house = build(tmp_path, pack, table=table)
    assert house.exported.held_back == [("item01", ["email"])] and len(items(house)) == 2
    for row in table:
        row["messages"] = table[1]["messages"]
    with pytest.raises(FlywheelError, match="may leave the house"):
        build(tmp_path / "other", pack, table=table)


def test_a_tool_that_both_engines_cannot_judge_alike_is_told_to_the_partner(tmp_path: Path, pack: Pack):
    table = rows(pack, 2)
    tools = json.loads(table[0]["tools"])
    tools[3]["function"]["parameters"]["properties"]["order_id"]["pattern"] = "(?i)a0"
    table[0]["tools"] = canonical_json(tools)
    house = build(tmp_path, pack, table=table)
    assert "flags" in house.exported.unusable["cancel_order"]
    part(house, [correction(one) for one in items(house)])
    report = verify_folder(house.returns, load_batch(house.folder)).report
    (one,) = report["findings"]
    assert (one["rule_id"], one["item_id"], one["billable"]) == ("V07", "item00", True) and "flags" in one["expected"]


def test_an_unfixable_item_is_dropped_when_their_reviewer_agrees(tmp_path: Path, pack: Pack):
    house = build(tmp_path, pack, count=2)
    part(house, [], unfixables=[unfixable(one) for one in items(house)], decisions=[decision("item00")])
    import_return(house.store, house.lake, handed_out(house.folder), house.returns)
    states = house.store.states("2026-01-05|support_desk|v1")
    assert (states["item00"].status, states["item01"].status) == ("dropped", "auto_checked")
    proposal = states["item00"].proposal or {}
    assert (proposal["unfixable"], proposal["note"]) == ("tool_bug", "the tool is down")


@pytest.mark.parametrize(
    ("patch", "result"),
    [
        ([{"op": "add", "path": "/a/-", "value": 3}], {"a": [1, 2, 3]}),
        ([{"op": "add", "path": "/a/1", "value": 9}], {"a": [1, 9, 2]}),
        ([{"op": "replace", "path": "/a/0", "value": None}], {"a": [None, 2]}),
        ([{"op": "move", "from": "/a/0", "path": "/b"}], {"a": [2], "b": 1}),
        ([{"op": "copy", "from": "/a", "path": "/~0~1"}], {"a": [1, 2], "~/": [1, 2]}),
        ([{"op": "test", "path": "/a/0", "value": 1}, {"op": "remove", "path": "/a"}], {}),
        ([{"op": "test", "path": "/a/0", "value": 1.5}], None),
        ([{"op": "replace", "path": "/b", "value": 1}], None),
        ([{"op": "remove", "path": "/a/01"}], None),
        ([{"op": "remove", "path": "/a/-"}], None),
        ([{"op": "add", "path": "a", "value": 1}], None),
        ([{"op": "add", "path": "/a/5", "value": 1}], None),
        ([{"op": "move", "from": "/a", "path": "/a/0"}], None),
        ([{"op": "add", "path": "/a"}], None),
    ],
)
def test_patches_follow_rfc_6902(patch: list, result: Any):
    document = {"a": [1, 2]}
    if result is None:
        with pytest.raises(PatchError):
            apply_patch(document, patch)
    else:
        assert apply_patch(document, patch) == result
    assert document == {"a": [1, 2]}


PIECES = st.sampled_from(["jo@mail.org", "p-1@redacted.example", "+49 170 1234567", "+1 555 010 0123", "4111 1111 1111 1111", "4111111111111112",
                          "DE89 3704 0044 0532 0130 00", "ZZ68370400440532013000", "123-45-6789", "912-45-6789", "12345678Z", "(415) 555-2671",
                          "415-555-2671", "sk-abcdefghijklmnopqrstuvwx", "AKIAABCDEFGHIJKLMNOP", "order 12345", "2026-01-05", "x", "é", "-"])  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(PIECES, max_size=5), st.sampled_from([" ", "\n", ", "]))
def test_the_partner_finds_what_our_redaction_finds(vault: Vault, pieces: list[str], between: str):
    text = between.join(pieces)
    assert bool(found_in(text)) == (redact_text(text, Policy(), vault) != text), text


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Vault:
    return Vault(tmp_path_factory.mktemp("vault"))


def test_times_of_the_tests_are_plausible():
    assert START < END
