"""Weeks as the stages would have left them, written through the lake: small numbers, every table the report reads."""

import json
import random
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from flywheel.lake import TABLES, Lake

WORKFLOW = "door"
CATEGORIES = ("tool_calling", "multi_step", "refusal", "recovery")


def row(table: str, **values: Any) -> dict[str, Any]:
    """A row of a table with what is given; null elsewhere."""
    names = [name for name in TABLES[table].polars_schema() if name not in TABLES[table].partitions]
    return {**dict.fromkeys(names), **{name: value for name, value in values.items() if name in names}}


def arm_rows(arm: str, adapter: str, solved: Mapping[str, bool], **values: Any) -> list[dict[str, Any]]:
    """EVAL_RESULTS rows of one arm: case id -> solved. Two cases share a cluster; the categories take turns."""
    return [
        row(
            "eval_results", case_id=case, case_cluster=f"cluster-{number // 2}", category=CATEGORIES[number % 4], arm=arm,
            epoch=0, adapter_id=adapter, success=right, failure_reason=None if right else "argument order_id: expected 'R1', got 'R2'",
            seconds=2.0 + number % 5, model_steps=2, prompt_tokens=400, completion_tokens=40, transcript=step(number, right), raw_outputs="[]",
            **{"benchmark_version": "b1", "scorer_version": "1", "decoding": "greedy_auto", **values},
        )
        for number, (case, right) in enumerate(solved.items())
    ]  # fmt: skip


def solved_at(share: float, cases: int, seed: str) -> dict[str, bool]:
    """`cases` cases of which the given share is solved: the harder ones fail more often than not, another few each time."""
    luck = random.Random(seed)
    order = sorted(range(cases), key=lambda number: number + luck.random() * cases / 2)
    failing = set(order[: cases - round(share * cases)])
    return {f"case-{number:03d}": number not in failing for number in range(cases)}


def decide(
    lake: Lake, week: str, verdict: str, incumbent: str, candidate: str, served: str, reasons: list[str] | None = None, **values: Any
) -> None:  # fmt: skip
    """A week's decision with its entry in the promotion log."""
    decision = {
        "decision_id": f"d-{week}", "verdict": verdict, "reasons": json.dumps(reasons or [f"{verdict} it was"]),
        "candidate_adapter_id": candidate, "incumbent_adapter_id": incumbent, "served_adapter_id": served, "qa_mode": "three",
        "release": "automatic", "evidence": "{}", **values,
    }  # fmt: skip
    lake.replace_partition("promotion", [row("promotion", **decision)], workflow=WORKFLOW, week=week)
    move(
        lake,
        week,
        verdict,
        incumbent,
        served,
        datetime.fromisoformat(week).replace(tzinfo=UTC),
        values.get("tools_sha256"),
    )


def move(
    lake: Lake, week: str, verdict: str, previous: str, served: str, at: datetime, tools: str | None = None
) -> None:
    """An entry of the promotion log by itself: a release, or a rollback."""
    entry = row(
        "promotion_log", entry_id=f"{week}-{at.isoformat()}", week=week, decision_id=f"d-{week}", verdict=verdict,
        previous_adapter_id=previous, served_adapter_id=served, decided_at=at, tools_sha256=tools,
    )  # fmt: skip
    lake.append_new("promotion_log", [entry], workflow=WORKFLOW)


def evaluate(
    lake: Lake, week: str, incumbent: str, candidate: str, shares: tuple[float, float], cases: int = 40, **values: Any
) -> None:
    """A week's evaluation: the incumbent's and the candidate's share of cases solved."""
    rows = [
        one
        for arm, adapter, share in zip(("incumbent", "candidate"), (incumbent, candidate), shares, strict=True)
        for one in arm_rows(arm, adapter, solved_at(share, cases, adapter), **values)
    ]
    lake.replace_partition("eval_results", rows, workflow=WORKFLOW, week=week, seconds=0.5 * len(rows))


def ten_weeks(lake: Lake, cases: int = 240) -> list[str]:
    """Ten weeks: a climb, a rejected candidate, a week without a decision, other tools in week 5; the Mondays."""
    mondays = [(date(2026, 1, 5) + timedelta(days=7 * n)).isoformat() for n in range(10)]
    shares = [0.46, 0.61, 0.5, 0.72, 0.68, 0.77, None, 0.86, 0.9, 0.93]
    serves, at = "base", 0.12
    left = 1.0
    freeze(lake, cases)
    for number, (week, share) in enumerate(zip(mondays, shares, strict=True)):
        failures = {name: round(count * left) for name, count in _FAILURES.items()}
        production(lake, week, serves, failures, detectors="2" if number < 6 else "3")
        if share is None:
            continue
        correct(lake, week, {"wrong_arguments": 12, "refusal_error": 6}, hours=2.5 + number % 3)
        candidate = f"adapter-{number + 1:02d}"
        lake.replace_partition("checkpoint", [], workflow=WORKFLOW, week=week, seconds=300.0 + 20 * number)
        ask(lake, week, candidate)
        evaluate(lake, week, serves, candidate, (at, share), cases, benchmark_version="b1" if number < 4 else "b2")
        verdict = "PROMOTE" if share > at else "REJECT"
        before, serves, at = serves, candidate if share > at else serves, max(at, share)
        decide(lake, week, verdict, before, candidate, serves, cases=cases)
        left = 1 - at
    return mondays


