"""From a step to a candidate row: token counts, and the ids by which steps are the same, contradict or resemble each other.

row_id       tools, history, target: the very same row
context_id   tools and history in canonical form; one context has one right answer
answer_id    the target in canonical form: calls by name and parsed arguments, words by their words
shape_id     context and answer without the users' words: with the near-duplicate group it tells repeats from steps of one run
text_id      the users' words alone
template_id  the last request with ids masked, and the tools called
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from flywheel.benchmark.fingerprints import masked
from flywheel.chat.canonical import canonical_messages
from flywheel.chat.render import Renderer
from flywheel.datasets.length import ContextPolicy, shorten
from flywheel.datasets.remedies import Remedy, remedies_of, supervised_remedy
from flywheel.datasets.steps import Step, user_text
from flywheel.datasets.tools_today import judge_answer, judge_today
from flywheel.similarity.incremental import text_id_of
from flywheel.toolcalls.arguments import canonical_json, sha256_of
from flywheel.toolcalls.structured_answers import ResponseSchema

_CARRIED = ("source", "source_id", "trace_id", "conversation_id", "principal_ref", "tenant_id", "batch_version", "annotator", "source_file",
            "bucket", "failure_cluster", "message_index", "verified_by", "annotator_kind", "qa_mode")  # fmt: skip


class Rules(NamedTuple):
    """What decides a candidate besides the step: the pack's limits, remedies and tools of today."""

    max_prompt_tokens: int
    context_policy: ContextPolicy = "none"
    remedies: Mapping[str, list[Remedy]] = {}
    tools: Sequence[dict[str, Any]] = ()
    tool_migrations: Mapping[str, str] = {}
    responses: Sequence[ResponseSchema] = ()

    def values(self) -> dict[str, Any]:
        """The rules as JSON values; packs without response schemas have the hash they had before there were any."""
        told = {name: value for name, value in self._asdict().items() if name != "responses"}
        return {**told, "responses": [one.values() for one in self.responses]} if self.responses else told


def candidate_row(step: Step, renderer: Renderer, rules: Rules) -> dict[str, Any]:
    """A TRAINING_STEPS row without partition columns."""
    step, kept_out, detail = judge_today(step, rules.tools, rules.tool_migrations) if rules.tools else (step, "", "")
    if not kept_out:
        step, kept_out, detail = judge_answer(step, rules.responses)
    rendered = renderer.step(step.history, step.target, step.tools)
    prompt_tokens, elided, history = len(rendered.prompt_ids), 0, step.history
    if prompt_tokens > rules.max_prompt_tokens:
        limit = rules.max_prompt_tokens
        shorter, elided = shorten(
            step.history, lambda messages: len(renderer.prompt_ids(messages, step.tools)) <= limit, rules.context_policy
        )
        if shorter is None:
            kept_out = kept_out or "too_long"
            detail = detail or f"{prompt_tokens} prompt tokens, at most {limit} (context policy {rules.context_policy})"
        else:
            history, prompt_tokens = shorter, len(renderer.prompt_ids(shorter, step.tools))
    said, functions = user_text(history), sha256_of([tool.get("function", tool) for tool in step.tools])
    context, answer = canonical_messages(step.history), canonical_messages([step.target])
    calls = [call["function"]["name"] for call in step.target.get("tool_calls") or []]
    last = next((m for m in reversed(step.history) if m["role"] == "user"), {"content": ""})
    pair = step.rejected is not None and canonical_messages([step.rejected]) != answer
    return {
        **{name: getattr(step, name) for name in _CARRIED},
        "row_id": sha256_of([step.tools, history, step.target])[:16],
        "tool": calls[0] if calls else None,
        "remedy": supervised_remedy(step.bucket, rules.remedies),
        "tools": canonical_json(step.tools),
        "tools_sha256": sha256_of(step.tools),
        "messages": canonical_json(history),
        "target": canonical_json(step.target),
        "rejected": canonical_json(step.rejected) if pair else None,
        "rejected_tokens": len(renderer.step(history, step.rejected, step.tools).target_ids)
        if pair and step.rejected
        else None,
        "pair": pair and "pair" in remedies_of(step.bucket, rules.remedies),
        "context_id": sha256_of([functions, context])[:16],
        "answer_id": sha256_of(answer)[:16],
        "shape_id": sha256_of([functions, [None if m["role"] == "user" else m for m in context], answer])[:16],
        "template_id": sha256_of([masked(str(last.get("content") or "")), sorted(calls)])[:16],
        "text_id": text_id_of(said),
        "text": said,
        "prompt_tokens": prompt_tokens,
        "target_tokens": len(rendered.target_ids),
        "elided_messages": elided,
        "kept_out": kept_out,
        "detail": detail,
    }
