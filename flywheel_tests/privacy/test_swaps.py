"""Known values are replaced however JSON spells them, JSON stays JSON, and other words stay."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.privacy.surrogates import surrogate
from flywheel.privacy.swaps import Swapper

TRICKY = st.text("AZ7 éß李😀\"\\/\n\t\x01'+<\u2028.", min_size=2, max_size=8).filter(
    lambda value: any(map(str.isalnum, value))
)


@pytest.mark.parametrize(
    "value",
    [
        "Zoë Müller",
        "Calle Mayor 1\nMadrid",
        'Robert "Bob" Smith',
        "O'Brien",
        "a\\b",
        "1/2 Elm St",
        "李小龍 😀",
        "nadia",
    ],
)
@pytest.mark.parametrize("ascii_only", [True, False])
def test_a_value_is_replaced_however_deep_it_lies(value: str, ascii_only: bool):
    swap = Swapper({value: "Kai Hale"}).text
    text, done = f"call:\n{value}\n", "call:\nKai Hale\n"
    for _ in range(4):
        assert swap(text) == done
        text, done = (json.dumps({"note": one}, ensure_ascii=ascii_only) for one in (text, done))


@pytest.mark.parametrize(
    "text", [r'{"a": "Zo\u00EB"}', r'{"a": "O\u0027Brien"}', r'{"a": "1\/2 Elm"}', '{"a": "\\u005aoe"}']
)
def test_encoders_of_others_hide_nothing(text: str):
    value = json.loads(text)["a"]
    done = Swapper({value: "Kai"}).text(text)
    assert json.loads(done) == {"a": "Kai"} or value.isascii() and value.isalpha(), "letters of ASCII no encoder spells"


@settings(max_examples=400, deadline=None)
@given(TRICKY, st.sampled_from(["person_name", "person_id", "phone"]), st.integers(1, 3), st.booleans())
def test_json_stays_json_with_the_value_replaced(value: str, kind: str, depth: int, ascii_only: bool):
    instead = surrogate(kind, value, "0123456789abcdef" * 4)  # the last two keep what is no letter or digit

    def note(said: str) -> str:
        text = f"({said})"
        for _ in range(depth):
            text = json.dumps([text, 5, None], ensure_ascii=ascii_only)
        return text

    def read(text: str) -> Any:
        for _ in range(depth):
            text = json.loads(text)[0]
        return text

    done = read(Swapper({value: instead}).text(note(value)))
    # A surrogate with backslashes of its value may have them in another number; it is JSON all the same.
    assert done == f"({instead})" or ("\\" in instead and done.replace("\\", "") == f"({instead})".replace("\\", ""))


@pytest.mark.parametrize(("text", "left"), [
    ("List the flights of Lisa, please", True), (r'{"city": "Li\u00e8ge"}', True), (r'{"name": "\u00c9Li"}', True),
    (r'{"said": "I am\nLi"}', False), (r'{"said": "caf\u00e9\u2028Li"}', False), (r'{"dni": "x\nLi\n"}', False),
])  # fmt: skip
def test_only_whole_words_are_the_value(text: str, left: bool):
    assert (Swapper({"Li": "Kai"}).text(text) == text) == left


def test_the_n_of_a_line_break_is_no_part_of_a_name():
    text = json.dumps({"said": "so\nadia, nadia"})
    assert json.loads(Swapper({"nadia": "kai"}).text(text)) == {"said": "so\nadia, kai"}


@pytest.mark.parametrize(("value", "instead", "after"), [
    ("null", "Kai", {"a": None, "b": "said Kai", "c": [7123, True], "d": "Robert"}),
    ("7123", "0456", {"a": None, "b": "said null", "c": [456, True], "d": "Robert"}),
    ('"Robert"', "Kai", {"a": None, "b": "said null", "c": [7123, True], "d": "Robert"}),
])  # fmt: skip
def test_a_value_that_is_json_itself_breaks_none(value: str, instead: str, after: dict):
    text = json.dumps({"a": None, "b": "said null", "c": [7123, True], "d": "Robert"})
    assert json.loads(Swapper({value: instead}).text(text)) == after


def test_the_keys_of_our_own_records_stay():
    text = '[{"name":"correctness","explanation":"name is \\"José\\""}]'
    done = Swapper({"name": "Kai", "José": "Drew"}).record(text)
    assert json.loads(done) == [{"name": "correctness", "explanation": 'Kai is "Drew"'}]
