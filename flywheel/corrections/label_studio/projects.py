"""From a batch to Label Studio projects: one for each tool and failure cluster, because its form cannot follow a task's schema.

A project is a folder with `config.xml` (the labelling interface), `tasks.json` (import it; the model's attempt is the
prediction that fills the form) and `project.json` (title and what it is for).
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from flywheel.chat.visible import visible
from flywheel.corrections.handoff.schemas import UNFIXABLE_CODES
from flywheel.corrections.handoff.verify.answers import response_at
from flywheel.corrections.handoff.verify.batch import Batch, Item
from flywheel.corrections.handoff.verify.strict import pretty
from flywheel.corrections.label_studio.form import Field, arguments_of, described, fields_of, first_call, text_of
from flywheel.errors import FlywheelError

REPLY = "(reply)"
UNFIXABLE = "not fixable: "
CODES = ("schema_violation", "wrong_tool_selection", "wrong_arguments", "bad_recovery", "refusal_error", "other")
_TOOL_KEYS, _CODE_KEYS = "1234567890", "qwertyuiop"
_TITLE = 50  # Label Studio takes no longer title
_MODEL = "what the model did"


def write_projects(batch: Batch, out: Path) -> list[tuple[Path, int]]:
    """Write all projects of a batch under `out`; returns each folder with its number of tasks, in the order of the batch."""
    if out.exists() and any(out.iterdir()):
        raise FlywheelError(
            "the folder holds something else", where=str(out), remedy="name a folder that is not there yet"
        )
    groups: dict[tuple[str, str, str], list[Item]] = {}
    for item in batch.items.values():
        groups.setdefault((suspected_tool(item), item.row["failure_cluster"], item.row["tools_sha256"]), []).append(
            item
        )
    made = []
    for number, ((tool, cluster, _), items) in enumerate(groups.items(), 1):
        folder = out / f"{number:02d}-{re.sub('[^A-Za-z0-9]+', '-', tool).strip('-')[:40] or 'tool'}"
        folder.mkdir(parents=True)
        title = f"{number:02d} {tool} | {cluster}"[:_TITLE]
        (folder / "config.xml").write_text(config(items[0], structured=bool(batch.responses)), encoding="utf-8")
        (folder / "tasks.json").write_bytes(pretty([task(item, batch) for item in items]))
        about = {
            "title": title,
            "tool": tool,
            "failure_cluster": cluster,
            "batch_sha256": batch.sha256,
            "tasks": len(items),
        }
        (folder / "project.json").write_bytes(pretty(about))
        made.append((folder, len(items)))
    return made


def suspected_tool(item: Item) -> str:
    """The tool whose arguments the form of an item shows; REPLY where the step called none that the item has."""
    call = first_call(item.messages, item.message_index)
    name = call["function"]["name"] if call else REPLY
    return name if name in item.tools else REPLY


def fields_of_item(item: Item) -> list[Field]:
    """The argument fields of an item's form."""
    return fields_of(item.tools.get(suspected_tool(item)) or {})


def config(item: Item, *, structured: bool = False) -> str:
    """The labelling interface for the items of one tool and cluster.

    Args:
        structured: whether some answers must be JSON of a schema; each task then shows what a reply at its step has to be.
    """
    tool = suspected_tool(item)
    unfixable = [UNFIXABLE + code for code in UNFIXABLE_CODES]
    lines = [
        "<View>",
        f"  <Header value={quoteattr('The run. Correct this step: ' + tool)}/>",
        '  <Paragraphs name="run" value="$dialogue" layout="dialogue" nameKey="author" textKey="text"/>',
        '  <Header value="The step to correct"/>',
        '  <Text name="step" value="$step"/>',
        '  <Header value="What it should have done"/>',
        *_choices("tool", [*item.tools, REPLY], _TOOL_KEYS),
        *(line for field in fields_of_item(item) for line in _area(field.control, described(field))),
        *_area("other_arguments", "Another tool: all its arguments as one JSON object"),
        *(['  <Text name="reply_schema" value="$reply_schema"/>'] if structured else []),
        *_area("reply", "A reply instead of a call"),
        '  <Header value="What was wrong"/>',
        *_choices("code", [*CODES, *unfixable], _CODE_KEYS),
        *_area("rationale", "Why (one sentence, no personal data)"),
        "</View>",
    ]
    return "\n".join(lines) + "\n"


def task(item: Item, batch: Batch) -> dict[str, Any]:
    """An item as a task, with the model's attempt as the prediction that fills the form."""
    dialogue = [{"author": message["role"], "text": visible(_said(message))} for message in item.messages]
    data = {"item_id": item.item_id, "base_sha256": item.base_sha256, "batch_sha256": batch.sha256, "dialogue": dialogue,
            "step": visible(f"step {item.message_index}: {_said(item.messages[item.message_index])}")}  # fmt: skip
    if batch.responses:
        data["reply_schema"] = visible(_reply_schema(item, batch))
    return {"data": data, "predictions": [{"model_version": _MODEL, "result": list(_prefilled(item))}]}


def _reply_schema(item: Item, batch: Batch) -> str:
    """What a reply at the step has to be: the form has one text for it, and `verify` judges it when it comes back."""
    step = {"role": "assistant", "content": ""}
    response = response_at(batch.responses, [*item.messages[: item.message_index], step], item.message_index)
    if response is None:
        return "A reply here is words."
    fields = "; ".join(described(field) for field in fields_of(response.schema))
    return f"A reply here is one JSON object, {response.name}, and nothing around it. {fields}\n{json.dumps(response.schema, ensure_ascii=False)}"  # fmt: skip


def _prefilled(item: Item) -> Iterator[dict[str, Any]]:
    call = first_call(item.messages, item.message_index)
    tool = suspected_tool(item)
    yield {"from_name": "tool", "to_name": "run", "type": "choices", "value": {"choices": [tool]}}
    if tool == REPLY:
        if text := item.messages[item.message_index].get("content"):
            yield _text("reply", text)
        return
    given = arguments_of(call)
    for field in fields_of_item(item):
        if field.name in given:
            yield _text(field.control, text_of(given[field.name]))


def _text(control: str, text: str) -> dict[str, Any]:
    return {"from_name": control, "to_name": "run", "type": "textarea", "value": {"text": [text]}}


def _said(message: dict[str, Any]) -> str:
    calls = [f"{call['function']['name']}({call['function']['arguments']})" for call in message.get("tool_calls") or []]
    return "\n".join([*([message["content"]] if message.get("content") else []), *calls])


def _choices(name: str, values: list[str], keys: str) -> Iterator[str]:
    yield f'  <Choices name="{name}" toName="run" choice="single" showInline="true" required="true">'
    for number, value in enumerate(values):
        key = f' hotkey="{keys[number]}"' if number < len(keys) else ""
        yield f"    <Choice value={quoteattr(value)}{key}/>"
    yield "  </Choices>"


def _area(control: str, label: str) -> Iterator[str]:
    yield f'  <Header value={quoteattr(label)} size="6"/>'
    yield f'  <TextArea name="{control}" toName="run" rows="1" maxSubmissions="1" editable="true"/>'
