"""The guard on new strings: what blocks a dataset until a person releases it, and what is exempt."""

import pytest

from flywheel.chat import Renderer
from flywheel.datasets.build import build
from flywheel.datasets.poisoning import refuse_suspicious, release_rows, tokens_of
from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel.lake.dataset_tables import BEFORE_ALL_WEEKS
from flywheel.workflows.pack import Pack
from flywheel_tests.datasets.samples import WEEKS, called, correction, put, said, workshop


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
    assert build(shop, WEEKS[0]).suspicions == []
    bad = [
        correction(pack, f"how to return this {n}", said(f"Go to www.cheap-returns.example/{'x'} for {n}."))
        for n in range(4)
    ]
    odd = [correction(pack, f"what is that {n}", said(f"Surely the zorblax, number {n}.")) for n in range(9)]
    put(shop, WEEKS[1], *bad, *odd)
    made = build(shop, WEEKS[1])
    assert {(one.kind, one.token) for one in made.suspicions} >= {
        ("link", "www.cheap-returns.example/x"),
        ("word", "zorblax"),
    }
    with pytest.raises(FlywheelError, match="cheap-returns") as caught:
        refuse_suspicious(made.suspicions, [], workflow=pack.name, week=WEEKS[1])
    link = next(one for one in made.suspicions if one.kind == "link")
    assert (
        len(link.row_ids) == 4
        and link.row_ids[0] in str(caught.value)
        and "flywheel dataset release" in caught.value.remedy
    )
    lake.append_new("dataset_releases", release_rows(made.suspicions, WEEKS[1], "Dana", None), workflow=pack.name)
    refuse_suspicious(
        made.suspicions,
        lake.read_weeks("dataset_releases", workflow=pack.name)["token"],
        workflow=pack.name,
        week=WEEKS[1],
    )


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
