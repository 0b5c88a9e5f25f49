"""Cases that one arm solved and the other did not: what was expected, what each wrote, and where the two differ.

For people who judge a verdict: regressed cases come first. Nothing here trains anything.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import polars as pl

from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel.toolcalls.arguments import canonical_json, parse_arguments
from flywheel.toolcalls.diff import Change, diff
from flywheel.toolcalls.structured_answers import answer_fields

SHOWN = 6
_COLUMNS = (
    "week", "case_id", "category", "arm", "epoch", "adapter_id", "success", "failure_reason", "infra_error", "transcript",
)  # fmt: skip
Outcome = Literal["regressed", "fixed", "both failed", "both solved", "not comparable"]
_ORDER: tuple[Outcome, ...] = ("regressed", "fixed", "both failed", "both solved", "not comparable")


class CaseDiff(NamedTuple):
    """One case under both arms, in the first repetition in which they differ.

    Attributes:
        outcome: regressed where only the incumbent solved it, fixed where only the candidate did.
        asked: the customer's last words before the model's first step.
        expected: the expectation in words; matchers as the case writes them.
        incumbent, candidate: what each wrote, a line a step.
        changes: incumbent to candidate, by path into the steps.
        reason: why the failing arm failed (the candidate, where both did).
    """

    case_id: str
    category: str
    outcome: Outcome
    asked: str
    expected: list[str]
    incumbent: list[str]
    candidate: list[str]
    changes: list[Change]
    reason: str


def week_diffs(lake: Lake, workflow: str, week: str) -> list[CaseDiff]:
    """Every case of a week's evaluation, regressed first, then fixed; raises FlywheelError where nothing was evaluated."""
    rows = lake.read_columns("eval_results", _COLUMNS, workflow=workflow, where=pl.col("week") == week)
    if rows.is_empty():
        raise FlywheelError(
            f"nothing was evaluated in week {week} of {workflow}",
            where=lake.uri("eval_results"),
            remedy=f"see which weeks were: flywheel report --weeks --workflow {workflow}",
        )
    return case_diffs(rows, lake.read_columns("benchmark", ("case_id", "case"), workflow=workflow))


def case_diffs(results: pl.DataFrame, benchmark: pl.DataFrame) -> list[CaseDiff]:
    """The same from the rows: EVAL_RESULTS of one week and BENCHMARK, of which case_id and case are read."""
    cases = {case_id: json.loads(case) for case_id, case in benchmark.select("case_id", "case").iter_rows()}
    arms: dict[str, dict[str, list[dict[str, Any]]]] = {}
    both = results.filter(pl.col("arm").is_in(["candidate", "incumbent"])).sort("case_id", "epoch")
    for row in both.iter_rows(named=True):
        arms.setdefault(row["case_id"], {}).setdefault(row["arm"], []).append(row)
    found = [_one(case_id, two, cases.get(case_id)) for case_id, two in arms.items() if len(two) == 2]
    return sorted(found, key=lambda one: (_ORDER.index(one.outcome), one.category, one.case_id))


def discordant(diffs: Sequence[CaseDiff], limit: int = SHOWN) -> list[CaseDiff]:
    """Up to `limit` regressed and up to `limit` fixed cases, regressed first."""
    regressed, fixed = ([one for one in diffs if one.outcome == name] for name in ("regressed", "fixed"))
    return [*regressed[:limit], *fixed[:limit]]


def example_rows(diffs: Sequence[CaseDiff], limit: int = SHOWN) -> list[dict[str, str]]:
    """Rows for a small table, as asset metadata shows them."""
    return [
        {
            "case": one.case_id, "category": one.category, "outcome": one.outcome, "expected": " ⏎ ".join(one.expected),
            "incumbent wrote": " ⏎ ".join(one.incumbent), "candidate wrote": " ⏎ ".join(one.candidate), "reason": one.reason,
        }
        for one in discordant(diffs, limit)
    ]  # fmt: skip


def change_line(change: Change) -> str:
    """One difference as people read it: its path, what the incumbent had, what the candidate has."""
    before, after = (canonical_json(value) for value in (change.before, change.after))
    if change.kind == "changed":
        return f"{change.where}: {before} → {after}"
    return f"{change.where}: + {after}" if change.kind == "added" else f"{change.where}: − {before}"


