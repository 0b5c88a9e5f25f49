"""What the corrections cost: time, edits, returns and money, for each person, bucket and tool.

Pages send `effort` with what a person submits or decides: {active_ms (idle over 60 s cut by the page), first_edit_ms, keystrokes,
opened_at}. Events without it count, their time is unknown: a sum says on how many events it stands.
"""

import json
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import polars as pl

from flywheel.corrections.answers import answer_of, step_of
from flywheel.corrections.log import Recorded
from flywheel.toolcalls.arguments import parse_arguments
from flywheel.toolcalls.distance import edits

_ROLES = {
    "submit": "annotator", "accept": "reviewer", "return": "reviewer", "dispute": "reviewer", "edit": "reviewer", "uphold": "adjudicator",
    "drop": "adjudicator", "audit": "auditor",
}  # fmt: skip
_AS_IT_IS = ("accept", "uphold")
DEFAULT_RATE = "expert_hour"


class Work(NamedTuple):
    """One thing a person finished: on which item, in which role, how long it took (seconds, None where unknown), what came of it."""

    item_id: str
    actor: str
    role: str
    bucket: str
    tool: str
    kind: str
    active: float | None
    first_edit: float | None
    as_it_is: bool
    distance: int | None


def work_of(history: Iterable[Recorded], items: Mapping[str, Mapping[str, Any]]) -> list[Work]:
    """Every submission and decision of a batch's log, planted items included: they cost time as well.

    Args:
        items: item id -> row with bucket, messages and message_index, planted ones among them.
    """
    found, live, judging = [], dict[str, dict[str, Any]](), set[str]()
    for _, _, event in history:
        row = items.get(event.item_id)
        if event.kind in ("submit", "edit"):
            live[event.item_id] = event.payload
        if event.kind == "start_adjudication":
            judging.add(event.item_id)
        if row is None or event.kind not in _ROLES or "erased" in event.payload:
            continue
        proposal = live.get(event.item_id, {})
        messages = json.loads(row["messages"]) if isinstance(row["messages"], str) else row["messages"]
        wrote = event.kind in ("submit", "edit")
        as_it_is = event.kind in _AS_IT_IS or event.payload.get("verdict") == "passed"
        as_it_is |= wrote and event.payload.get("unfixable") == "not_a_failure"
        effort = event.payload.get("effort") or {}
        role = "reviewer" if event.kind == "drop" and event.item_id not in judging else _ROLES[event.kind]
        found.append(Work(
            event.item_id, event.actor, role, row["bucket"], _tool(proposal, messages, row["message_index"]), event.kind,
            _seconds(effort.get("active_ms")), _seconds(effort.get("first_edit_ms")), as_it_is,
            _edit_distance(event.payload, messages) if wrote else None,
        ))  # fmt: skip
    return found


def effort_rows(work: Iterable[Work], rates: Mapping[str, float]) -> list[dict[str, Any]]:
    """CORRECTION_EFFORT rows without partition columns: one for each person and role, bucket and role, tool and role.

    Args:
        rates: cost an hour by role (annotator_hour and so on), expert_hour for the others.
    """
    groups: dict[tuple[str, str, str], list[Work]] = defaultdict(list)
    for one in work:
        for grouping, name in (("person", one.actor), ("bucket", one.bucket), ("tool", one.tool)):
            groups[grouping, name, one.role].append(one)
    return [_row(key, mine, rates) for key, mine in sorted(groups.items())]


def cost_of(work: Iterable[Work], rates: Mapping[str, float]) -> float | None:
    """Cost of all work whose time and rate are known; None when neither is."""
    known = [cost for one in work if (cost := _cost(one, rates)) is not None]
    return sum(known) if known else None


def totals(work: Iterable[Work], accepted: int, rates: Mapping[str, float]) -> list[tuple[str, float | None, int, str]]:
    """(figure, value, on how many, note) of the whole batch."""
    work = list(work)
    timed = [one.active for one in work if one.active is not None]
    first = [one.first_edit for one in work if one.first_edit is not None]
    spent, cost = (sum(timed) if timed else None), cost_of(work, rates)
    note = f"time is known of {len(timed)} of {len(work)} submissions and decisions"
    return [
        ("active_seconds", spent, len(timed), note),
        ("seconds_to_first_edit", statistics.median(first) if first else None, len(first), "median"),
        ("active_seconds_per_accepted", spent / accepted if spent is not None and accepted else None, accepted, note),
        ("cost", cost, len(timed), "planted items included; " + note),
        ("cost_per_accepted", cost / accepted if cost is not None and accepted else None, accepted, note),
    ]


