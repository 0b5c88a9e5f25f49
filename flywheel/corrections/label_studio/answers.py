"""Label Studio's export back into Correction/1, pass 1 only: texts become typed arguments, or are refused with the reason."""

import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from flywheel.corrections.handoff.verify import CORRECTION_SCHEMA, UNFIXABLE_SCHEMA
from flywheel.corrections.handoff.verify.batch import Batch, Item
from flywheel.corrections.handoff.verify.command import seal
from flywheel.corrections.handoff.verify.rules import finding
from flywheel.corrections.handoff.verify.strict import NotStrict, canonical, parse, pretty, sha256_of
from flywheel.corrections.label_studio.form import Unfit, arguments_of, first_call, value_of
from flywheel.corrections.label_studio.projects import REPLY, UNFIXABLE, fields_of_item, suspected_tool
from flywheel.errors import FlywheelError

CLIENT = "label-studio-json/1"


class Answers(NamedTuple):
    """What an export held.

    Attributes:
        corrections, unfixable: lines for the return.
        refused: findings of rule V22, by item: a text that is no value of its argument.
        unanswered: tasks without a submitted annotation.
    """

    corrections: list[dict[str, Any]]
    unfixable: list[dict[str, Any]]
    refused: list[dict[str, Any]]
    unanswered: int


class _Refused(Exception):
    def __init__(self, path: str, got: str, wanted: str) -> None:
        super().__init__(path, got, wanted)
        self.path, self.got, self.wanted = path, got, wanted


def read_exports(files: Iterable[Path], batch: Batch) -> Answers:
    """Read export files (format JSON) of the batch's projects; raises FlywheelError for a file that is no such export."""
    answers = Answers([], [], [], 0)
    for file in files:
        for task in _tasks(file):
            data = task.get("data") or {}
            if data.get("batch_sha256") != batch.sha256 or data.get("item_id") not in batch.items:
                raise FlywheelError("a task of another batch", where=f"{file.name}, task {task.get('id')}",
                                    remedy="export the projects made from this batch folder")  # fmt: skip
            annotation = _newest(task)
            if annotation is None:
                answers = answers._replace(unanswered=answers.unanswered + 1)
            else:
                _read(annotation, batch.items[data["item_id"]], batch, str(data.get("base_sha256")), answers)
    return answers


