"""Structured answers that break their schema, and values in them that come from nowhere."""

from collections.abc import Iterator
from typing import Any

from flywheel.detectors.finding import Finding, Run
from flywheel.detectors.grounding import strange_value
from flywheel.toolcalls.arguments import canonical_json
from flywheel.toolcalls.structured_answers import answer_fields, check_answer


def invalid_answers(run: Run) -> Iterator[Finding]:
    """Every answer that its response schema refuses, in the bucket and the kinds of calls."""
    for answer in run.answers:
        errors = check_answer(answer.response, answer.content)
        if not errors:
            continue
        first, name = errors[0], answer.response.name
        place = f" at {first.path}" if first.path else ""
        said = f"the answer {name}{place}: {first.message}"
        if first.kind == "unusable_schema":
            yield Finding(answer.index, "infra_error", first.kind, "environment", None, f"answer {name}: {first.kind}", said, True)  # fmt: skip
        else:
            error = f"answer {name}: {first.kind}{place}"
            yield Finding(answer.index, "schema_violation", first.kind, "agent", None, error, said, True)


def ungrounded_answers(run: Run) -> Iterator[Finding]:
    """A structured answer that holds a name, id, e-mail or date that stands nowhere before it; see `ungrounded_arguments`.

    Numbers that are no text are left alone: an answer may compute them.
    """
    for answer in run.answers:
        fields = answer_fields(answer.content)
        strange = strange_value(run, answer.index, canonical_json(_without_numbers(fields))) if fields else None
        if strange is not None:
            said = f"the answer {answer.response.name} holds {strange!r}, which stands in no earlier message"
            error = f"answer {answer.response.name}: ungrounded_argument"
            yield Finding(answer.index, "wrong_arguments", "ungrounded_argument", "agent", None, error, said)
            return


def _without_numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_numbers(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_numbers(inner) for inner in value]
    return None if isinstance(value, int | float) else value
