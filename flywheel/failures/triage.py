"""Triage: all detectors over one run; the first finding on the critical step names the failure, all tags are kept."""

import gc
import json
from collections import Counter
from collections.abc import Mapping
from itertools import repeat
from typing import Any, NamedTuple

import msgspec
import polars as pl
from msgspec import Struct

from flywheel.chat.messages import ToolCall
from flywheel.detectors.find import critical, find
from flywheel.detectors.finding import Finding, Rules, Run, Toolbox
from flywheel.detectors.grounding import HINTS, looks_ungrounded
from flywheel.detectors.schemas import MARKS
from flywheel.failures.failure_clusters import cluster_name
from flywheel.toolcalls.arguments import canonical_json, sha256_of
from flywheel.toolcalls.incomplete_results import HINTS as UNFINISHED

COLUMNS = [
    "trace_id", "messages", "tools_sha256", "tool_errors", "outcome_status", "reward", "feedback_score", "expected_actions",
    "metadata", "adapter_id", "principal_ref", "tenant_id",
]  # fmt: skip


class _Step(Struct, gc=False):
    """A message without its words, which decodes in half the time."""

    role: str
    tool_calls: list[ToolCall] | None = None


_steps = msgspec.json.Decoder(list[_Step]).decode


class Triaged(NamedTuple):
    """PRODUCTION_FAILURES rows without partition columns, and (adapter, tool) -> runs in which the tool was called.

    The tool None stands for all runs.
    """

    failures: list[dict[str, Any]]
    opportunities: Counter[tuple[str, str | None]]


class Triage:
    """Triage of a workflow's runs.

    Args:
        toolsets: tools_sha256 -> JSON text of the tools.
        rules: what the pack says about judging.
    """

    def __init__(self, toolsets: Mapping[str, str], rules: Rules) -> None:
        self._toolsets, self._rules = toolsets, rules
        self._boxes: dict[str, Toolbox] = {}

    def frame(self, traces: pl.DataFrame) -> Triaged:
        """All runs of a frame with COLUMNS."""
        collecting = gc.isenabled()
        gc.disable()  # runs live for microseconds and make no cycles
        try:
            return self._frame(traces)
        finally:
            if collecting:
                gc.enable()

    def _frame(self, traces: pl.DataFrame) -> Triaged:
        failures: list[dict[str, Any]] = []
        suspects: list[int] = []
        called: list[tuple[str, str | None]] = [(adapter, None) for adapter in traces["adapter_id"]]
        looks = _looks(traces)
        columns = (traces["messages"], traces["tools_sha256"], traces["adapter_id"], looks["plain"], looks["hinted"])
        for number, (text, digest, adapter, plain, hinted) in enumerate(zip(*columns, strict=True)):
            names = self._clean(text, self.toolbox(digest), hinted) if plain else None
            if names is None:
                suspects.append(number)
            else:
                called += zip(repeat(adapter), names)
        for row in traces.hstack(looks.select("hinted", "marked", "unfinished"))[suspects].iter_rows(named=True):
            run = Run(row, self.toolbox(row["tools_sha256"]), self._rules)
            called += zip(repeat(row["adapter_id"]), {call.name for call in run.calls})
            failure = self._failure(row, run)
            if failure:
                failures.append(failure)
        return Triaged(failures, Counter(called))

    def _clean(self, text: str, box: Toolbox, hinted: bool) -> set[str] | None:
        """Tools called in a run that no detector can object to, or None for one that they have to see; `hinted`: see `_looks`.

        One question, tools that worked, an answer: what most of a good agent's runs are, told apart without building a `Run`.
        """
        if box.needs or box.responses or self._rules.any_injected:
            return None
        steps = _steps(text)
        if steps[-1].role != "assistant":
            return None
        called: set[str] = set()
        asked = 0
        for step in steps:
            if step.role == "user":
                asked += 1
            for call in step.tool_calls or ():
                name, arguments = call.function.name, call.function.arguments
                accepts = box.accepts.get(name)
                if accepts is None or not accepts(arguments):
                    return None
                if hinted and looks_ungrounded(call.id, arguments, text):
                    return None
                called.add(name)
        return called if asked < 2 else None

    def one(self, row: dict[str, Any]) -> dict[str, Any] | None:
        """The failure of one run, or None when nothing is found."""
        return self._failure(row, Run(row, self.toolbox(row["tools_sha256"]), self._rules))

    def toolbox(self, digest: str) -> Toolbox:
        """The tools behind a hash; the pack's where the lake does not know it."""
        box = self._boxes.get(digest)
        if box is None:
            text = self._toolsets.get(digest)
            tools = json.loads(text) if text is not None else list(self._rules.tools)
            box = self._boxes[digest] = Toolbox(tools, self._rules)
        return box

    def _failure(self, trace: dict[str, Any], run: Run) -> dict[str, Any] | None:
        findings = find(run)
        return failure_row(trace, run, findings) if findings else None


def failure_row(trace: dict[str, Any], run: Run, findings: list[Finding]) -> dict[str, Any]:
    """PRODUCTION_FAILURES row of a run with at least one finding."""
    first = critical(findings)
    evidence = [f.evidence for f in findings if f.message_index == first.message_index]
    return {
        "failure_id": sha256_of([trace["trace_id"], first.message_index, first.bucket])[:16],
        "trace_id": trace["trace_id"],
        "message_index": first.message_index,
        "bucket": first.bucket,
        "sub_kind": first.sub_kind,
        "fault": first.fault,
        "severity": severity(first, run.toolbox.writing),
        "tool": first.tool,
        "first_error": first.error,
        "failure_cluster": cluster_name(first.tool, first.bucket, first.error),
        "evidence": canonical_json(evidence),
        "tags": canonical_json(sorted({f.bucket for f in findings})),
        "adapter_id": trace["adapter_id"],
        "principal_ref": trace["principal_ref"],
        "tenant_id": trace.get("tenant_id"),
    }


def _looks(traces: pl.DataFrame) -> pl.DataFrame:
    """What is asked of whole columns at once: `plain` for rows without a label, a failed tool, a failed model, the marks of an unparsed
    call or of a result that lacks something, `hinted` for those with values that may be ungrounded, `marked` and `unfinished` for those
    with such marks.
    """
    unlabelled = (
        (pl.col("outcome_status") == "unknown") & pl.col("reward").is_null() & pl.col("feedback_score").is_null()
    )
    whole = ~pl.col("metadata").str.contains('"error"', literal=True)
    looks = traces.with_columns(
        marked=pl.col("messages").str.contains(MARKS),
        hinted=pl.col("messages").str.contains(HINTS),
        unfinished=pl.col("messages").str.contains(UNFINISHED),
    )
    plain = (unlabelled & (pl.col("tool_errors") == 0) & whole & ~pl.col("marked") & ~pl.col("unfinished")).fill_null(
        False
    )
    return looks.select("hinted", "marked", "unfinished", plain=plain)


def severity(finding: Finding, writing: set[str]) -> str:
    """critical: a policy broken, a false claim, or a write gone wrong; minor: not the agent's fault; else major."""
    if finding.fault != "agent":
        return "minor"
    if finding.bucket == "policy_violation" or finding.sub_kind == "false_success_claim" or finding.tool in writing:
        return "critical"
    return "major"
