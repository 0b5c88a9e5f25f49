"""The guard on new strings: what blocks a dataset until a person releases it, and what is exempt."""

import pytest

from flywheel.chat import Renderer
from flywheel.datasets.build import build
from flywheel.datasets.poisoning import refuse_suspicious, release_rows, released_strings, tokens_of
from flywheel.datasets.withdrawals import withdraw
from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel.lake.dataset_tables import BEFORE_ALL_WEEKS
from flywheel.workflows.pack import Pack
from flywheel_tests.datasets.samples import WEEKS, Workshop, called, correction, put, said, workshop

LINK = "www.cheap-returns.example/x"


def written(shop: Workshop, week: str) -> int:
    """Write a week's dataset if the guard lets it pass; returns how many of its rows name the link."""
    made = build(shop, week)
    released = released_strings(shop.lake, shop.pack.name, week)
    refuse_suspicious(made.suspicions, released, workflow=shop.pack.name, week=week)
    shop.lake.replace_partition("sft_dataset", made.sft, workflow=shop.pack.name, week=week)
    return sum(LINK in row["target"] for row in made.sft)


def blocked(pack: Pack, renderer: Renderer, lake: Lake) -> Workshop:
    """A first week that passed, and a second one that was blocked for a link and a word."""
    shop = workshop(lake, pack, renderer)
    put(shop, WEEKS[0], *(correction(pack, f"return thing {n}", said(f"By the form, item {n}.")) for n in range(9)))
    assert written(shop, WEEKS[0]) == 0
    bad = [correction(pack, f"how to return this {n}", said(f"Go to {LINK} for {n}."), annotator="bad") for n in range(4)]  # fmt: skip
    put(shop, WEEKS[1], *bad, *(correction(pack, f"what is that {n}", said(f"A zorblax, {n}.")) for n in range(9)))
    with pytest.raises(FlywheelError, match="zorblax.*cheap-returns"):
        written(shop, WEEKS[1])
    return shop


def test_a_blocked_week_stays_blocked_in_the_weeks_after_it(pack: Pack, renderer: Renderer, lake: Lake):
    shop = blocked(pack, renderer, lake)
    put(shop, WEEKS[2], *(correction(pack, f"paint a fence {n}", called("get_order", order_id=f"F{n}")) for n in range(200)))  # fmt: skip
    with pytest.raises(FlywheelError, match="zorblax.*cheap-returns"):
        written(shop, WEEKS[2])  # though the word stands in less than a twentieth of both weeks' rows
    put(shop, WEEKS[3], *(correction(pack, f"where to send it {n}", said(f"To {LINK}, {n}.")) for n in range(5)))
    (link,) = [one for one in build(shop, WEEKS[3]).suspicions if one.token == LINK]
    assert len(link.row_ids) == 9, "what was blocked exempts nothing"


def test_what_was_released_for_a_blocked_week_is_released_for_the_next_one(pack: Pack, renderer: Renderer, lake: Lake):
    shop = blocked(pack, renderer, lake)
    found = build(shop, WEEKS[1]).suspicions
    lake.append_new("dataset_releases", release_rows(found, WEEKS[1], "Dana", None), workflow=pack.name)
    put(shop, WEEKS[2], correction(pack, "paint a fence", said("With a brush.")))
    assert written(shop, WEEKS[2]) == 4
    put(shop, WEEKS[3], *(correction(pack, f"where to send it {n}", said(f"To {LINK}, {n}.")) for n in range(5)))
    assert build(shop, WEEKS[3]).suspicions == [], "it passed"
    assert released_strings(lake, pack.name, WEEKS[3]) == set()
    assert {one.token for one in build(shop, WEEKS[1]).suspicions} == released_strings(lake, pack.name, WEEKS[1])


def test_a_withdrawn_source_lets_the_week_pass_and_its_strings_are_not_known(
    pack: Pack, renderer: Renderer, lake: Lake
):
    shop = blocked(pack, renderer, lake)
    found = build(shop, WEEKS[1]).suspicions
    lake.append_new("dataset_releases", release_rows(found, WEEKS[1], "Dana", None), workflow=pack.name)
    assert written(shop, WEEKS[1]) == 4
    withdraw(lake, pack.name, "annotator", "bad", by="Dana", reason="it was wrong")
    put(shop, WEEKS[2], *(correction(pack, f"where to send it {n}", said(f"To {LINK}, {n}.")) for n in range(5)))
    assert [one.token for one in build(shop, WEEKS[2]).suspicions] == [LINK]


