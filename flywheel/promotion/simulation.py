"""What the gate's rules cost and catch: many simulated weeks through the code that judges real ones.

    python -m flywheel.promotion.simulation --trials 20000      prints the tables of docs/gate.md

A simulated week is a benchmark of singleton cases (or of pairs that mostly move together) with the category sizes of the
shipped example, seven tools with an eighth of the cases each, a quarter of it targeted, and an A/A run of 60 cases. Each case comes out differently between the arms with
a given probability, more often one way when there is a true effect. Everything from there on is the gate's own code: bounds,
Holm, margin, A/A verdict, `verdict_of`.
"""

import argparse
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np

from flywheel.promotion.buckets import BUCKET_MINIMUM, TOOL_MINIMUM, got_worse
from flywheel.promotion.margin import Fixed, margin_for
from flywheel.promotion.noise import A_A_LEVEL
from flywheel.promotion.targeted import ALONE_LEVEL
from flywheel.promotion.verdict import Numbers, Verdict, verdict_of
from flywheel.statistics.paired import clustered_bounds, holm_adjusted, sign_test, t_worse

FLIPS = (0.02, 0.05, 0.10, 0.15, 0.20)
REPEATED = 60
ASSUMED_DISCORDANCE = 0.2  # the default of `gate.discordance`
TOOLS = 7  # each has an eighth of the cases; an eighth has none
CATEGORY_SHARES = (114 / 240, 46 / 240, 40 / 240, 40 / 240)
SHARED = 0.8  # how often the two cases of a pair come out together


class World(NamedTuple):
    """What is true in a simulated comparison.

    Attributes:
        cases: size of the benchmark's core.
        flips: share of cases that come out differently between the arms (0 to 1).
        effect: true difference, candidate minus incumbent (-1 to 1).
        focused: the whole effect lies on the targeted quarter.
        excused: no targeted gain is asked for (too few targeted cases, or a ceiling).
        paired: cases come in clusters of two that mostly move together.
        quiet: the server repeats itself to the letter (greedy, on one CPU), so the A/A run flips nothing although the models differ.
        later: not the first verdict on the core: the margin was fixed before, in a quiet week, which makes it the strictest.
    """

    cases: int
    flips: float
    effect: float = 0.0
    focused: bool = False
    excused: bool = False
    paired: bool = False
    quiet: bool = False
    later: bool = False


class Layout(NamedTuple):
    """Which cases are targeted, which category, tool and cluster each belongs to; arrays over cases."""

    targeted: np.ndarray
    categories: np.ndarray
    tools: np.ndarray
    owners: np.ndarray


def layout(world: World) -> Layout:
    """The fixed shape of the simulated benchmark."""
    number = np.arange(world.cases)
    edges = np.cumsum(CATEGORY_SHARES)[:-1] * world.cases
    pair = 2 if world.paired else 1
    category, owner = np.searchsorted(edges, number, side="right"), number // pair
    return Layout(owner % 4 == 0, category, owner % (TOOLS + 1), owner)


def differences(world: World, trials: int, rng: np.random.Generator) -> np.ndarray:
    """(trials, cases) of candidate minus incumbent: -1, 0 or 1."""
    shape = layout(world)
    effect = np.full(world.cases, world.effect)
    if world.focused:
        effect = np.where(shape.targeted, world.effect / shape.targeted.mean(), 0.0)
    return _draw(np.maximum(world.flips, np.abs(effect)), effect, shape.owners, trials, rng)


def _draw(
    flips: np.ndarray, effect: np.ndarray, owners: np.ndarray, trials: int, rng: np.random.Generator
) -> np.ndarray:
    uniform = rng.random((trials, len(owners)))
    if owners[-1] + 1 < len(owners):
        together = rng.random((trials, owners[-1] + 1))[:, owners]
        uniform = np.where(rng.random(uniform.shape) < SHARED, together, uniform)
    return np.where(uniform < (flips + effect) / 2, 1.0, np.where(uniform >= 1 - (flips - effect) / 2, -1.0, 0.0))


def simulate(world: World, trials: int, seed: int = 0) -> Counter[Verdict]:
    """How many of `trials` independent weeks in a world got each verdict; the same seed gives the same counts."""
    rng = np.random.default_rng(seed)
    return Counter(verdicts(world, differences(world, trials, rng), a_a_differences(world, trials, rng)))


def a_a_differences(world: World, trials: int, rng: np.random.Generator) -> np.ndarray:
    """(trials, repeated cases) of the incumbent's second run minus its first, on the first cases of the benchmark."""
    flips = np.full(REPEATED, 0.0 if world.quiet else world.flips)
    return _draw(flips, np.zeros(REPEATED), layout(world).owners[:REPEATED], trials, rng)


def verdicts(world: World, moves: np.ndarray, again: np.ndarray) -> list[Verdict]:
    """The verdict of each simulated week: `moves` (trials, cases) between the arms, `again` in the A/A run."""
    shape = layout(world)
    overall = clustered_bounds(moves, shape.owners)
    alone = clustered_bounds(moves, shape.owners, ALONE_LEVEL).lower
    gained = clustered_bounds(moves[:, shape.targeted], shape.owners[shape.targeted]).lower > 0
    worse = parts_worse(moves, shape)
    noise = clustered_bounds(again, shape.owners[:REPEATED], A_A_LEVEL)
    unlike = (noise.upper < 0) | (noise.lower > 0)
    flipped = np.abs(again).sum(axis=1).astype(int)
    found: list[Verdict] = []
    for one in range(len(moves)):
        state = "excused" if world.excused else "gained" if gained[one] else "no gain"
        numbers = Numbers(
            overall.lower[one], overall.upper[one], alone[one], _margin(world.cases, flipped[one], world.later), state,
            bucket_worse=worse[one],
        )  # fmt: skip
        found.append("INVALID" if unlike[one] else verdict_of(numbers)[0])
    return found


