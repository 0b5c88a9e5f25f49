"""Near-duplicates week by week: the same groups as all at once, on any order and in any number of shards."""

import random

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.similarity.incremental import band_columns, groups_of, near_links, text_id_of

WORDS = [f"word{number}" for number in range(2_000)]


def frame(texts: list[str], shards: int = 1) -> pl.DataFrame:
    ids = pl.DataFrame({"text_id": [text_id_of(text) for text in texts], "text": texts})
    size = max(1, -(-len(texts) // shards))
    parts = [pl.concat([part, band_columns(part["text"])], how="horizontal") for part in ids.iter_slices(size)]
    return pl.concat(parts)


def weekly_links(weeks: list[list[str]], shards: int = 1, seed: int | None = None) -> pl.DataFrame:
    """Links of texts that arrive week by week, in any order inside a week."""
    seen, links = frame(["first of all texts"]).clear(), []
    for texts in weeks:
        if seed is not None:
            random.Random(seed).shuffle(texts)
        new = frame(texts, shards).unique("text_id", maintain_order=True).join(seen, on="text_id", how="anti")
        stored = dict(seen.select("text_id", "text").rows())
        near = near_links(new, seen, lambda ids, stored=stored: {key: stored[key] for key in ids})
        links += [(key, str(near.get(key, [])).replace("'", '"')) for key in sorted(new["text_id"])]
        seen = pl.concat([seen, new.sort("text_id")])
    return pl.DataFrame(links, schema={"text_id": pl.String, "near": pl.String}, orient="row")


def corpus(count: int) -> list[list[str]]:
    rng = random.Random(3)
    base = [rng.choices(WORDS, k=40) for _ in range(count)]
    twins = [[*words[:-1], "other"] for words in base[::2]]
    return [[" ".join(words) for words in part] for part in (base[: count // 2], base[count // 2 :], twins)]


def test_a_twin_is_found_in_any_earlier_week_and_strangers_stay_apart():
    weeks = corpus(60)
    groups = dict(groups_of(weekly_links(weeks)).rows())
    for twin, original in zip(weeks[2], (weeks[0] + weeks[1])[::2], strict=True):
        assert groups[text_id_of(twin)] == groups[text_id_of(original)]
    assert len(set(groups.values())) == 60


def test_order_and_shards_change_nothing():
    one = weekly_links(corpus(40))
    assert one.equals(weekly_links(corpus(40), shards=5, seed=1)) and one.equals(
        weekly_links(corpus(40), shards=3, seed=2)
    )


def test_spellings_are_one_text():
    assert (
        len(
            {
                text_id_of(text)
                for text in ("Cancel order A1.", "cancel  order a1", "CANCEL, order A1!", "cancel order: A1")
            }
        )
        == 1
    )
    assert text_id_of("cancel order A1") != text_id_of("cancel order A2")


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(alphabet="ab .", max_size=12), min_size=1, max_size=12))
def test_any_texts_at_all(texts: list[str]):
    groups = groups_of(weekly_links([texts, [text + " b" for text in texts]]))
    assert set(groups["near_duplicate_group"]) <= set(groups["text_id"])
