"""Acceptance sampling of a closed lot: how many accepted items are drawn again, which, and what that can see.

Hypergeometric plan with acceptance number 0: the smallest sample that refuses a lot with `defective` bad items with at
least the given probability. The plan is computed and printed instead of quoted from a table.
"""

import random
from collections.abc import Sequence

from flywheel.toolcalls.arguments import sha256_of


def chance_of_acceptance(lot: int, defective: int, sample: int) -> float:
    """Probability that `sample` of `lot` items hold none of the `defective` ones."""
    import scipy  # scipy.stats is loaded by its first use: neither the code location nor a partner's bench needs it to load

    return float(scipy.stats.hypergeom.pmf(0, lot, defective, sample)) if sample else 1.0


def sample_size(lot: int, *, defective_share: float = 0.1, confidence: float = 0.9) -> int:
    """Smallest sample that refuses, with `confidence`, a lot in which `defective_share` is bad; the lot itself if small."""
    defective = max(1, round(lot * defective_share))
    return next((n for n in range(lot + 1) if chance_of_acceptance(lot, defective, n) <= 1 - confidence), lot)


def operating_curve(lot: int, sample: int) -> dict[float, float]:
    """Share of bad items -> probability that the audit accepts the lot."""
    return {share: chance_of_acceptance(lot, round(lot * share), sample) for share in (0.01, 0.02, 0.05, 0.1, 0.2)}


def draw(accepted: Sequence[str], sample: int, *, lot_id: str) -> list[str]:
    """The items to audit: drawn only from the accepted ones of a finished lot, seeded by the lot."""
    ordered = sorted(accepted)
    return sorted(random.Random(sha256_of([lot_id, ordered])).sample(ordered, min(sample, len(ordered))))
