"""The validation split: closed over groups and conversations, never much more than its share, the same each time."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.training.validation import FEWEST, _unit, split_validation

SHARE = 0.05
NAMES = [f"g{number}" for number in range(4000)]
LOW = [name for name in NAMES if _unit(name) < SHARE]
HIGH = [name for name in NAMES if _unit(name) >= SHARE]
Rows = list[tuple[str, str, str]]


def frame(rows: Rows) -> pl.DataFrame:
    """Rows of (row id, near-duplicate group, conversation)."""
    return pl.DataFrame(rows, schema=["row_id", "near_duplicate_group", "conversation_id"], orient="row")


def apart(taught: pl.DataFrame, held: pl.DataFrame) -> bool:
    """Whether no group and no conversation is on both sides."""
    return not any(set(taught[name]) & set(held[name]) for name in ("near_duplicate_group", "conversation_id"))


def alone(count: int) -> Rows:
    """Rows with nothing in common, none of them drawn."""
    return [(f"z{number}", HIGH[number], f"z{number}") for number in range(count)]


def hub(conversations: int) -> Rows:
    """One drawn group in so many conversations, each with four groups of its own."""
    rows = [(f"h{c}", LOW[1], f"c{c}") for c in range(conversations)]
    return rows + [(f"i{c}-{k}", HIGH[1000 + 4 * c + k], f"c{c}") for c in range(conversations) for k in range(4)]


def test_a_chain_of_groups_and_conversations_stays_on_one_side():
    chained = [(f"a{number}", LOW[0], "one") for number in range(25)]
    chained += [("b1", HIGH[0], "one"), ("b2", HIGH[0], "two"), ("c2", HIGH[1], "two")]
    taught, held = split_validation(frame(chained + [(f"y{n}", HIGH[10 + n], f"y{n}") for n in range(300)]), SHARE)
    assert apart(taught, held) and held.height in (0, 28)


@pytest.mark.parametrize("others", [0, 250])
def test_a_group_in_many_conversations_takes_no_more_than_twice_the_share(others: int):
    rows = hub(50) + alone(others)
    taught, held = split_validation(frame(rows), SHARE)
    assert apart(taught, held) and held.height < 2 * SHARE * len(rows) and taught.height + held.height == len(rows)


def test_sets_drawn_after_one_that_is_too_large_still_validate():
    drawn = [(f"d{number}", LOW[10 + number], f"d{number}") for number in range(30)]
    taught, held = split_validation(frame(hub(50) + alone(250) + drawn), SHARE)
    assert apart(taught, held) and {row_id[0] for row_id in held["row_id"]} == {"d"} and held.height == 30


def test_a_set_keeps_its_side_as_data_grows_and_too_few_rows_are_none():
    drawn = [(f"d{number}", LOW[number], f"d{number}") for number in range(30)]
    before = split_validation(frame(drawn + alone(500)), SHARE)[1]
    after = split_validation(frame(drawn + alone(900)), SHARE)[1]
    assert set(before["row_id"]) == set(after["row_id"]) == {row_id for row_id, *_ in drawn}
    taught, held = split_validation(frame(drawn[: FEWEST - 1] + alone(500)), SHARE)
    assert held.height == 0 and taught.height == FEWEST - 1 + 500


def test_a_row_without_a_group_goes_by_itself():
    rows = frame(alone(300)).with_columns(near_duplicate_group=pl.lit(None, pl.String))
    taught, held = split_validation(rows, 0.2)
    assert held.height >= FEWEST and taught.height + held.height == 300


@given(
    st.lists(st.tuples(st.sampled_from(NAMES[:60]), st.integers(0, 60)), min_size=1, max_size=400),
    st.sampled_from([0.0, SHARE, 0.2, 0.5]),
)
def test_the_sides_have_nothing_in_common_and_something_always_trains(pairs: list[tuple[str, int]], share: float):
    rows = frame([(f"r{number}", group, f"c{conversation}") for number, (group, conversation) in enumerate(pairs)])
    taught, held = split_validation(rows, share)
    assert taught.height and apart(taught, held) and held.height <= 2 * share * rows.height
    again = split_validation(rows.sample(fraction=1.0, shuffle=True, seed=1), share)[1]
    assert set(again["row_id"]) == set(held["row_id"])
