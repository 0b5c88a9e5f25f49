"""The top of the weekly page in plain words: the verdict, what serves now and since when, why, and what to look at next."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import polars as pl

from flywheel.report.curve import BASE
from flywheel.report.next_asks import Ask
from flywheel.workflows.serving_settings import is_endpoint, model_and_host

SHOWN_ASKS = 6


class PlainVerdict(NamedTuple):
    """What a person reads first.

    Attributes:
        headline: the verdict as a sentence.
        serves: what serves after the week and since when, one sentence.
        acts: what people did to the pointer after the decision, one sentence each.
        reasons: the gate's, the decisive one first.
        asks: where the candidate failed, most first.
    """

    headline: str
    serves: str
    acts: list[str]
    reasons: list[str]
    asks: list[Ask]


def plain_verdict(
    decision: Mapping[str, Any] | None, log: pl.DataFrame, week: str, serves: str, asks: list[Ask]
) -> PlainVerdict:
    """Of a week's PROMOTION row (None before learn), the PROMOTION_LOG rows up to the week, and what serves after it."""
    entries = log.filter(pl.col("week") <= week).sort("week", "decided_at")
    since = _capital(f"{_name(serves)} serves{_since(entries, serves)}.")
    if decision is None:
        waits = "Learn did not run: the correction batch is not complete, or was not closed."
        return PlainVerdict(waits, since, [], [], [])
    acts = [_act(row) for row in entries.filter(week=week).iter_rows(named=True) if _kind(row) != "decision"]
    return PlainVerdict(_capital(_headline(decision, serves)), since, acts, json.loads(decision["reasons"]), asks)


def _headline(decision: Mapping[str, Any], serves: str) -> str:
    candidate, incumbent = _name(decision["candidate_adapter_id"]), _name(decision["incumbent_adapter_id"])
    if stage := decision.get("stopped_at"):
        where = (
            "the datasets, because nothing is trained"
            if stage == "checkpoint"
            else "the checkpoint, because nothing is served"
        )
        return f"Learn stopped at {where} on this machine. Nothing is decided; {incumbent} goes on serving."
    if not decision["cases"] and decision["verdict"] == "INCONCLUSIVE":
        return f"Nothing was trained this week, so there was nothing to judge; {incumbent} is carried forward."
    if decision["verdict"] == "PROMOTE":
        if serves == decision["candidate_adapter_id"]:
            return f"{candidate} did better and serves now, in place of {incumbent}."
        waits = decision["served_adapter_id"] == decision["incumbent_adapter_id"]
        rest = "a person has not released it" if waits else "people have moved the pointer since"
        return f"{candidate} passed the gate and does not serve: {rest}."
    told = {
        "REJECT": f"{candidate} {_why_refused(decision, incumbent)}, and does not serve.",
        "INCONCLUSIVE": f"The evidence does not carry {candidate} over {incumbent}; it does not serve.",
        "INVALID": f"{candidate} and {incumbent} could not be compared, so nothing is known of {candidate}; it does not serve.",
    }
    return told.get(decision["verdict"], f"The verdict on {candidate} is {decision['verdict']}.")


def _why_refused(decision: Mapping[str, Any], incumbent: str) -> str:
    upper = decision["difference_upper"]
    return f"is worse than {incumbent}" if upper is not None and upper < 0 else "breaks a rule of the gate"


def _since(entries: pl.DataFrame, serves: str) -> str:
    """Since when it has served without interruption; nothing is said of a base that always did."""
    start: Mapping[str, Any] | None = None
    before = BASE
    for row in entries.iter_rows(named=True):
        if is_endpoint(row["served_adapter_id"]) and _kind(row) == "decision" and start is None:
            before = row["served_adapter_id"]  # a decision leaves an endpoint in place, it never puts it there
        elif row["served_adapter_id"] != before:
            start, before = row, row["served_adapter_id"]
    if start is None or before != serves:
        return ", as it has from the beginning" if serves == BASE or is_endpoint(serves) else ""
    return f" since {start['decided_at']:%-d %B %Y}, by the decision of week {start['week']}" if _kind(start) == "decision" else (
        f" since {start['decided_at']:%-d %B %Y}, by {_kind(start)} of {start.get('by') or 'an unnamed person'}"
    )  # fmt: skip


def _act(row: Mapping[str, Any]) -> str:
    told = {"approval": "released", "override": "moved by override", "rollback": "rolled back"}
    reason = f": {row['reason']}" if row.get("reason") else ""
    return f"{row['decided_at']:%-d %B %Y}, {told.get(_kind(row), _kind(row))} to {_name(row['served_adapter_id'])} by {row.get('by') or 'an unnamed person'}{reason}"


def _kind(row: Mapping[str, Any]) -> str:
    """decision, approval, override or rollback; the oldest entries know decisions only."""
    return row.get("kind") or "decision"


def _name(adapter: str | None) -> str:
    if is_endpoint(adapter):
        return "the endpoint {} at {}".format(*model_and_host(adapter or ""))
    return "the base model" if adapter in (BASE, None) else f"adapter {adapter}"


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