def compute_ratio(cost: float | None, training_seconds: float | None, rates: Mapping[str, float]) -> float | None:
    """Cost of the people over the cost of the training; None where one is unknown or the training cost nothing."""
    rate = rates.get("accelerator_hour")
    if cost is None or not training_seconds or not rate:
        return None
    return cost / (training_seconds / 3600 * rate)


def effort_table(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The people's rows as an analyst reads them in the UI: short names, rounded, unknown as a dash."""
    columns = {"name": "person", "role": "role", "items": "items", "active_seconds": "active s", "seconds_to_first_edit": "first edit s",
               "accepted_as_is": "as it is", "changed": "changed", "returned": "returned", "edit_distance": "edits", "cost": "cost"}  # fmt: skip
    mine = [row for row in rows if row["grouping"] == "person"]
    return [{short: _shown(row[name]) for name, short in columns.items()} for row in mine]


def _row(key: tuple[str, str, str], work: list[Work], rates: Mapping[str, float]) -> dict[str, Any]:
    timed = [one.active for one in work if one.active is not None]
    first = [one.first_edit for one in work if one.first_edit is not None]
    apart = [one.distance for one in work if one.distance is not None]
    as_it_is = sum(one.as_it_is for one in work)
    return {
        "grouping": key[0],
        "name": key[1],
        "role": key[2],
        "items": len({one.item_id for one in work}),
        "decisions": len(work),
        "timed": len(timed),
        "active_seconds": sum(timed) if timed else None,
        "seconds_to_first_edit": statistics.median(first) if first else None,
        "accepted_as_is": as_it_is,
        "changed": len(work) - as_it_is,
        "returned": sum(one.kind == "return" for one in work),
        "edit_distance": statistics.fmean(apart) if apart else None,
        "cost": cost_of(work, rates),
    }


def _cost(one: Work, rates: Mapping[str, float]) -> float | None:
    rate = rates.get(f"{one.role}_hour", rates.get(DEFAULT_RATE))
    return None if rate is None or one.active is None else one.active / 3600 * rate


def _tool(proposal: Mapping[str, Any], messages: list[dict[str, Any]], index: int) -> str:
    """Tool of the corrected step, else the one the model called there."""
    tool = answer_of(dict(proposal)).tool if proposal.get("messages") else None
    if tool is None and 0 <= index < len(messages):
        tool = next((call["function"]["name"] for call in messages[index].get("tool_calls") or []), None)
    return tool or "none"


def _edit_distance(proposal: Mapping[str, Any], messages: list[dict[str, Any]]) -> int | None:
    """JSON leaves in which the corrected step differs from the model's own."""
    index = proposal.get("first_bad_message_index", -1)
    if not 0 <= index < len(messages):
        return None
    return edits(_content(messages[index]), _content(step_of(dict(proposal))))


def _content(message: Mapping[str, Any]) -> dict[str, Any]:
    calls = [call["function"] for call in message.get("tool_calls") or []]
    return {"says": message.get("content") or "", "calls": [
        {"name": one["name"], "arguments": parse_arguments(one["arguments"]).value or str(one["arguments"])} for one in calls
    ]}  # fmt: skip


def _seconds(milliseconds: Any) -> float | None:
    known = isinstance(milliseconds, (int, float)) and not isinstance(milliseconds, bool) and milliseconds >= 0
    return milliseconds / 1000 if known else None


def _shown(value: Any) -> Any:
    return "–" if value is None else f"{value:.1f}" if isinstance(value, float) else value


def item_rows(items: pl.DataFrame, planted: Iterable[tuple[float, str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Rows by id for `work_of`: the batch's own and the planted ones."""
    own = {row["item_id"]: row for row in items.iter_rows(named=True)}
    return own | {item_id: payload["item"] for _, item_id, payload in planted}
