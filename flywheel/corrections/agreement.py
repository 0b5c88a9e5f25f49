"""Agreement between two annotators who corrected the same run without knowing of each other: Krippendorff's alpha.

Four layers: first wrong step, kind of fix and tool (nominal), arguments (JSON-path distance). Alpha is 1 - observed / expected
distance; it is None where it cannot be known: under two units, or when nothing ever differs, because then chance has no measure.
Source: Krippendorff, Content Analysis (2004), chapter 11; the distances after Braylan, Alonso and Lease (2022).
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from flywheel.corrections.answers import Answer, first_answers
from flywheel.corrections.events import EventStore
from flywheel.toolcalls.distance import distance

_RESAMPLES = 1_000
_KNOWN_SHARE = 0.9  # of the resamples; under it the interval is not known


class Alpha(NamedTuple):
    """Agreement on one layer.

    Attributes:
        alpha: 1 is perfect, 0 is chance; None where it cannot be known. `low` and `high` bound 95 % of bootstrap resamples.
        observed, expected: mean distance inside a pair, and between any two answers.
        pairs: units it was computed on.
    """

    alpha: float | None
    low: float | None
    high: float | None
    observed: float | None
    expected: float | None
    pairs: int


Pair = tuple[Any, Any]


def nominal(one: Any, other: Any) -> float:
    """0 for equal values, 1 for others."""
    return float(one != other)


def alpha(pairs: Sequence[Pair], apart: Callable[[Any, Any], float] = nominal, *, seed: int = 0) -> Alpha:
    """Krippendorff's alpha of pairs of answers under a distance, with a seeded percentile bootstrap over the pairs."""
    if len(pairs) < 2:
        return Alpha(None, None, None, None, None, len(pairs))
    values = [value for pair in pairs for value in pair]
    table = np.array([[apart(one, other) for other in values] for one in values], dtype=float)
    within = np.array([table[2 * unit, 2 * unit + 1] for unit in range(len(pairs))])
    point, observed, expected = _alpha(within, table, np.ones(len(pairs)))
    rng = np.random.default_rng(seed)
    draws = [np.bincount(rng.integers(0, len(pairs), len(pairs)), minlength=len(pairs)) for _ in range(_RESAMPLES)]
    known = [value for weights in draws if (value := _alpha(within, table, weights)[0]) is not None]
    if point is None or len(known) < _KNOWN_SHARE * _RESAMPLES:
        return Alpha(point, None, None, observed, expected, len(pairs))
    low, high = np.quantile(known, (0.025, 0.975))
    return Alpha(point, float(low), float(high), observed, expected, len(pairs))


def _alpha(within: np.ndarray, table: np.ndarray, weights: np.ndarray) -> tuple[float | None, float, float]:
    """Alpha, observed and expected distance when unit u counts `weights[u]` times."""
    counts = np.repeat(weights, 2)
    total = counts.sum()
    observed = float((within * weights).sum() / weights.sum())
    # Two draws of the same value are 0 apart, so the diagonal needs no correction but in the number of draws.
    expected = float(counts @ table @ counts / (total * (total - 1)))
    return (1 - observed / expected if expected > 0 else None), observed, expected


def overlap_pairs(store: EventStore, batch: str) -> list[tuple[Answer, Answer]]:
    """First answers to an item and to its overlap twin, by different people; pairs that are not complete are left out."""
    history = store.history(batch)
    twins = [
        (event.payload["source"], event.item_id)
        for _, _, event in history
        if event.kind == "plant" and event.payload.get("kind") == "overlap"
    ]
    answers = first_answers(history)
    return [(answers[one], answers[other]) for one, other in twins if one in answers and other in answers]


def agreement(pairs: Sequence[tuple[Answer, Answer]]) -> dict[str, Alpha]:
    """Alpha of each layer: step, kind, tool, and arguments (where both made a call of the same tool)."""
    called = [(one, other) for one, other in pairs if one.tool is not None and one.tool == other.tool]
    return {
        "step": alpha([(one.step, other.step) for one, other in pairs]),
        "kind": alpha([(one.kind, other.kind) for one, other in pairs]),
        "tool": alpha([(one.tool, other.tool) for one, other in pairs]),
        "arguments": alpha([(one.arguments, other.arguments) for one, other in called], distance),
    }
