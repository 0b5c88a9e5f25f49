"""Trajectory match in agentevals' four modes: a diagnostic, because the gold path is one of many.

Names and meaning of the modes follow agentevals 0.0.9. Two things differ: the calls are paired by a maximum matching, not
by the first that fits, and whether two calls agree is the caller's to say, so that typed matchers can be used.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

MODES = ("strict", "unordered", "subset", "superset")
Made = TypeVar("Made")
Reference = TypeVar("Reference")


def trajectory_match(
    made: Sequence[Sequence[Made]],
    reference: Sequence[Sequence[Reference]],
    same: Callable[[Reference, Made], bool],
) -> dict[str, bool]:
    """Which modes hold between what was done and a reference; each is a list of steps, a step a list of calls.

    strict: as many steps, and step by step the same calls in any order. unordered: the same calls, whatever the steps. subset:
    nothing was called that is not in the reference. superset: everything in the reference was called.

    Args:
        same: whether a call made (second) is the one in the reference (first).
    """
    done = [call for step in made for call in step]
    wanted = [call for step in reference for call in step]
    pairs = matched_pairs(done, wanted, same)
    steps = len(made) == len(reference) and all(
        len(one) == len(other) == matched_pairs(one, other, same) for one, other in zip(made, reference, strict=True)
    )
    subset, superset = pairs == len(done), pairs == len(wanted)
    return {"strict": steps, "unordered": subset and superset, "subset": subset, "superset": superset}


def matched_pairs(made: Sequence[Made], reference: Sequence[Reference], same: Callable[[Any, Any], bool]) -> int:
    """The largest number of calls that can be paired one to one with calls of the reference."""
    if not made or not reference:
        return 0
    from scipy.sparse import csr_matrix  # not at load: the code location imports this file
    from scipy.sparse.csgraph import maximum_bipartite_matching

    agrees = np.array([[same(want, have) for have in made] for want in reference], dtype=np.int8)
    return int((maximum_bipartite_matching(csr_matrix(agrees), perm_type="column") >= 0).sum())
