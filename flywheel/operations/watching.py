"""What nobody's run reports: a week without a decision, an adapter that has served too long, a configuration nobody evaluated.

Both are read from the lake. A workflow that was never collected is not watched: it has not started.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

import polars as pl

from flywheel.lake import Lake
from flywheel.partitions import week_before, week_bounds, week_of
from flywheel.promotion.pointer import decisions, moves, serving
from flywheel.promotion.production import NAME, unevaluated
from flywheel.workflows.pack import Pack


class Concern(NamedTuple):
    """One thing to be looked at: the week, in one sentence what is the matter, and what to do."""

    week: str
    what: str
    remedy: str


def serving_line(lake: Lake, workflow: str, *, affected: bool = False, first: str | None = None) -> str:
    """Line one of every alert: what production serves, since when, and whether it is affected.

    Args:
        first: the pack's first incumbent, where that is an endpoint.
    """
    log = lake.read_weeks("promotion_log", workflow=workflow)
    moved = moves(log)
    since = f"since week {moved[-1]['week']}" if moved else "since the beginning"
    return f"{workflow}: production serves {serving(log, first=first)} {since}; it is {'affected' if affected else 'not affected'}"


def missing_decision(lake: Lake, pack: Pack, now: datetime) -> Concern | None:
    """The newest week that ended more than `alerts.decision_days` ago, where neither it nor a later week is decided."""
    collected = set(lake.all_lineage(workflow=pack.name, tables=["production_traces"])["week"])
    week = week_of(now - timedelta(days=7 + pack.settings.alerts.decision_days))
    if not collected or week < min(collected):
        return None
    log = decisions(lake.read_weeks("promotion_log", workflow=pack.name))
    if log.filter(pl.col("week") >= week).height:
        return None
    days = (now - week_bounds(week)[1]).days
    run = f"flywheel run --workflow {pack.name} --week {week}"
    if week not in collected:
        return Concern(
            week,
            f"week {week} ended {days} days ago and was never collected",
            f"{run} --stage collect; is the schedule on?",
        )
    return Concern(
        week, f"week {week} ended {days} days ago and is not decided", "flywheel status says what it waits for"
    )


def stale_incumbent(lake: Lake, pack: Pack, now: datetime) -> Concern | None:
    """What serves has not changed for `alerts.stale_weeks` weeks, although the loop turns."""
    collected = lake.all_lineage(workflow=pack.name, tables=["production_traces"])["week"]
    if not collected.len():
        return None
    moved = moves(lake.read_weeks("promotion_log", workflow=pack.name))
    since = str(moved[-1]["week"] if moved else collected.min())
    weeks = (week_bounds(week_before(week_of(now)))[0] - week_bounds(since)[0]).days // 7
    if weeks < pack.settings.alerts.stale_weeks:
        return None
    what = f"what serves has not changed for {weeks} weeks, since week {since}"
    return Concern(
        since, what, "read the verdicts' reasons in the weekly pages; a week without a promotion says what was missing"
    )


def unevaluated_configuration(lake: Lake, pack: Pack, now: datetime) -> Concern | None:
    """The newest collected week, where its runs show a system prompt, tools or an adapter that no evaluation ran with."""
    collected = lake.all_lineage(workflow=pack.name, tables=["production_traces"])["week"]
    week = max(collected, default=None)
    found = unevaluated(lake, pack, str(week)) if week else []
    if not found:
        return None
    return Concern(
        str(week),
        f"{NAME}: {'; '.join(one.sentence() for one in found)}",
        f"put back what was evaluated, or evaluate it: flywheel evaluate --gate pack CONFIGURATION --workflow {pack.name} (docs/gate.md)",
    )
