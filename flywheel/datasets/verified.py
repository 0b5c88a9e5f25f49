"""Verified-good production steps: runs that a verifier named in the pack passed (design.md 8.7).

"No failure was detected" never qualifies. They keep the tools alive that this week's corrections do not touch.

    reward        the source gave the run its full reward (1 or more)
    gold_actions  the run's calls are exactly the gold actions the source logged, in any order
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from flywheel.benchmark.fingerprints import calls_in
from flywheel.benchmark.matchers import equal
from flywheel.datasets.steps import Step


def passed_by(trace: Mapping[str, Any], verifiers: Sequence[str]) -> str | None:
    """The first of the named verifiers that the run passes, or None."""
    for name in verifiers:
        if name == "reward" and trace["reward"] is not None and trace["reward"] >= 1:
            return name
        if name == "gold_actions" and trace["expected_actions"] and _as_gold(trace):
            return name
    return None


def verified_steps(
    traces: Iterable[Mapping[str, Any]], tools_of: Mapping[str, str], verifiers: Sequence[str], failed: set[str]
) -> list[Step]:
    """One step per assistant message of every run that passes; runs with a failure found on them never do.

    `tools_of` is tools_sha256 -> JSON text of the tools.
    """
    steps: list[Step] = []
    for trace in traces:
        verifier = None if trace["trace_id"] in failed else passed_by(trace, verifiers)
        if verifier is None:
            continue
        messages, tools = json.loads(trace["messages"]), json.loads(tools_of.get(trace["tools_sha256"], "[]"))
        steps += [
            Step(
                "verified", trace["trace_id"], trace["week"], trace["conversation_id"], None, index, tools, messages[:index], message,
                f"verifier_{verifier}", "model", "verifier", None, trace["trace_id"], trace["principal_ref"], trace["tenant_id"],
                source_file=trace["source_file"],
            )
            for index, message in enumerate(messages)
            if message["role"] == "assistant"
        ]  # fmt: skip
    return steps


def _as_gold(trace: Mapping[str, Any]) -> bool:
    made = calls_in(json.loads(trace["messages"]))
    gold = [
        (action["name"], action.get("arguments") or action.get("kwargs") or {})
        for action in json.loads(trace["expected_actions"])
    ]
    left = list(made)
    for name, arguments in gold:
        found = next((call for call in left if call[0] == name and equal(arguments, call[1])), None)
        if found is None:
            return False
        left.remove(found)
    return not left
