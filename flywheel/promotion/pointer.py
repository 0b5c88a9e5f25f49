"""The pointer to what serves: a fold over the append-only promotion log.

Weeks may be rematerialized out of order: a past week re-derives its verdict against the incumbent recorded then and never
moves the pointer; only the newest undecided week does (design.md 8.3).
"""

from datetime import datetime
from typing import Any

import polars as pl

from flywheel.toolcalls.arguments import sha256_of

BASE = "base"


def serving(log: pl.DataFrame, *, before_week: str | None = None) -> str:
    """Adapter that serves after all decisions (of weeks before `before_week`); `base` before the first."""
    known = log if before_week is None else log.filter(pl.col("week") < before_week)
    last = known.sort("week", "decided_at").tail(1)
    return last["served_adapter_id"][0] if last.height else BASE


def decided(log: pl.DataFrame, week: str) -> dict[str, Any] | None:
    """The newest log entry of a week, or None while it is undecided."""
    entries = log.filter(week=week).sort("decided_at")
    return entries.row(-1, named=True) if entries.height else None


def may_move(log: pl.DataFrame, week: str) -> bool:
    """Whether a decision for `week` may move the pointer: no later week is decided."""
    return log.filter(pl.col("week") > week).height == 0


def entry(
    week: str, decision_id: str, verdict: str, previous: str, served: str, decided_at: datetime
) -> dict[str, Any]:
    """A PROMOTION_LOG row without the workflow; the id makes the same decision appear once."""
    return {
        "entry_id": sha256_of([week, decision_id, previous, served])[:16],
        "week": week,
        "decision_id": decision_id,
        "verdict": verdict,
        "previous_adapter_id": previous,
        "served_adapter_id": served,
        "decided_at": decided_at,
    }
