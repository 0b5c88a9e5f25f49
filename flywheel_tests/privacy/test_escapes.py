"""Escapes are told from the words behind them, and leave no trace of that."""

import json

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from flywheel.privacy.escapes import apart, apart_in, forms, together, unescaped

PIECES = st.one_of(st.text(max_size=4), st.sampled_from(["\\", "\\n", "\\u00e9", "\\u00", "\x1f", "n", '"']))


@given(st.lists(PIECES, max_size=12).map("".join))
def test_what_is_set_apart_comes_together_again(text: str):
    texts = pl.Series([text])
    assert apart(texts).item() == apart_in(text)
    assert together(apart(texts)).item() == text


@given(st.text(st.characters(exclude_characters="\\", exclude_categories=["Cs"], max_codepoint=0xFFFF), max_size=12))
def test_a_value_is_read_from_each_of_its_forms(value: str):
    assert value in forms(value) and forms(value)[-1] in json.dumps(json.dumps({"a": value}))
    once = json.dumps(value)[1:-1]
    twice = json.dumps(once)[1:-1]
    plain = all(character.isprintable() or character in "\n\r\t\b\f" for character in value)
    assert not plain or unescaped(once) == unescaped(twice) == value