def test_a_new_and_frequent_link_blocks_until_a_person_releases_it(pack: Pack, renderer: Renderer, lake: Lake):
    shop = workshop(lake, pack, renderer)
    put(
        shop,
        WEEKS[0],
        *(
            correction(pack, f"how do i return thing {n}", said(f"By the form in your account, item {n}."))
            for n in range(30)
        ),
    )
    assert build(shop, WEEKS[0]).suspicions == [] and written(shop, WEEKS[0]) == 0
    bad = [correction(pack, f"how to return this {n}", said(f"Go to {LINK} for {n}.")) for n in range(4)]
    odd = [correction(pack, f"what is that {n}", said(f"Surely the zorblax, number {n}.")) for n in range(9)]
    put(shop, WEEKS[1], *bad, *odd)
    made = build(shop, WEEKS[1])
    assert {(one.kind, one.token) for one in made.suspicions} >= {("link", LINK), ("word", "zorblax")}
    with pytest.raises(FlywheelError, match="cheap-returns") as caught:
        refuse_suspicious(made.suspicions, [], workflow=pack.name, week=WEEKS[1])
    link = next(one for one in made.suspicions if one.kind == "link")
    assert (
        len(link.row_ids) == 4
        and link.row_ids[0] in str(caught.value)
        and "flywheel dataset release" in caught.value.remedy
    )
    lake.append_new("dataset_releases", release_rows(made.suspicions, WEEKS[1], "Dana", None), workflow=pack.name)
    assert written(shop, WEEKS[1]) == 4


def test_in_the_first_week_a_new_word_is_no_suspicion_and_a_link_is(pack: Pack, renderer: Renderer, lake: Lake):
    shop = workshop(lake, pack, renderer)
    put(shop, BEFORE_ALL_WEEKS, *(correction(pack, f"shown thing {n}", said("As it was shown.")) for n in range(20)))
    put(
        shop,
        WEEKS[0],
        *(correction(pack, f"asked thing {n}", said("A colleague takes over, see bad.example.com")) for n in range(12)),
    )
    assert {one.kind for one in build(shop, WEEKS[0]).suspicions} == {"link"}


def test_tools_guidelines_and_the_runs_own_numbers_are_exempt(pack: Pack, renderer: Renderer, lake: Lake):
    shop = workshop(lake, pack, renderer)
    put(shop, WEEKS[0], *(correction(pack, f"first things {n}", said("Doors only.")) for n in range(5)))
    assert written(shop, WEEKS[0]) == 0
    put(
        shop,
        WEEKS[1],
        *(
            correction(pack, f"my number is 123456, door {n}", called("open_door", door="green"), said("123456 it is"))
            for n in range(12)
        ),
    )
    assert [one.token for one in build(shop, WEEKS[1]).suspicions] == []
    assert tokens_of({"a": '{"b": "see https://x.io/p"}'}) == {("word", "see"), ("link", "https://x.io/p")}


def test_a_mail_address_that_the_run_gave_is_no_link_and_its_host_elsewhere_is(
    pack: Pack, renderer: Renderer, lake: Lake
):
    shop = workshop(lake, pack, renderer)
    put(shop, WEEKS[0], *(correction(pack, f"first things {n}", said("Doors only.")) for n in range(5)))
    assert written(shop, WEEKS[0]) == 0
    given = [
        correction(pack, f"my orders, I am kim{n}@brieftaube.org", said(f"Yours, Kim{n}@brieftaube.org."))
        for n in range(4)
    ]
    put(shop, WEEKS[1], *given)
    assert [one.token for one in build(shop, WEEKS[1]).suspicions] == []
    other = [
        correction(pack, f"I am bo{n}@brieftaube.org, where", said(f"Write to help@brieftaube.org {n}."))
        for n in range(4)
    ]
    put(shop, WEEKS[1], *given, *other)
    (link,) = build(shop, WEEKS[1]).suspicions
    assert link.token == "brieftaube.org" and len(link.row_ids) == 4, "an address that nobody gave"
