"""Structured answers: the first schema that applies judges, in the kinds and with the paths of calls."""

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.toolcalls.arguments import parse_arguments
from flywheel.toolcalls.structured_answers import ResponseSchema, canonical_answer, check_answer, response_at

TICKET = ResponseSchema("ticket", {
    "type": "object", "required": ["id", "lines"], "additionalProperties": False,
    "properties": {"id": {"type": "string"}, "state": {"enum": ["open", "done"]}, "lines": {"type": "array", "items": {
        "type": "object", "properties": {"count": {"type": "integer"}}, "required": ["count"]}}}}, ("create_ticket",))  # fmt: skip
ANY = ResponseSchema("any", {"type": "object"})


@pytest.mark.parametrize(
    ("content", "kind", "path"),
    [
        ("", "invalid_json", ""),
        (None, "invalid_json", ""),
        (" \n", "invalid_json", ""),
        ("Your ticket is T1.", "invalid_json", ""),
        ('```json\n{"id": "T1", "lines": []}\n```', "invalid_json", ""),
        ('{"id": "T1", "lines": []', "invalid_json", ""),
        ('[{"id": "T1", "lines": []}]', "not_an_object", ""),
        ('{"id": "T1"}', "missing_required", ""),
        ('{"id": 1, "lines": []}', "wrong_type", "id"),
        ('{"id": "T1", "lines": [{"count": 1}, {"count": "2"}]}', "wrong_type", "lines/1/count"),
        ('{"id": "T1", "lines": [], "state": "closed"}', "not_in_enum", "state"),
        ('{"id": "T1", "lines": [], "note": "x"}', "unexpected_argument", ""),
        ("[" * 60_000, "invalid_json", ""),
    ],
)
def test_what_is_wrong_with_an_answer_has_a_kind_and_a_path(content: str | None, kind: str, path: str):
    (error, *_) = check_answer(TICKET, content)
    assert (error.kind, error.path) == (kind, path)
    assert "arguments" not in error.message.replace("additional", ""), "it is an answer that is spoken of"


def test_an_answer_may_stand_between_spaces():
    assert check_answer(TICKET, ' {"id": "T1", "lines": [{"count": 1}], "state": "done"}\n') == []


def test_a_schema_travels_to_another_process_and_judges_there():
    check_answer(TICKET, "{}")
    assert check_answer(pickle.loads(pickle.dumps(TICKET)), '{"id": "T1", "lines": []}') == []


def _call(name: str) -> dict:
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c", "function": {"name": name, "arguments": "{}"}}],
    }


def test_the_calls_since_the_users_turn_choose_the_schema():
    asked, told, words = (
        {"role": "user", "content": "x"},
        {"role": "tool", "content": "y"},
        {"role": "assistant", "content": "z"},
    )
    run = [
        asked,
        _call("create_ticket"),
        told,
        _call("look"),
        told,
        words,
        asked,
        words,
        asked,
        _call("look"),
        told,
        words,
    ]
    assert [response_at((TICKET,), run, index) for index in (1, 2, 5, 7, 11)] == [None, None, TICKET, None, None]
    assert [response_at((TICKET, ANY), run, index) for index in (5, 7)] == [TICKET, ANY], "the first that applies"
    assert response_at((), run, 5) is None


@given(
    st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=4) | st.none(), max_size=3),
    st.sampled_from([None, 2]),
)
def test_an_answer_in_canonical_form_says_the_same_and_stays_as_it_is(value: dict, indent: int | None):
    once = canonical_answer(json.dumps(value, indent=indent))
    assert parse_arguments(once).value == value and canonical_answer(once) == once
    assert canonical_answer("in words") == "in words"
