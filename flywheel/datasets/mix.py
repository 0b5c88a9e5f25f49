"""The week's supervised mix: steps to rows, one row a history, nothing near the benchmark, nothing too long.

Every step that is left out is counted under its reason; `read = kept + left out` holds.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import polars as pl

from flywheel.benchmark.fingerprints import calls_in
from flywheel.benchmark.leaks import Leak, LeakCandidate, find_leaks
from flywheel.chat.render import Renderer
from flywheel.datasets.steps import Step, user_text
from flywheel.toolcalls.arguments import canonical_json, sha256_of


class Mix(NamedTuple):
    """Supervised rows and what was left out.

    Attributes:
        rows: SFT_DATASET rows without partition columns.
        left_out: reason -> number of steps: repeated, other_answer, benchmark, too_long.
        leaks: the steps that touched the benchmark.
    """

    rows: list[dict[str, Any]]
    left_out: dict[str, int]
    leaks: list[Leak]


def supervised_mix(steps: Sequence[Step], registry: pl.DataFrame, renderer: Renderer, *, max_prompt_tokens: int) -> Mix:
    """All steps so far as rows, newest corrections first when two answers to one history disagree.

    `registry` is the benchmark's fingerprint table; a step in its neighbourhood is barred, in this and any later week.
    """
    left_out: Counter[str] = Counter(repeated=0, other_answer=0, benchmark=0, too_long=0)
    leaks = {
        leak.row_id: leak for leak in find_leaks(registry, [candidate(number, s) for number, s in enumerate(steps)])
    }
    rows: dict[str, dict[str, Any]] = {}
    answers: dict[str, str] = {}
    newest_first = sorted(enumerate(steps), key=lambda pair: (pair[1].from_week or "", -pair[0]), reverse=True)
    for number, step in newest_first:
        row = _row(step, renderer)
        history_id = sha256_of([row["tools_sha256"], step.history])
        if str(number) in leaks:
            left_out["benchmark"] += 1
        elif row["prompt_tokens"] > max_prompt_tokens:
            left_out["too_long"] += 1
        elif row["row_id"] in rows:
            left_out["repeated"] += 1
        elif history_id in answers:
            left_out["other_answer"] += 1
        else:
            rows[row["row_id"]] = row
            answers[history_id] = row["row_id"]
    return Mix([rows[key] for key in sorted(rows)], dict(left_out), list(leaks.values()))


def candidate(number: int, step: Step) -> LeakCandidate:
    """A step as the leak search wants it."""
    return LeakCandidate(
        str(number), step.conversation_id, user_text(step.history), calls_in([*step.history, step.target])
    )


def _row(step: Step, renderer: Renderer) -> dict[str, Any]:
    rendered = renderer.step(step.history, step.target, step.tools)
    return {
        "row_id": sha256_of([step.tools, step.history, step.target])[:16],
        "source": step.source,
        "source_id": step.source_id,
        "from_week": step.from_week,
        "conversation_id": step.conversation_id,
        "failure_cluster": step.failure_cluster,
        "message_index": step.message_index,
        "tools": canonical_json(step.tools),
        "tools_sha256": sha256_of(step.tools),
        "messages": canonical_json(step.history),
        "target": canonical_json(step.target),
        "prompt_tokens": len(rendered.prompt_ids),
        "target_tokens": len(rendered.target_ids),
        "verified_by": step.verified_by,
        "annotator_kind": step.annotator_kind,
        "qa_mode": step.qa_mode,
    }
