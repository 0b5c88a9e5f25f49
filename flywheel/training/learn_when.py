"""`learn_when`: does a week train, or is it banked until there is more to learn from (design.md 8.9)?"""

import math
from datetime import date, timedelta
from typing import NamedTuple

import polars as pl

from flywheel.lake import Lake
from flywheel.lake.since_training import accepted_since, last_trained
from flywheel.lake.week_zero import demonstrations_behind
from flywheel.workflows.learn_settings import LearnWhen

_PACE_WEEKS = 4


class Pending(NamedTuple):
    """What a week could learn from.

    Attributes:
        week: the Monday of the week.
        accepted: corrections accepted in it and in the weeks banked before it.
        critical: of those the most in one cluster of critical failures.
        since: weeks since the last one that trained; before that since the first with an accepted correction, itself counted.
        pace: corrections accepted a week over the last four weeks.
        other_base: the last adapter was trained on another base model or chat template than today's.
        shown: demonstrations of week zero, which count there as corrections do; None in every other week.
    """

    week: str
    accepted: int
    critical: int = 0
    since: int = 0
    pace: float = 0.0
    other_base: bool = False
    shown: int | None = None


def pending(lake: Lake, workflow: str, week: str, *, base_sha256: str, template_sha256: str) -> Pending:
    """Read it from the lake; the hashes are those of today's base model and chat template."""
    new = accepted_since(lake, workflow, week)
    trained = last_trained(lake, workflow, week)
    first = new["week"].min()
    since = _weeks(trained, week) if trained else 1 + _weeks(str(first), week) if first else 0
    severities = lake.read_columns("correction_batch", ("item_id", "severity"), workflow=workflow).unique("item_id")
    grave = new.join(severities, on="item_id").filter(severity="critical")["failure_cluster"].value_counts()
    oldest = (date.fromisoformat(week) - timedelta(weeks=_PACE_WEEKS)).isoformat()
    recent = lake.read_columns(
        "corrected_traces", ("week",), workflow=workflow, where=pl.col("week").is_between(pl.lit(oldest), pl.lit(week), closed="right")
    )  # fmt: skip
    made_of = lake.read_columns(
        "checkpoint", ("base_model_sha256", "chat_template_sha256"), workflow=workflow, where=pl.col("week") == pl.lit(trained)
    ).rows()  # fmt: skip
    other = any(None not in row and row != (base_sha256, template_sha256) for row in made_of)
    return Pending(
        week, new.height, max(grave["count"].to_list(), default=0), since, recent.height / _PACE_WEEKS, other,
        demonstrations_behind(lake, workflow, week),
    )  # fmt: skip


def why_banked(found: Pending, rows: int, rule: LearnWhen) -> str | None:
    """Why a week with so many supervised rows trains nothing, in words; None where it trains."""
    carried = "what serves is carried forward"
    if found.shown is not None and found.shown < rule.min_accepted:
        return f"banked: week zero has {found.shown} demonstrations, learn_when asks for {rule.min_accepted}; {carried}"
    if found.shown is None and not _is_due(found, rule):
        return f"banked: {found.accepted} accepted corrections, learn_when asks for {rule.min_accepted}{_until(found, rule)}; {carried}"
    return None if rows else f"the supervised dataset is empty: nothing to train on; {carried}"


def _is_due(found: Pending, rule: LearnWhen) -> bool:
    if found.accepted >= rule.min_accepted or found.other_base:
        return True
    return found.accepted > 0 and (found.since >= rule.weeks or found.critical >= rule.critical)


def _until(found: Pending, rule: LearnWhen) -> str:
    """When it is expected to train, at the pace of the last weeks; nothing where no correction comes."""
    waits = [rule.weeks - found.since] if found.accepted else []
    if found.pace:
        waits.append(math.ceil((rule.min_accepted - found.accepted) / found.pace))
    if not waits:
        return ""
    due = (date.fromisoformat(found.week) + timedelta(weeks=max(1, min(waits)))).isoformat()
    return (
        f"; expected to train in the week of {due} (at {found.pace:.1f} a week, or after {rule.weeks} weeks with any)"
    )


def _weeks(earlier: str, later: str) -> int:
    return (date.fromisoformat(later) - date.fromisoformat(earlier)).days // 7
