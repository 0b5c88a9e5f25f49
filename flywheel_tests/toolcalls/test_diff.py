"""Structural differences: they say what differs, and a patch made of them gives the other value."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.toolcalls.diff import Change, diff, equal, patched

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab", max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("kl", min_size=1, max_size=1), inner, max_size=2)
    ),
    max_leaves=8,
)


@given(JSON, JSON)
def test_a_patch_of_the_differences_gives_the_other_value(before: Any, after: Any):
    changes = diff(before, after)
    assert (changes == []) == equal(before, after)
    assert equal(patched(before, changes), after)


def test_paths_are_readable_and_kinds_are_said():
    changes = diff({"a": {"zip": "1"}, "b": 1, "l": [1]}, {"a": {"zip": "2"}, "c": 1, "l": [1, 2]})
    assert [(change.where, change.kind) for change in changes] == [
        ("a.zip", "changed"), ("b", "removed"), ("l[1]", "added"), ("c", "added"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "change"),
    [
        ({"a": 2}, Change(("a",), "changed", 1, 3)),  # something else stood there
        ({}, Change(("a",), "changed", 1, 3)),
        ({"a": 1}, Change(("a",), "added", None, 3)),
        ({"a": 1}, Change(("b", "c"), "added", None, 3)),
    ],
)
def test_a_patch_does_not_overwrite_what_it_does_not_know(value: Any, change: Change):
    assert patched(value, [change]) is None


def test_true_is_not_one():
    assert diff(True, 1) and not diff(1, 1.0)