def parts_worse(moves: np.ndarray, shape: Layout) -> np.ndarray:
    """(trials,) whether any category or tool with enough cases counts as worse."""
    p_values, drops = [], []
    categories = [(shape.categories == category, BUCKET_MINIMUM) for category in np.unique(shape.categories)]
    for mine, minimum in [*categories, *((shape.tools == tool, TOOL_MINIMUM) for tool in range(TOOLS))]:
        if mine.sum() < minimum:
            continue
        part, owners = moves[:, mine], shape.owners[mine]
        bounds, groups = clustered_bounds(part, owners), len(np.unique(owners))
        exact = groups == part.shape[1]
        counts = (part < 0).sum(axis=1), (part > 0).sum(axis=1)
        p_values.append(sign_test(*counts) if exact else t_worse(bounds.mean, bounds.standard_error, groups))
        drops.append(-bounds.mean)
    adjusted = holm_adjusted(np.stack(p_values, axis=-1))
    return np.asarray(got_worse(adjusted, np.stack(drops, axis=-1)).any(axis=-1))


@cache
def _margin(cases: int, flipped: int, later: bool) -> float | None:
    """The default margin where `flipped` of the repeated cases flipped; None where it is not resolved."""
    share = max(flipped / REPEATED, ASSUMED_DISCORDANCE)
    first = margin_for(cases, ASSUMED_DISCORDANCE, chosen=None, fixed=None)
    margin = margin_for(cases, share, chosen=None, fixed=Fixed(first.value, first.smallest) if later else None)
    return margin.value if margin.resolved else None


def shares(world: World, trials: int, seed: int = 0) -> dict[Verdict, float]:
    """Verdicts of a world as shares of all simulated weeks, 0 to 1."""
    counts = simulate(world, trials, seed)
    return {verdict: counts[verdict] / trials for verdict in ("PROMOTE", "REJECT", "INCONCLUSIVE", "INVALID")}


def tables(trials: int) -> str:
    """The Markdown tables of docs/gate.md."""
    return "\n".join([*_equal(trials), "", *_loss(trials), "", *_gain(trials), "", *_later(trials)])


def _equal(trials: int) -> Iterator[str]:
    yield "### Two equal models"
    yield "\n| cases | cases that flip | REJECT | PROMOTE | PROMOTE, server quiet | PROMOTE where excused | INVALID |"
    yield _rule(7)
    for cases, paired in ((200, False), (240, False), (240, True), (500, False)):
        for flips in FLIPS:
            world = World(cases, flips, paired=paired)
            found, quiet, excused = (
                shares(one, trials) for one in (world, world._replace(quiet=True), world._replace(excused=True))
            )
            name, promoted = (
                f"{cases}{' in pairs' if paired else ''}",
                [one["PROMOTE"] for one in (found, quiet, excused)],
            )
            yield _row(name, f"{flips:.0%}", found["REJECT"], *promoted, found["INVALID"])


def _loss(trials: int) -> Iterator[str]:
    yield "### A true loss of 10 points"
    yield "\n| cases | cases that differ | REJECT | PROMOTE | PROMOTE where excused | the same, server quiet |"
    yield _rule(6)
    for cases in (200, 240, 500):
        for flips in (0.10, 0.15, 0.20, 0.30, 0.40):
            world = World(cases, flips, -0.10)
            found, excused = shares(world, trials), shares(world._replace(excused=True), trials)
            quiet = shares(world._replace(excused=True, quiet=True), trials)
            yield _row(cases, f"{flips:.0%}", found["REJECT"], *(one["PROMOTE"] for one in (found, excused, quiet)))


def _gain(trials: int) -> Iterator[str]:
    yield "### A true gain: promoted / left INCONCLUSIVE / refused"
    yield "\n| gain | where | cases that differ | 240 cases | 500 cases |"
    yield _rule(5)
    for effect in (0.03, 0.05, 0.10):
        for focused, where in ((False, "everywhere"), (True, "targeted quarter")):
            for flips in (one for one in (0.05, 0.10, 0.15, 0.20) if one >= effect):
                found = [shares(World(cases, flips, effect, focused), trials) for cases in (240, 500)]
                cells = [f"{f['PROMOTE']:.1%} / {f['INCONCLUSIVE']:.1%} / {f['REJECT']:.1%}" for f in found]
                yield _row(f"+{effect:.0%}", where, f"{flips:.0%}", *cells)


def _later(trials: int) -> Iterator[str]:
    yield "### Promoted in a core's first week, and in later ones"
    yield "\n| cases | what is true | cases that differ | first week | later |"
    yield _rule(5)
    truths = {
        "equal": World(0, 0), "equal, excused": World(0, 0, excused=True), "-10, excused": World(0, 0, -0.10, excused=True),
        "+5 in the targeted quarter": World(0, 0, 0.05, True),
    }  # fmt: skip
    for cases in (240, 500):
        for name, world in truths.items():
            for flips in (0.10, 0.15, 0.20):
                first = world._replace(cases=cases, flips=flips)
                found = [shares(one, trials)["PROMOTE"] for one in (first, first._replace(later=True))]
                yield _row(cases, name, f"{flips:.0%}", *found)


def _rule(columns: int) -> str:
    return "|" + "---|" * columns


def _row(*cells: str | float) -> str:
    return "| " + " | ".join(f"{cell:.2%}" if isinstance(cell, float) else str(cell) for cell in cells) + " |"


def main() -> None:
    """Print the tables; a full run of 20,000 weeks a row takes minutes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=20_000, help="simulated weeks a row (default 20,000)")
    print(tables(parser.parse_args().trials))


if __name__ == "__main__":
    main()
