"""Whose place is taken by whom: repeats of what fell to a cap, and trajectories as a whole."""

import pytest

from flywheel.chat import Renderer
from flywheel.datasets.build import build
from flywheel.lake import Lake
from flywheel.workflows.pack import Pack
from flywheel_tests.datasets.samples import WEEKS, called, correction, put, said, workshop

KEY = "what does the blue key open in the cellar"


def crowd(pack: Pack, count: int = 24) -> list[dict]:
    """One correction each of so many people: enough that nobody may fill more than three."""
    return [
        correction(pack, f"one question {n}", called("get_order", order_id=f"O{n}"), principal_ref=f"p{n}")
        for n in range(count)
    ]


def loud(pack: Pack) -> list[dict]:
    """Three corrections of one person, each the first of its cluster: in the newest week they are asked before anything older."""
    return [
        correction(
            pack,
            f"loud {n}",
            called("get_order", order_id=f"L{n}"),
            principal_ref="loud",
            failure_cluster=f"cluster {n}",
        )
        for n in range(3)
    ]


@pytest.mark.parametrize("others", [["quiet"], ["loud", "quiet", "silent"]])
def test_a_repeat_takes_the_place_of_what_falls_to_a_cap(pack: Pack, renderer: Renderer, lake: Lake, others: list[str]):
    shop = workshop(lake, pack, renderer)
    answer = called("get_order", order_id="TWIN")
    twins = [correction(pack, KEY, answer, principal_ref=person) for person in others]
    put(shop, WEEKS[0], *crowd(pack), *twins)
    newest = correction(pack, f"{KEY}?", answer, principal_ref="loud")
    put(shop, WEEKS[1], newest)
    put(shop, WEEKS[2], *loud(pack))
    made = build(shop, WEEKS[2])
    (row,) = [row for row in made.mix.kept if row["source_id"] in {one["correction_id"] for one in (newest, *twins)}]
    assert row["principal_ref"] in ("quiet", "silent")
    assert made.mix.reasons() == {"cap_principal": 1} | ({"repeated": 2} if len(others) == 3 else {})
    assert len(made.sft) == 24 + 3 + 1 and build(shop, WEEKS[2]).sft == made.sft


@pytest.mark.parametrize("whole", [True, False])
def test_a_trajectory_takes_a_place_as_a_whole_or_not_at_all(pack: Pack, renderer: Renderer, lake: Lake, whole: bool):
    """The quiet run repeats the loud one; its own last step, if it has one, must not be lost without the others."""
    shop = workshop(lake, pack, renderer)
    steps = [called("get_order", 1, order_id="R1"), called("get_order", 2, order_id="S1")]
    mine = correction(pack, KEY, *steps, *([] if whole else [said("x")]), principal_ref="quiet", bucket="bad_recovery")
    theirs = correction(pack, f"{KEY}?", *steps, said("done"), principal_ref="loud", bucket="bad_recovery")
    put(shop, WEEKS[0], *crowd(pack), mine)
    put(shop, WEEKS[1], theirs)
    put(shop, WEEKS[2], *loud(pack))
    kept = [row["source_id"] for row in build(shop, WEEKS[2]).mix.kept if row["remedy"] == "trajectory"]
    assert kept == [mine["correction_id"]] * (2 if whole else 3)
