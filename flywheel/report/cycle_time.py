"""Cycle time: from a failure cluster's first failure to its correction, to the adapter that learned it, to the week without it; in days.

Moments are those of the clock: the run's start, the correction's acceptance, the pointer's move, the end of the first clean week. Where the
experts are simulated their clock says nothing, and the ends of the weeks stand for it. What is not over at the end of the newest week
counts as waiting, not as left out (`statistics.waiting_times`).
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

import polars as pl

from flywheel.lake import Lake
from flywheel.statistics.waiting_times import Median, median_time

OWN = "own people"
STEPS = (("seen", "corrected"), ("corrected", "promoted"), ("promoted", "gone"), ("seen", "gone"))


class Cycle(NamedTuple):
    """One cluster's way; a moment is None where it was not reached. `partners` corrected it, `own people` among them."""

    cluster: str
    partners: list[str]
    seen: datetime
    corrected: datetime | None
    promoted: datetime | None
    gone: datetime | None


class Stretch(NamedTuple):
    """One step of the way, for one partner or for all: its median in days."""

    who: str
    start: str
    end: str
    days: Median


def partner_of(actor: str | None) -> str:
    """Who a person works for: partners' people are called partner/person in the store."""
    return actor.split("/", 1)[0] if actor and "/" in actor else OWN


def cycles(lake: Lake, workflow: str, weeks: Sequence[str]) -> list[Cycle]:
    """The way of every cluster with a failure of the agent's up to the last of `weeks`, by first failure."""
    if not weeks:
        return []
    upto = pl.col("week") <= weeks[-1]
    failures = lake.read_columns(
        "production_failures", ("week", "trace_id", "failure_cluster", "fault"), workflow=workflow, where=upto
    )
    failures = failures.filter(fault="agent")
    started = lake.read_columns("production_traces", ("week", "trace_id", "started_at"), workflow=workflow, where=upto)
    dated = failures.join(started, on=["week", "trace_id"], how="left").with_columns(
        pl.coalesce("started_at", pl.col("week").str.to_datetime("%Y-%m-%d", time_zone="UTC"))
    )
    first = dict(dated.group_by("failure_cluster").agg(pl.col("started_at").min()).iter_rows())
    columns = ("week", "failure_cluster", "annotator", "annotator_kind", "accepted_at")
    corrections = lake.read_columns("corrected_traces", columns, workflow=workflow, where=upto)
    moves = _moves(lake, workflow, weeks[-1])
    clean = _last_failures(lake, workflow, weeks)
    found = []
    for cluster, seen in sorted(first.items(), key=lambda one: (one[1], one[0])):
        mine = corrections.filter(failure_cluster=cluster).sort("week", "accepted_at", nulls_last=True)
        if mine.is_empty():
            found.append(Cycle(cluster, [], seen, None, None, None))
            continue
        earliest = mine.row(0, named=True)
        simulated = earliest["annotator_kind"] == "simulated" or earliest["accepted_at"] is None
        corrected = week_end(earliest["week"]) if simulated else earliest["accepted_at"]
        move = next(((week, at) for week, learned, at in moves if learned >= earliest["week"]), None)
        promoted = None if move is None else week_end(move[0]) if simulated else move[1]
        gone = None if move is None else _gone(clean.get(cluster), move[0])
        partners = sorted({partner_of(name) for name in mine["annotator"]})
        found.append(Cycle(cluster, partners, seen, corrected, promoted, gone))
    return found


def stretches(found: Sequence[Cycle], until: datetime) -> list[Stretch]:
    """The median days of each step over all clusters and for each partner; what did not start is not waited for."""
    everyone = sorted({name for cycle in found for name in cycle.partners})
    groups: list[tuple[str, list[Cycle]]] = [("all", list(found))]
    if len(everyone) > 1:
        groups += [(name, [cycle for cycle in found if name in cycle.partners]) for name in everyone]
    return [
        Stretch(who, start, end, _days(((getattr(one, start), getattr(one, end)) for one in mine), until))
        for who, mine in groups for start, end in STEPS
    ]  # fmt: skip


def week_end(week: str) -> datetime:
    """The first moment after a week, taken in UTC."""
    return datetime.combine(date.fromisoformat(week) + timedelta(days=7), datetime.min.time(), UTC)


def _days(moments: Iterable[tuple[datetime | None, datetime | None]], until: datetime) -> Median:
    started = [(start, end) for start, end in moments if start is not None]
    ended = [max(0.0, (end - start).total_seconds() / 86_400) for start, end in started if end is not None]
    waiting = [max(0.0, (until - start).total_seconds() / 86_400) for start, end in started if end is None]
    return median_time(ended, waiting)


def _moves(lake: Lake, workflow: str, until: str) -> list[tuple[str, str, datetime]]:
    """(week, week whose corrections the adapter learned, moment) of each move of the pointer to a trained adapter, oldest first."""
    trained = dict(
        lake.read_columns("checkpoint", ("adapter_id", "week"), workflow=workflow)
        .select("adapter_id", "week")
        .iter_rows()
    )
    log = lake.read_weeks("promotion_log", workflow=workflow).filter(pl.col("week") <= until).sort("week", "decided_at")
    return [
        (row["week"], trained[row["served_adapter_id"]], row["decided_at"])
        for row in log.iter_rows(named=True)
        if row["served_adapter_id"] != row["previous_adapter_id"] and row["served_adapter_id"] in trained
    ]


def _last_failures(lake: Lake, workflow: str, weeks: Sequence[str]) -> dict[str, tuple[str, list[str]]]:
    """Cluster -> the last week with a failure of the agent's, and the later weeks that had opportunities for one."""
    columns = ("week", "failure_cluster", "agent_failures", "opportunities")
    rows = (
        lake.read_columns("failure_clusters", columns, workflow=workflow)
        .filter(pl.col("week").is_in(list(weeks)))
        .sort("week")
    )
    found: dict[str, tuple[str, list[str]]] = {}
    for week, cluster, failures, opportunities in rows.select(columns).iter_rows():
        if failures:
            found[cluster] = (week, [])
        elif cluster in found and opportunities:
            found[cluster][1].append(week)
    return found


def _gone(last: tuple[str, list[str]] | None, promoted_in: str) -> datetime | None:
    """The end of the first clean week after the promotion, where no failure came since."""
    clean = [week for week in last[1] if week > promoted_in] if last else []
    return week_end(clean[0]) if clean else None
