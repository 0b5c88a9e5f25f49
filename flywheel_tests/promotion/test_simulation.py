"""What the gate promises: few wrong verdicts on equal models, a true loss caught; measured through the gate's own code."""

import numpy as np
import polars as pl
import pytest

from flywheel.promotion.evidence import Evidence, Rules
from flywheel.promotion.gate import decide
from flywheel.promotion.simulation import (
    FLIPS,
    REPEATED,
    TOOLS,
    World,
    a_a_differences,
    differences,
    layout,
    shares,
    tables,
    verdicts,
)

CATEGORIES = np.array(["tool_calling", "refusal", "multi_step", "recovery"])
TRIALS = 2_000
# Two standard errors of a share of 5 % in so few weeks; the slow tests allow none.
ALLOWED = 0.05 + 2 * (0.05 * 0.95 / TRIALS) ** 0.5


def promises(
    cases: int, trials: int, *, paired: bool = False, quiet: bool = False, later: bool = False, allowed: float = 0.05
) -> None:
    """Equal models: at most 5 % refused and 5 % promoted, at every flip rate."""
    for flips in FLIPS:
        found = shares(World(cases, flips, paired=paired, quiet=quiet, later=later), trials, seed=1)
        assert found["REJECT"] <= allowed and found["PROMOTE"] <= allowed, (cases, flips, found)


@pytest.mark.parametrize("cases", [200, 240])
def test_equal_models_are_hardly_ever_refused_or_promoted(cases: int):
    promises(cases, TRIALS, allowed=ALLOWED)


def test_nor_where_cases_come_in_pairs_that_move_together():
    promises(240, TRIALS, paired=True, allowed=ALLOWED)


def test_nor_in_later_weeks_when_the_margin_is_fixed_and_no_less_is_promoted_then():
    promises(240, TRIALS, later=True, allowed=ALLOWED)
    for world in (World(240, 0.2, 0.05, True), World(240, 0.15, excused=True), World(500, 0.15, excused=True)):
        first, later = (shares(one, TRIALS, seed=1)["PROMOTE"] for one in (world, world._replace(later=True)))
        assert first - 0.08 < later <= first + 0.02, (world, first, later)
    loss = shares(World(240, 0.2, -0.10, excused=True, later=True), TRIALS, seed=1)
    assert loss["PROMOTE"] <= 0.005


def test_a_true_loss_of_ten_points_is_refused_and_not_promoted():
    for flips in (0.10, 0.15, 0.20, 0.30):
        found = shares(World(200, flips, -0.10), TRIALS, seed=1)
        excused = shares(World(200, flips, -0.10, excused=True, quiet=True), TRIALS, seed=1)
        assert max(found["PROMOTE"], excused["PROMOTE"]) <= 0.005, (flips, found, excused)
        assert flips > 0.15 or found["REJECT"] >= 0.95, (flips, found)


def test_a_gain_where_it_was_aimed_at_is_seen_sooner_than_one_spread_thin():
    aimed, thin = (shares(World(500, 0.10, 0.05, focused), TRIALS) for focused in (True, False))
    assert aimed["PROMOTE"] >= thin["PROMOTE"] >= 0.8 and aimed["INCONCLUSIVE"] <= 0.05


def test_the_simulation_judges_as_the_gate_does():
    """The same weeks as evaluation rows through `decide`: verdict by verdict the same."""
    kinds = set()
    for world in (World(240, 0.15, 0.06), World(240, 0.15, -0.06), World(240, 0.1, 0.04, True), World(240, 0.2, paired=True)):  # fmt: skip
        rng = np.random.default_rng(5)
        moves, again = differences(world, 6, rng), a_a_differences(world, 6, rng)
        again[moves[:, :REPEATED] * again < 0] = (
            0  # a case solved by neither run of the incumbent cannot be lost by one
        )
        expected = verdicts(world, moves, again)
        assert [
            decide(as_evidence(world, *week), Rules(None)).verdict for week in zip(moves, again, strict=True)
        ] == expected
        kinds |= set(expected)
    assert {"PROMOTE", "REJECT", "INCONCLUSIVE"} <= kinds


def as_evidence(world: World, moves: np.ndarray, again: np.ndarray) -> Evidence:
    shape = layout(world)
    either = np.arange(world.cases) % 2  # cases that do not move: half of them solved by both
    old = np.where(moves < 0, 1, np.where(moves > 0, 0, either))
    old[:REPEATED] = np.where(again < 0, 1, np.where(again > 0, 0, old[:REPEATED]))
    # Where only the A/A run moves a case, both arms agree on what the incumbent did first.
    rows = pl.DataFrame({
        "case_id": [f"c{n:04d}" for n in range(world.cases)], "case_cluster": [f"k{owner}" for owner in shape.owners],
        "category": CATEGORIES[shape.categories], "calls": 1, "schema_valid_calls": 1, "benchmark_version": "b", "scorer_version": "1",
        "decoding": "greedy", "infra_error": pl.Series([None] * world.cases, dtype=pl.String),
    })  # fmt: skip
    candidate = rows.with_columns(success=pl.Series(old + moves == 1))
    incumbent = rows.with_columns(success=pl.Series(old == 1))
    second = rows.head(REPEATED).with_columns(success=pl.Series(old[:REPEATED] + again == 1))
    targeted = [f"c{n:04d}" for n in np.flatnonzero(shape.targeted)]
    tools = {f"c{n:04d}": [f"t{tool}"] for n, tool in enumerate(shape.tools) if tool < TOOLS}
    return Evidence(candidate, incumbent, second, targeted, tools=tools)


def test_the_program_prints_the_tables_of_the_page():
    text = tables(20)
    assert text.count("\n| 200 |") == 10 and "| +10% | targeted quarter | 20% |" in text


@pytest.mark.slow
@pytest.mark.parametrize("cases", [200, 240, 500])
def test_equal_models_at_many_weeks(cases: int):
    promises(cases, 20_000)
    promises(cases, 20_000, quiet=True)


@pytest.mark.slow
def test_a_true_loss_at_many_weeks():
    for flips in (0.10, 0.15, 0.20, 0.30, 0.40):
        found = shares(World(200, flips, -0.10), 20_000, seed=1)
        excused = shares(World(200, flips, -0.10, excused=True, quiet=True), 20_000, seed=1)
        assert max(found["PROMOTE"], excused["PROMOTE"]) <= 0.005, (flips, found, excused)
        assert flips > 0.15 or found["REJECT"] >= 0.95, (flips, found)
