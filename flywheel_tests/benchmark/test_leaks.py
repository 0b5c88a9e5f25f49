"""The leak registry finds a case in any dress, and nothing else; a case that retires stays barred."""

import json
from pathlib import Path

import polars as pl
import pytest

from flywheel.benchmark.cases import Case, load_cases
from flywheel.benchmark.fingerprints import case_calls, case_text, fingerprints, tool_vocabulary
from flywheel.benchmark.freeze import active, frozen_and_retired, frozen_row
from flywheel.benchmark.leaks import LeakCandidate, find_leaks, leaks_in, read_registry, refuse_leaks
from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel.workflows.pack import Pack

LONG = (
    "the blue kettle that you sold me in march began to whistle like a train and my dog now hides under the bed all day"
)


@pytest.fixture(scope="module")
def registry(pack: Pack) -> pl.DataFrame:
    return pl.DataFrame([fingerprints(case) for case in load_cases(pack.folder / "benchmark", pack.tools)])


def leak(registry: pl.DataFrame, text: str, conversation: str = "mine", calls=()):
    return find_leaks(registry, [LeakCandidate("r", conversation, text, calls)])


def case(text: str, **changes) -> Case:
    return Case.model_validate({
        "id": "a", "cluster": "c", "category": "refusal", "exercises": {"buckets": [], "tools": []},
        "messages": [{"role": "user", "content": text}], "expectation": {"kind": "reply", "includes": [["no"]]}, **changes,
    })  # fmt: skip


def test_every_planted_case_is_caught(pack: Pack, registry: pl.DataFrame):
    cases = load_cases(pack.folder / "benchmark", pack.tools)
    planted = [LeakCandidate(case.id, "mine", case_text(case)) for case in cases]
    assert {found.row_id for found in find_leaks(registry, planted)} == {case.id for case in cases}


@pytest.mark.parametrize(
    "text",
    [
        "Please tell me the status of B77777.",
        "hello, please tell me the status of order B77777 now",
        "PLEASE   tell me the status of Z1",
        "Order C12345 shall be cancelled, my cat stepped on the keyboard.\nthanks",
    ],
)
def test_twins_with_another_number_or_around_it_are_caught(registry: pl.DataFrame, text: str):
    assert leak(registry, text)


@pytest.mark.parametrize(
    "text", ["status A12345", "thanks a lot", "", "my kettle A1 leaks and I would like to know who repairs such things"]
)
def test_other_texts_are_not(registry: pl.DataFrame, text: str):
    assert leak(registry, text) == []


def test_the_conversation_of_a_case_is_barred_whatever_it_says(registry: pl.DataFrame):
    (found,) = leak(registry, "x", conversation="ask-00")
    assert found.kind == "conversation"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (LONG.upper() + "!", "exact"),
        (LONG + " long", "near_duplicate"),
        ("my neighbour says that " + " ".join(LONG.split()[3:12]) + " " + " ".join(f"w{n} other" for n in range(30)), "user_ngrams"),
    ],
)  # fmt: skip
def test_each_kind_of_mark_catches_what_it_is_for(text: str, kind: str):
    (found,) = leak(pl.DataFrame([fingerprints(case(LONG))]), text)
    assert found.kind == kind and found.case_id == "a"


def test_the_same_call_with_a_persons_own_words_is_caught_and_the_tools_own_words_are_not(pack: Pack):
    address = {"order_id": "B7", "address": {"street": "Mill Lane 5", "city": "Old Haven", "zip": "1234"}}
    expected = {
        "kind": "call",
        "calls": [{"name": "update_address", "arguments": {k: {"exact": v} for k, v in address.items()}}],
    }
    registry = pl.DataFrame([fingerprints(case("move it", expectation=expected), tool_vocabulary(pack.tools))])
    assert leak(registry, "something else", calls=[("update_address", address)])[0].kind == "call_ngrams"
    other = {"order_id": "C9", "address": {"street": "Elm Road 1", "city": "Newport", "zip": "77"}}
    assert leak(registry, "something else", calls=[("update_address", other)]) == []
    ticket = {"topic": "billing", "priority": "normal", "order_id": "B1"}
    asked = {
        "kind": "call",
        "calls": [{"name": "create_ticket", "arguments": {k: {"exact": v} for k, v in ticket.items()}}],
    }
    registry = pl.DataFrame([fingerprints(case("help", expectation=asked), tool_vocabulary(pack.tools))])
    assert leak(registry, "x", calls=[("create_ticket", {**ticket, "order_id": "C2"})]) == []


def test_a_retired_case_is_not_evaluated_and_stays_barred(pack: Pack, lake: Lake):
    both = [frozen_row(case(LONG), "t"), frozen_row(case("what is the weather like in spring", id="b"), "t")]
    first = frozen_and_retired(lake.empty("benchmark"), both)
    lake.replace_partition("benchmark", first, workflow="desk")
    known = lake.read_partition("benchmark", workflow="desk")
    lake.replace_partition("benchmark", frozen_and_retired(known, both[1:]), workflow="desk")
    assert [one.id for one in active(lake.read_partition("benchmark", workflow="desk"))] == ["b"]
    assert leak(read_registry(lake, "desk"), LONG)[0].case_id == "a"
    again = frozen_and_retired(lake.read_partition("benchmark", workflow="desk"), both)
    assert again.drop("retired").equals(first.drop("retired")) and not again["retired"].any()


def test_marks_of_an_older_version_are_computed_anew_and_the_case_stays(lake: Lake):
    row = {**frozen_row(case(LONG), "t"), "fingerprint_version": "1", "shingles": "[]", "exact": "old"}
    lake.replace_partition("benchmark", [row], workflow="desk")
    again = frozen_and_retired(lake.read_partition("benchmark", workflow="desk"), [frozen_row(case(LONG), "t")])
    assert again.to_dicts() == [{**frozen_row(case(LONG), "t")}] and again["case"][0] == row["case"]


def test_a_build_with_a_leak_is_refused_and_names_row_and_case():
    row = {"row_id": "r1", "conversation_id": "k", "messages": json.dumps([{"role": "user", "content": LONG}]),
           "target": '{"role": "assistant", "content": "ok"}'}  # fmt: skip
    with pytest.raises(FlywheelError, match="row r1 ~ case a"):
        refuse_leaks(leaks_in(pl.DataFrame([row]), pl.DataFrame([fingerprints(case(LONG))])), "sft_dataset")
    refuse_leaks([], "sft_dataset")


def test_a_benchmark_that_overlaps_itself_names_both_cases(pack: Pack, tmp_path: Path):
    lines = [
        case(LONG).model_dump_json(exclude_none=True),
        case(LONG, id="b", cluster="d").model_dump_json(exclude_none=True),
    ]
    (tmp_path / "x.jsonl").write_text("\n".join(lines))
    with pytest.raises(FlywheelError, match="'b' asks and expects what case 'a' of another cluster does"):
        load_cases(tmp_path, pack.tools)


def test_calls_of_a_case_are_its_exact_expectations_and_its_history(pack: Pack):
    kinds = {one.expectation.kind: case_calls(one) for one in load_cases(pack.folder / "benchmark", pack.tools)}
    assert kinds["call"] and kinds["episode"] and all(isinstance(name, str) for name, _ in kinds["call"])
