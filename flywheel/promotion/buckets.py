"""Parts of the benchmark that must not get worse while the whole looks fine: categories, tools, and slices added later.

Each part with enough cases is tested for "worse" (exact McNemar where it holds, else clustered t); Holm keeps the chance of
refusing an equal model for any of them at the level. Small parts are reported, not gated: with b broken and none fixed,
exact one-sided p reaches 2.5 % only at b = 6. A tool has fewer cases than a category and fails as a whole when it fails (everybody
misread one guideline), so fewer suffice for it; a case that exercises two tools counts for both.
"""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import polars as pl

from flywheel.benchmark.cases import CORE
from flywheel.promotion.evidence import compared
from flywheel.statistics.paired import LEVEL, holm, p_worse

BUCKET_MINIMUM, TOOL_MINIMUM, BUCKET_MARGIN = 30, 12, 0.05
SLICE, TOOL = "slice ", "tool "  # what the names of an added slice's and of a tool's part start with


def buckets(pairs: pl.DataFrame, tools: Mapping[str, Collection[str]]) -> dict[str, dict[str, Any]]:
    """Per category of the core, tool of the core (`tool NAME`) and added slice (`slice NAME`): n, both rates, bounds, fixed, broken,
    Holm-adjusted p(worse).

    `worse` is true where a gated part failed: adjusted p below 2.5 % and a drop of more than 5 points.

    Args:
        pairs: as `evidence.pairs` makes them.
        tools: case id -> names of the tools that the case exercises.
    """
    core, added = pairs.filter(slice=CORE), pairs.filter(pl.col("slice") != CORE)
    parts = {str(name): part for (name,), part in sorted(core.group_by("category"), key=_first)}
    parts |= {f"{TOOL}{name}": core.filter(pl.col("case_id").is_in(ids)) for name, ids in _by_tool(core, tools).items()}
    parts |= {f"{SLICE}{name}": part for (name,), part in sorted(added.group_by("slice"), key=_first)}
    found = {name: _one(part.sort("case_id")) for name, part in parts.items()}
    gated = [
        n for n, values in found.items() if values["n"] >= (TOOL_MINIMUM if n.startswith(TOOL) else BUCKET_MINIMUM)
    ]
    for name, adjusted in zip(gated, holm([found[name]["p_worse"] for name in gated]), strict=True):
        drop = -found[name]["difference"]
        found[name].update(p_worse_adjusted=adjusted, worse=bool(got_worse(np.asarray(adjusted), np.asarray(drop))))
    return found


def _by_tool(core: pl.DataFrame, tools: Mapping[str, Collection[str]]) -> dict[str, list[str]]:
    """Tool -> ids of the core's cases that exercise it."""
    found: dict[str, list[str]] = {}
    for case_id in core["case_id"]:
        for name in sorted(set(tools.get(case_id, ()))):
            found.setdefault(name, []).append(case_id)
    return dict(sorted(found.items()))


def got_worse(adjusted: np.ndarray, drop: np.ndarray) -> np.ndarray:
    """Which parts with these adjusted p-values and drops (candidate below incumbent, 0 to 1) count as worse."""
    return (adjusted < LEVEL) & (drop > BUCKET_MARGIN)


def _one(part: pl.DataFrame) -> dict[str, Any]:
    gap = compared(part)
    return {
        "n": gap.n, "candidate": part["candidate"].mean(), "incumbent": part["incumbent"].mean(), "difference": gap.mean,
        "lower": gap.lower, "upper": gap.upper, "fixed": gap.fixed, "broken": gap.broken, "p_worse": p_worse(gap), "worse": False,
    }  # fmt: skip


def _first(item: Any) -> str:
    return str(item[0])
