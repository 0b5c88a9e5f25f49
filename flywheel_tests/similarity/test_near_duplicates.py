"""Near-duplicate groups: connected, stable, and no false alarms on unrelated texts."""

from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.similarity.near_duplicates import group, jaccard, shingles

LONG = "the quick brown fox jumps over the lazy dog while the old cat sleeps near the warm stove"


def test_a_changed_word_at_the_end_keeps_the_group_and_other_texts_stay_apart():
    groups = group(
        {"b": LONG, "a": LONG + " today", "c": "something entirely different is said in this text, is it not"}
    )
    assert groups == {"a": "a", "b": "a", "c": "c"}


def test_short_texts_are_compared_whole():
    assert group({"x": "hello there", "y": "Hello  there", "z": "hello"}) == {"x": "x", "y": "x", "z": "z"}
    assert shingles("") == set() and jaccard(set(), set()) == 0


@settings(max_examples=50)
@given(
    st.dictionaries(
        st.sampled_from("abcdefgh"), st.lists(st.sampled_from(["one", "two", "three"]), max_size=9).map(" ".join)
    )
)
def test_groups_do_not_depend_on_order_and_hold_their_smallest_id(texts: dict[str, str]):
    groups = group(texts)
    assert groups == group(dict(reversed(texts.items())))
    for key, leader in groups.items():
        assert groups[leader] == leader <= key
