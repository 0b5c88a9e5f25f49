"""Triage: all detectors over one run; the first finding on the critical step names the failure, all tags are kept."""

import json
from typing import Any

from flywheel.failures.detectors import ALL
from flywheel.failures.failure_clusters import cluster_name
from flywheel.failures.finding import BUCKETS, Finding, Run
from flywheel.toolcalls.arguments import canonical_json, sha256_of


def triage(trace: dict[str, Any]) -> dict[str, Any] | None:
    """PRODUCTION_FAILURES row (without partition columns) of one `production_traces` row, or None when nothing is found.

    The critical step is the earliest with a finding that is the agent's fault, else the earliest with any; on it the
    order of BUCKETS decides.
    """
    run = Run(
        json.loads(trace["messages"]), json.loads(trace["tools"]), trace["outcome_status"], trace["feedback_score"]
    )
    findings = [finding for detector in ALL for finding in detector(run)]
    if not findings:
        return None
    first = min(findings, key=lambda f: (f.fault != "agent", f.message_index, BUCKETS.index(f.bucket)))
    evidence = [f.evidence for f in findings if f.message_index == first.message_index]
    return {
        "failure_id": sha256_of([trace["trace_id"], first.message_index, first.bucket])[:16],
        "trace_id": trace["trace_id"],
        "message_index": first.message_index,
        "bucket": first.bucket,
        "sub_kind": first.sub_kind,
        "fault": first.fault,
        "severity": severity(first, run.tools),
        "tool": first.tool,
        "first_error": first.error,
        "failure_cluster": cluster_name(first.tool, first.bucket, first.error),
        "evidence": canonical_json(evidence),
        "tags": canonical_json(sorted({f.bucket for f in findings})),
        "adapter_id": trace["adapter_id"],
        "principal_ref": trace["principal_ref"],
    }


def severity(finding: Finding, tools: list[dict[str, Any]]) -> str:
    """critical: a policy broken, a false claim, or a write gone wrong; minor: nobody's fault known; else major."""
    writing = {tool["function"]["name"] for tool in tools if tool.get("x-access") == "write"}
    if finding.bucket == "policy_violation" or finding.sub_kind == "false_success_claim" or finding.tool in writing:
        return "critical"
    return "minor" if finding.fault == "inconclusive" else "major"