def _one(case_id: str, arms: Mapping[str, list[dict[str, Any]]], case: dict[str, Any] | None) -> CaseDiff:
    rates = {arm: _rate(rows) for arm, rows in arms.items()}
    outcome = _outcome(rates["incumbent"], rates["candidate"])
    old, new = _first_that_differs(arms["incumbent"], arms["candidate"])
    history = len(case["messages"]) if case else 0
    structured = case is not None and case["expectation"]["kind"] == "answer"
    steps = [_steps(json.loads(row["transcript"] or "[]")[history:], structured) for row in (old, new)]
    failing = old if outcome == "fixed" else new
    reason = failing["infra_error"] or failing["failure_reason"] or ""
    return CaseDiff(
        case_id, new["category"], outcome, _asked(case), _expected(case), _written(steps[0]), _written(steps[1]),
        diff({"steps": steps[0]}, {"steps": steps[1]}), reason,
    )  # fmt: skip


def _rate(rows: Sequence[Mapping[str, Any]]) -> float | None:
    """Share of the repetitions that succeeded; None where one has no score."""
    scores = [row["success"] for row in rows]
    return None if None in scores else sum(scores) / len(scores)


def _outcome(incumbent: float | None, candidate: float | None) -> Outcome:
    if incumbent is None or candidate is None:
        return "not comparable"
    if incumbent != candidate:
        return "fixed" if candidate > incumbent else "regressed"
    return "both solved" if candidate == 1 else "both failed"


def _first_that_differs(
    old: Sequence[dict[str, Any]], new: Sequence[dict[str, Any]]
) -> tuple[dict[str, Any], dict[str, Any]]:
    pairs = list(zip(old, new, strict=False))
    return next((pair for pair in pairs if pair[0]["success"] != pair[1]["success"]), pairs[0])


def _steps(messages: Sequence[Mapping[str, Any]], structured: bool = False) -> list[dict[str, Any]]:
    """The assistant's steps in a form whose paths people can read: says (`structured`: field by field), calls with parsed arguments."""
    found = []
    for message in messages:
        if message["role"] != "assistant":
            continue
        step: dict[str, Any] = {}
        if calls := message.get("tool_calls"):
            step["calls"] = [{"name": call["function"]["name"], "arguments": _arguments(call)} for call in calls]
        if message.get("content") or not step:
            fields = answer_fields(message.get("content")) if structured else None
            step["says"] = message.get("content") or "" if fields is None else fields
        found.append(step)
    return found


def _arguments(call: Mapping[str, Any]) -> Any:
    """Parsed; as the text the model wrote where that is no JSON object."""
    raw = call["function"]["arguments"]
    value = parse_arguments(raw).value
    return raw if value is None else value


def _written(steps: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = []
    for step in steps:
        lines += [_call(call["name"], call["arguments"]) for call in step.get("calls", [])]
        said = step.get("says")
        lines += [] if said is None else [f"“{said}”" if isinstance(said, str) else canonical_json(said)]
    return lines or ["nothing"]


def _call(name: str, arguments: Any) -> str:
    if not isinstance(arguments, dict):
        return f"{name}({arguments})"
    return f"{name}({', '.join(f'{key}={canonical_json(value)}' for key, value in arguments.items())})"


def _asked(case: Mapping[str, Any] | None) -> str:
    if case is None:
        return ""
    said = [message.get("content") or "" for message in case["messages"] if message["role"] == "user"]
    return str(said[-1]) if said else ""


def _expected(case: Mapping[str, Any] | None) -> list[str]:
    if case is None:
        return ["the case is no longer in the benchmark"]
    expectation = case["expectation"]
    if expectation["kind"] == "call":
        return [_call(call["name"], call["arguments"]) for call in expectation["calls"]]
    if expectation["kind"] == "answer":
        return [f"no call, and the structured answer {_call(expectation['response'], expectation['fields'])}"]
    if expectation["kind"] == "reply":
        lines = [f"no call, and a reply with {' or '.join(map(repr, group))}" for group in expectation["includes"]]
        return [*lines, *(f"without {phrase!r}" for phrase in expectation.get("excludes", []))]
    lines = [_call(action["name"], action["arguments"]) for action in expectation["actions"]]
    said = [f"and says {output!r}" for output in expectation.get("outputs", [])]
    return ["the end state of: " + ("; ".join(lines) or "no change at all"), *said]