_FAILURES = {
    "wrong_arguments": 70, "refusal_error": 40, "wrong_tool_selection": 25, "schema_violation": 22, "bad_recovery": 15, "missing_call": 9,
    "ungrounded_claim": 6, "loop": 4, "policy": 3,
}  # fmt: skip


def production(
    lake: Lake, week: str, adapter: str, failures: Mapping[str, int], runs: int = 400, detectors: str = "2"
) -> None:
    """A week of runs of which some fail: bucket -> failures of the agent, each bucket one failure cluster of the tool `pay`."""
    lake.replace_partition(
        "production_traces", [row("production_traces", trace_id=f"t{n}", tools_sha256="tools-1", environment="production", messages="[]") for n in range(runs)],
        workflow=WORKFLOW, week=week, seconds=20.0,
    )  # fmt: skip
    found = [
        row("production_failures", failure_id=f"{bucket}-{n}", trace_id=f"t{n}", bucket=bucket, fault="agent", failure_cluster=f"pay · {bucket}",
            evidence="[]", tags="[]", adapter_id=adapter, tool="pay")
        for bucket, count in failures.items() for n in range(count)
    ]  # fmt: skip
    lake.replace_partition(
        "production_failures", found, workflow=WORKFLOW, week=week, code_version=detectors, seconds=15.0
    )
    clusters = [
        row("failure_clusters", failure_cluster=f"pay · {bucket}", tool="pay", bucket=bucket, failures=count, agent_failures=count,
            opportunities=runs // 2, per_1000=1000 * count / (runs // 2), by_adapter=json.dumps({adapter: [count, runs // 2]}),
            status="persisting", first_seen_week=week, last_seen_week=week, example="said so")
        for bucket, count in failures.items()
    ]  # fmt: skip
    lake.replace_partition("failure_clusters", clusters, workflow=WORKFLOW, week=week)


def correct(lake: Lake, week: str, buckets: Mapping[str, int], hours: float) -> None:
    """Corrections of some buckets' clusters: bucket -> how many, and the experts' hours."""
    rows = [
        row("corrected_traces", correction_id=f"{week}-{bucket}-{n}", item_id=f"i{n}", failure_cluster=f"pay · {bucket}", bucket=bucket,
            first_bad_message_index=0, messages='[{"role": "assistant", "content": "better"}]', trainable_indices="[0]", tools="[]",
            rejected_message='{"role": "assistant", "content": "bad"}')
        for bucket, count in buckets.items() for n in range(count)
    ]  # fmt: skip
    lake.replace_partition("corrected_traces", rows, workflow=WORKFLOW, week=week, seconds=3.0)
    effort = [
        row("correction_effort", grouping="person", name=name, role=role, items=len(rows), decisions=len(rows), timed=len(rows),
            active_seconds=3600 * hours * share, accepted_as_is=0, changed=0, returned=0)
        for name, role, share in (("ann", "annotator", 0.7), ("bob", "reviewer", 0.3))
    ]  # fmt: skip
    lake.replace_partition("correction_effort", effort, workflow=WORKFLOW, week=week)
    cost = row("correction_quality", figure="cost", value=60 * hours, n=len(rows), note="")
    lake.replace_partition("correction_quality", [cost], workflow=WORKFLOW, week=week)


def ask(lake: Lake, week: str, candidate: str, **changed: Any) -> None:
    """What the week's verdict asks for: one kind of failure."""
    values = {
        "bucket": "wrong_arguments", "tool": "pay", "confused_with": "[]", "failed": 7, "cases": 20, "regressed": 2, "corrected": 12,
        "remedy": "steps+pair", "items_wanted": 21, "example_case_id": "case-004", "example_reason": "argument order_id differs",
        "candidate_adapter_id": candidate, "verdict": "REJECT", **changed,
    }  # fmt: skip
    lake.replace_partition("next_asks", [row("next_asks", **values)], workflow=WORKFLOW, week=week)


def freeze(lake: Lake, cases: int, **changed: Any) -> None:
    """The benchmark's cases, numbered as `evaluate` numbers them: the next step must pay an order."""
    rows = [
        row(
            "benchmark", case_id=f"case-{n:03d}", case_cluster=f"cluster-{n // 2}", category=CATEGORIES[n % 4], content_sha256=f"h{n}",
            case=json.dumps({
                "id": f"case-{n:03d}", "exercises": {"buckets": [("wrong_arguments", "refusal_error")[n % 2]], "tools": ["pay"]},
                "messages": [{"role": "user", "content": f"Pay order R{n}"}],
                "expectation": {"kind": "call", "calls": [{"name": "pay", "arguments": {"order_id": {"exact": f"R{n}"}}}]}, **changed,
            }),
        )
        for n in range(cases)
    ]  # fmt: skip
    lake.replace_partition("benchmark", rows, workflow=WORKFLOW)


def step(number: int, right: bool) -> str:
    """JSON of a transcript: the request, and the call the model made."""
    arguments = json.dumps({"order_id": f"R{number}" if right else "R999", "note": "as asked"})
    call = {"id": "c", "type": "function", "function": {"name": "pay", "arguments": arguments}}
    return json.dumps(
        [
            {"role": "user", "content": f"Pay order R{number}"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
        ]
    )