def write_part(answers: Answers, batch: Batch, folder: Path, *, number: int, complete: bool = False) -> Path:
    """The answers as a sealed part of a return; the refused ones lie beside it in form_rejections.json."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("corrections", answers.corrections), ("unfixable", answers.unfixable)):
        (folder / f"{name}.jsonl").write_text("".join(canonical(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "form_rejections.json").write_bytes(pretty(answers.refused))
    seal(folder, batch, number, complete)
    return folder


def _tasks(file: Path) -> list[dict[str, Any]]:
    try:
        tasks = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise FlywheelError(
            f"not readable as JSON: {error}"[:200], where=file.name, remedy="export in the format JSON"
        ) from None
    if not isinstance(tasks, list) or not all(isinstance(task, dict) and "annotations" in task for task in tasks):
        raise FlywheelError("that is no Label Studio export of whole tasks", where=file.name,
                            remedy="export in the format JSON, not JSON-MIN or CSV")  # fmt: skip
    return tasks


def _newest(task: dict[str, Any]) -> dict[str, Any] | None:
    done = [one for one in task["annotations"] if isinstance(one, dict) and not one.get("was_cancelled")]
    return max(done, key=lambda one: str(one.get("updated_at") or one.get("created_at")), default=None)


def _read(annotation: dict[str, Any], item: Item, batch: Batch, base: str, answers: Answers) -> None:
    given = _given(annotation)
    work = _work(annotation, item, batch, base)
    code = given.get("code", [""])[0]
    rationale = given.get("rationale", [""])[0]
    if code.startswith(UNFIXABLE):
        reason = {"code": code.removeprefix(UNFIXABLE), "note": rationale}
        answers.unfixable.append({"schema_version": UNFIXABLE_SCHEMA, **work, **reason})
        return
    try:
        step = _step(given, item)
    except _Refused as refused:
        answers.refused.append(
            finding("V22", item=item.item_id, path=refused.path, got=refused.got, expected=refused.wanted)
        )
        return
    index = item.message_index
    row = {"schema_version": CORRECTION_SCHEMA, **work, "first_bad_message_index": index, "trainable_indices": [index],
           "suffix_mode": "truncated", "rationale": rationale, "client_version": CLIENT,
           "resulting_messages": [*item.messages[:index], step]}  # fmt: skip
    answers.corrections.append(row | ({"failure_code": code} if code else {}))


def _given(annotation: dict[str, Any]) -> dict[str, list[str]]:
    """Control name -> its texts or choices."""
    given: dict[str, list[str]] = {}
    for result in annotation.get("result") or []:
        value = result.get("value") if isinstance(result, dict) else None
        if not isinstance(value, dict):
            continue  # relations and other things a person may have drawn
        texts = value.get("choices") or value.get("text") or []
        given.setdefault(str(result.get("from_name")), []).extend(
            [texts] if isinstance(texts, str) else map(str, texts)
        )
    return {control: texts for control, texts in given.items() if texts}


def _work(annotation: dict[str, Any], item: Item, batch: Batch, base: str) -> dict[str, Any]:
    """Who did it and how long it took. `lead_time` (seconds with the task open) is the only time Label Studio tells."""
    person = annotation.get("completed_by")
    person = person.get("id") if isinstance(person, dict) else person
    person = person if isinstance(person, int) else sha256_of(person)[:8]  # never a name or an address
    try:
        seconds = float(annotation.get("lead_time") or 0)
        submitted = datetime.fromisoformat(str(annotation["created_at"]))
        started = submitted - timedelta(seconds=seconds)
    except (KeyError, ValueError, TypeError, OverflowError):
        raise FlywheelError("an annotation without the time it was made or took", where=f"item {item.item_id}",
                            remedy="export in the format JSON") from None  # fmt: skip
    return {"item_id": item.item_id, "base_sha256": base, "actor_ref": f"ls-{person}",
            "guideline_version": batch.manifest["guidelines"]["version"], "active_ms": int(seconds * 1000),
            "started_at": started.isoformat(), "submitted_at": submitted.isoformat()}  # fmt: skip


def _step(given: dict[str, list[str]], item: Item) -> dict[str, Any]:
    """The corrected step."""
    tool = given.get("tool", [""])[0]
    if tool == REPLY:
        text = _one(given, "reply")
        if not text:
            raise _Refused("reply", "", "a text, because a reply was chosen")
        return {"role": "assistant", "content": text}
    if tool not in item.tools:
        raise _Refused("tool", tool, f"one of {', '.join([*item.tools, REPLY])}")
    before = first_call(item.messages, item.message_index)
    arguments = _arguments(given, item) if tool == suspected_tool(item) else _other(given, tool)
    function = {"name": tool, "arguments": json.dumps(arguments, ensure_ascii=False)}
    call_id = before["id"] if before else f"call_{item.message_index}"
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": call_id, "type": "function", "function": function}],
    }


def _arguments(given: dict[str, list[str]], item: Item) -> dict[str, Any]:
    before = arguments_of(first_call(item.messages, item.message_index))
    arguments = {}
    for field in fields_of_item(item):
        text = _one(given, field.control)
        if text is None or (text == "" and before.get(field.name) != ""):
            continue  # an empty field is an argument that is not given
        try:
            arguments[field.name] = value_of(text, field.schema, before.get(field.name))
        except Unfit as unfit:
            raise _Refused(field.name, text, str(unfit)) from None
    return arguments


def _other(given: dict[str, list[str]], tool: str) -> dict[str, Any]:
    text = _one(given, "other_arguments") or ""
    try:
        value = parse(text or "{}")
    except NotStrict as error:
        raise _Refused("other_arguments", text, f"the arguments of {tool} as one JSON object ({error})") from None
    if not isinstance(value, dict):
        raise _Refused("other_arguments", text, f"the arguments of {tool} as one JSON object")
    return value


def _one(given: dict[str, list[str]], control: str) -> str | None:
    texts = given.get(control)
    if texts and len(texts) > 1:
        raise _Refused(control, " | ".join(texts), "one text")
    return texts[0] if texts else None
