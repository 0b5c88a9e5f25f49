"""The pointer to what serves: a fold over the append-only promotion log.

Weeks may be rematerialized out of order: a past week re-derives its verdict against the incumbent recorded then and never
moves the pointer; only the newest undecided week does (design.md 8.3). What a person does (approval, override, rollback)
belongs to the newest decided week: so every later week sees it, and no rematerialized week undoes it.

Before anything was made to serve, `first` does: the endpoint of the pack's `first_incumbent`, else the base model. A decision notes it, so
a rollback over the first release leads back to what was recorded then, whatever the pack says meanwhile.
"""

from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

import polars as pl

from flywheel.toolcalls.arguments import sha256_of
from flywheel.workflows.serving_settings import is_endpoint

BASE = "base"
FLYWHEEL = "flywheel"
Kind = Literal["decision", "approval", "override", "rollback"]


class Served(NamedTuple):
    """What serves: the adapter, and the log entry that put it there; None for what has served from the beginning."""

    adapter_id: str
    entry: dict[str, Any] | None


def serving(
    log: pl.DataFrame, *, before_week: str | None = None, until_week: str | None = None, first: str | None = None
) -> str:
    """Adapter that serves after all entries (of weeks before `before_week`, or up to `until_week`).

    Args:
        first: what serves while nothing was made to; None for what the last decision noted, and `base` before the first. A week that
            is decided keeps what its decision noted.
    """
    known = log if before_week is None else log.filter(pl.col("week") < before_week)
    known = known if until_week is None else known.filter(pl.col("week") <= until_week)
    last = known.sort("week", "decided_at").tail(1)
    if not moves(known):
        week = before_week or until_week
        then = decided(log, week) if week else None
        if then and then["previous_adapter_id"] is not None:
            return then["previous_adapter_id"]
        return first or (last["served_adapter_id"][0] if last.height else BASE)
    return last["served_adapter_id"][0]


def decisions(log: pl.DataFrame) -> pl.DataFrame:
    """The entries that decided a week, as opposed to what people did afterwards."""
    return log.filter(pl.col("kind").fill_null("decision") == "decision")


def decided(log: pl.DataFrame, week: str) -> dict[str, Any] | None:
    """The newest decision of a week, or None while it is undecided."""
    entries = decisions(log).filter(week=week).sort("decided_at")
    return entries.row(-1, named=True) if entries.height else None


def undecided(log: pl.DataFrame, week: str) -> bool:
    """Whether a week's decision may be made: there is none yet, or an INVALID one is the last thing that happened.

    A broken run says nothing about a model, so it decides nothing for good; but what a person did since stays.
    """
    made = decided(log, week)
    if made is None:
        return True
    last = log.sort("week", "decided_at").row(-1, named=True)
    return made["verdict"] == "INVALID" and last["entry_id"] == made["entry_id"]


def newest_decided(log: pl.DataFrame) -> str:
    """The newest week that is decided; empty before the first decision."""
    return max(decisions(log)["week"], default="")


def may_move(log: pl.DataFrame, week: str) -> bool:
    """Whether a decision for `week` may move the pointer: no later week is decided."""
    return newest_decided(log) <= week


def moves(log: pl.DataFrame) -> list[dict[str, Any]]:
    """The entries after which another adapter served than before, oldest first.

    One that repeats what served before it is none, also where the pack names another first incumbent than the entry before.
    """
    ordered = log.sort("week", "decided_at").to_dicts()
    before = [BASE, *(row["served_adapter_id"] for row in ordered)]
    return [
        row for row, old in zip(ordered, before, strict=False)
        if row["served_adapter_id"] != old and not _repeats_the_first(row)
    ]  # fmt: skip


def _repeats_the_first(row: dict[str, Any]) -> bool:
    """Whether an entry is a decision that left what served in the beginning: the base model, or an endpoint."""
    served = row["served_adapter_id"]
    first = served == BASE or is_endpoint(served)
    return first and row["previous_adapter_id"] == served and row["kind"] in (None, "decision")


def history(log: pl.DataFrame, *, first: str | None = None) -> list[Served]:
    """What has served and was not rolled back, oldest first: the last one serves, the one before is what a rollback restores.

    Args:
        first: as of `serving`; once something was made to serve, what served before it is first.
    """
    moved = moves(log)
    standing = [Served((moved[0]["previous_adapter_id"] or BASE) if moved else serving(log, first=first), None)]
    for row in moved:
        if row["kind"] == "rollback":
            while len(standing) > 1 and standing[-1].adapter_id != row["served_adapter_id"]:
                standing.pop()
        else:
            standing.append(Served(row["served_adapter_id"], row))
    return standing


def since(log: pl.DataFrame) -> dict[str, Any] | None:
    """The entry since which the current adapter serves; None for what has served from the beginning."""
    found = moves(log)
    return found[-1] if found else None


def waits(log: pl.DataFrame, week: str, row: dict[str, Any]) -> bool:
    """Whether a week's PROMOTE (its PROMOTION row) is for a person to release: it is the newest, the log says the same of this candidate, and
    nobody acted on it."""
    made = decided(log, week) or {}
    mine = log.filter(decision_id=made.get("decision_id", ""))
    return (
        row["verdict"] == "PROMOTE" == made.get("verdict") and made["candidate_adapter_id"] in (None, row["candidate_adapter_id"])
        and week == newest_decided(log) and mine.height == 1
        and serving(log) == row["incumbent_adapter_id"] and mine["served_adapter_id"][0] != row["candidate_adapter_id"]
    )  # fmt: skip


def entry(
    week: str, decision_id: str | None, verdict: str | None, previous: str, served: str, decided_at: datetime, *,
    candidate: str | None = None, kind: Kind = "decision", by: str = FLYWHEEL, reason: str = "", tools_sha256: str = "",
    place: int | None = None, configuration: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """A PROMOTION_LOG row without the workflow; the id makes the same decision appear once.

    Args:
        place: number of entries before it, for what a person does: the same act may come twice.
        configuration: JSON of what a decision's arms ran with, the adapter left out.
    """
    key = [week, decision_id, previous, served]
    return {
        "entry_id": sha256_of(key if kind == "decision" else [*key, kind, place])[:16],
        "week": week,
        "decision_id": decision_id,
        "verdict": verdict,
        "candidate_adapter_id": candidate or served,
        "previous_adapter_id": previous,
        "served_adapter_id": served,
        "kind": kind,
        "by": by,
        "reason": reason,
        "tools_sha256": tools_sha256,
        "configuration": configuration,
        "decided_at": decided_at,
    }


def next_moment(log: pl.DataFrame, now: datetime) -> datetime:
    """Now, or just after the newest entry where a clock went back: the fold goes by time."""
    newest = log["decided_at"].max() if log.height else None
    return max(now, newest + timedelta(microseconds=1)) if isinstance(newest, datetime) else now
