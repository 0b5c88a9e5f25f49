"""Production steps as cases: what the run had before the step, and what people say is right there.

One step a run: the first wrong one as its expert marked it, or, of a run that people found right, the step they were asked about. The
history is production's own, so it is what a model would really have met. Calls must have the right tools and equal arguments, as in a case
promoted from a run; a text of more than three words that stands nowhere in the history is the model's to compose, and is not judged. Of a
reply in words only that no call was made is judged; of a structured answer every field, as of a call every argument.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

import polars as pl
from jinja2 import TemplateError

from flywheel.benchmark.cases import Case, case_of, tools_of
from flywheel.benchmark.promote import category_of
from flywheel.chat.render import Renderer
from flywheel.errors import FlywheelError
from flywheel.toolcalls.arguments import canonical_json, parse_arguments, sha256_of
from flywheel.toolcalls.structured_answers import ResponseSchema, answer_fields, check_answer, response_at
from flywheel.workflows.pack import Pack

RANDOM_SLICE, SELECTED = "random_slice", "selected_failures"
UNFLAGGED = "unflagged"  # the failure cluster of the random slice's items
_COMPOSED_WORDS = 3


class ProductionStep(NamedTuple):
    """One step: the case that asks it, and where it comes from. `conversation_id` keeps it apart from what trained."""

    case: Case
    item_id: str
    trace_id: str
    conversation_id: str
    failure_cluster: str
    made_by: str
    answer: str


class WeekOfSteps(NamedTuple):
    """Answers of one week, as they lie in the lake.

    Attributes:
        corrected: CORRECTED_TRACES rows.
        items: CORRECTION_BATCH rows.
        confirmed: items whose runs people found right as they are.
        conflicts: items that settle older answers; they are no steps of the week.
        made_by: trace id -> adapter, of the week's own runs; late and carried-over runs are no steps of the week.
    """

    corrected: pl.DataFrame
    items: pl.DataFrame
    confirmed: Collection[str]
    conflicts: Collection[str]
    made_by: Mapping[str, str]


def production_steps(week: WeekOfSteps, pack: Pack, renderer: Renderer) -> tuple[list[ProductionStep], Counter[str]]:
    """The week's steps, by case id, and how many answers were left out for which reason.

    What a server would refuse (no history, a history over the context length, calls in it whose arguments are no JSON object) cannot be
    asked: production's histories are not as clean as a benchmark's.
    """
    steps: list[ProductionStep] = []
    left_out: Counter[str] = Counter()
    for name, row, index, messages, answer in _answers(week):
        if row["item_id"] in week.conflicts or row["trace_id"] not in week.made_by:
            left_out["not a run of this week"] += 1
            continue
        case = _case(name, row, index, messages, pack)
        if case is None or not _can_be_asked(case, pack, renderer):
            left_out["cannot be asked"] += 1
            continue
        cluster = row["failure_cluster"]
        origin = (row["item_id"], row["trace_id"], row["conversation_id"] or "", cluster, week.made_by[row["trace_id"]])
        steps.append(ProductionStep(case, *origin, answer))
    return sorted(steps, key=lambda step: step.case.id), left_out


def asked(history: list[dict[str, Any]]) -> str:
    """Hash of a history without the system prompt: equal histories ask the same."""
    return sha256_of([message for message in history if message["role"] != "system"])


def _answers(week: WeekOfSteps) -> Iterator[tuple[str, dict[str, Any], int, list[dict[str, Any]], str]]:
    """(id, row, index of the step, messages with the right step at that index, where the answer comes from)."""
    for row in week.corrected.iter_rows(named=True):
        yield row["correction_id"], row, row["first_bad_message_index"], json.loads(row["messages"]), "corrected"
    for row in week.items.filter(pl.col("item_id").is_in(sorted(week.confirmed))).iter_rows(named=True):
        yield row["item_id"], row, row["message_index"], json.loads(row["messages"]), "confirmed"


def _case(name: str, row: Mapping[str, Any], index: int, messages: list[dict[str, Any]], pack: Pack) -> Case | None:
    history = [message for message in messages[:index] if message["role"] != "system"]
    expectation = _expectation(messages[index], history, response_at(pack.responses, messages, index))
    tools = json.loads(row["tools"])
    if expectation is None or not tools:
        return None
    own = sha256_of([tool["function"] for tool in tools]) != pack.tools_sha256
    bucket = row["bucket"] if row["bucket"] != UNFLAGGED else ""
    values = {
        "id": f"step-{name}",
        "cluster": row["near_duplicate_group"] or row["trace_id"],
        "category": category_of(bucket, history),
        "exercises": {
            "buckets": [bucket] if bucket else [],
            "tools": sorted({call["name"] for call in expectation.get("calls", [])}),
        },
        "messages": history,
        "expectation": expectation,
        "slice": RANDOM_SLICE if row["failure_cluster"] == UNFLAGGED else SELECTED,
        **({"tools": tools} if own else {}),
    }
    try:
        return case_of(values, f"step {name}")
    except FlywheelError:
        return None


def _can_be_asked(case: Case, pack: Pack, renderer: Renderer) -> bool:
    calls = [call for message in case.messages for call in message.get("tool_calls") or []]
    if any(parse_arguments(call["function"]["arguments"]).value is None for call in calls):
        return False
    try:
        prompt = renderer.prompt_ids(
            [{"role": "system", "content": pack.system}, *case.messages], tools_of(case, pack.tools)
        )
    except TemplateError:
        return False
    return len(prompt) + pack.settings.decoding.max_tokens <= pack.settings.max_model_len


def _expectation(
    right: Mapping[str, Any], history: list[dict[str, Any]], response: ResponseSchema | None
) -> dict[str, Any] | None:
    calls, said = right.get("tool_calls") or [], canonical_json(history).casefold()
    if response and not check_answer(response, right.get("content")):
        fields = answer_fields(right.get("content")) or {}
        return {
            "kind": "answer",
            "response": response.name,
            "fields": {k: _matcher(v, said) for k, v in fields.items()},
        }
    if not calls:
        return {"kind": "reply"}
    expected = []
    for call in calls:
        arguments = parse_arguments(call["function"]["arguments"]).value
        if arguments is None:
            return None
        expected.append(
            {"name": call["function"]["name"], "arguments": {k: _matcher(v, said) for k, v in arguments.items()}}
        )
    return {"kind": "call", "calls": expected}


def _matcher(value: Any, said: str) -> dict[str, Any]:
    if (
        isinstance(value, str)
        and len(value.split()) > _COMPOSED_WORDS
        and canonical_json(value)[1:-1].casefold() not in said
    ):
        return {"ignore": "a text that the model composes"}
    return {"exact": value}
