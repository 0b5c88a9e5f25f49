"""The right-hand side of the annotation page: a draft, its form, what is wrong with it, and which commands make sense.

Between the pure `draft` and the page: reads posted fields into a draft, and tells a template what to show. No writes.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from flywheel.corrections.items import Item
from flywheel.corrections.proposal import auto_check
from flywheel.corrections.workbench import answers
from flywheel.corrections.workbench import draft as drafts
from flywheel.corrections.workbench.draft import Draft, proposal_of
from flywheel.corrections.workbench.form import MISSING, Field, Shape, draw, pointer, shape_of
from flywheel.corrections.workbench.offered import Offered
from flywheel.corrections.workbench.target import target_of
from flywheel.corrections.workbench.timeline import ShownStep, shown_steps
from flywheel.toolcalls.schema_check import tool_names


class Problems(NamedTuple):
    """What keeps a draft from being submitted.

    Attributes:
        all: sentences; empty when it may be submitted.
        by_field: JSON pointer -> sentence, for the call that is shown.
    """

    all: list[str]
    by_field: dict[str, str]


class Editor(NamedTuple):
    """What the template shows.

    Attributes:
        at: which state of which step the form was drawn from; posted back, so that fields of an older drawing are not read.
        fields: of the shown call or structured answer; None shows JSON, or words.
        response: name of the schema that the shown answer must have; empty where words are free, or the step calls.
        begins: whether such an answer is no JSON object yet, so that an empty form may be begun.
        tail: the corrected step and what follows.
        focus: name of the field to go to.
    """

    draft: Draft
    at: str
    tool: str
    fields: tuple[Field, ...] | None
    drawable: bool
    response: str
    begins: bool
    raw: str
    content: str
    tail: list[ShownStep]
    problems: Problems
    tools: list[dict[str, Any]]
    focus: str


def editor_of(item: Item, draft: Draft, *, focus: bool = False) -> Editor:
    """The editor of a draft."""
    shown = target_of(item, draft)
    before = [*item.messages[: draft.marked or 0], *draft.tail[: draft.open]]
    fields = None
    if shown.held is not None:
        fields = draw(shown.schema, shown.held, unread=draft.unread, offers=Offered(before))
    problems = problems_of(item, draft)
    content = str((draft.step or {}).get("content") or "")
    tail = shown_steps([*item.messages[: draft.marked or 0], *draft.tail], item.tools, first=draft.marked or 0, origins=draft.origins)  # fmt: skip
    wanted = _focus(draft, fields, problems) if focus else ""
    raw, name = (shown.text, shown.name) if draft.calls else ("", "")
    begins = bool(shown.response) and shown.held is None and draw(shown.schema, {}) is not None
    return Editor(draft, drawn_at(draft), name, None if draft.raw else fields, fields is not None, shown.response, begins, raw, content,
                  tail if draft.tail else [], problems, item.tools, wanted)  # fmt: skip


def drawn_at(draft: Draft) -> str:
    """Which step, call and tool a form is for."""
    calls = draft.calls
    name = calls[draft.call]["function"]["name"] if calls else ""
    return f"{draft.marked}.{draft.open}.{draft.call}.{name}.{'raw' if draft.raw else 'form'}"


def problems_of(item: Item, draft: Draft) -> Problems:
    """Everything that is wrong with a draft, by the validator of triage and the automatic check."""
    if draft.unfixable:
        return Problems([], {})
    proposal = proposal_of(draft, item.messages)
    if proposal is None:
        return Problems(["mark the first wrong step, or say why nothing can be corrected"], {})
    by_field = {name: "this is no JSON yet" for name in draft.unread or {}}
    for error in target_of(item, draft).errors(item):
        path = tuple(error.path.split("/")) if error.path else ()
        if error.kind in ("missing_required", "unexpected_argument"):
            path = (*path, _quoted(error.message))
        by_field.setdefault(pointer(path), error.message)
    said = [f"{name}: {text}" for name, text in by_field.items() if name in (draft.unread or {})]
    return Problems([*said, *auto_check(proposal, item.messages, item.tools, item.responses)], by_field)


def read_fields(item: Item, draft: Draft, form: Mapping[str, str]) -> Draft:
    """The draft with what was typed; the same when the form was drawn from another state of it."""
    if draft.step is None or form.get("at") != drawn_at(draft):
        return draft
    changed = draft
    if "content" in form:
        changed = drafts.typed(changed, drafts.set_content(changed, form["content"].replace("\r\n", "\n")))
    if "raw" in form and (draft.raw or not _drawable(item, draft)):
        text = form["raw"].replace("\r\n", "\n")
        return drafts.typed(changed, drafts.set_raw(changed, text)) if not form.get("kept") else changed
    shown = target_of(item, changed)
    if not any(name.startswith("s:") for name in form) or shown.held is None:
        return changed
    found = answers.read(shown.schema, form, shown.held)
    put = drafts.set_arguments if draft.calls else drafts.set_fields
    return drafts.typed(changed, put(changed, found.arguments, found.unread))


def changed_array(item: Item, draft: Draft, name: str, *, add: bool) -> Draft:
    """One element more or less in the array (or element) with that JSON pointer; the draft as it is where nothing of that name is.

    A key pressed twice, or a page older than a change of tool, names what is gone.
    """
    shown = target_of(item, draft)
    held, steps = shown.held, [step.replace("~1", "/").replace("~0", "~") for step in name.split("/")[1:]]
    if held is None or not steps or not (_grown(shown.schema, held, steps) if add else _left_out(held, steps)):
        return draft
    return (drafts.set_arguments if draft.calls else drafts.set_fields)(draft, held)


def begin_fields(item: Item, draft: Draft) -> Draft:
    """An empty form for an answer that must be structured and is words so far; undo brings the words back."""
    shown = target_of(item, draft)
    return drafts.set_fields(drafts.show_raw(draft, False), {}) if shown.response and shown.held is None else draft


def field_id(name: str) -> str:
    """An element id for a JSON pointer."""
    return "f" + hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:12]


def other_tool(item: Item) -> str:
    """The tool a new call starts with."""
    names = tool_names(item.tools)
    return names[0] if names else ""


def _grown(root: dict[str, Any], held: dict[str, Any], steps: list[str]) -> bool:
    """Append to the array at the path, begun where it was not given yet; False where the schema knows no array there."""
    shape, value = shape_of(root, root), held
    for step in steps:
        inner = shape.schema.get("items") if shape.widget == "array" else (shape.schema.get("properties") or {}).get(step)  # fmt: skip
        shape = shape_of(inner, root)
        if isinstance(value, dict):
            value.setdefault(step, [] if shape.widget == "array" else {})
        value = _inside(value, step)
    if shape.widget != "array" or not isinstance(value, list):
        return False
    value.append(_blank(shape_of(shape.schema.get("items"), root)))
    return True


def _left_out(held: dict[str, Any], steps: list[str]) -> bool:
    """Delete what is at the path; False where there is nothing."""
    parent: Any = held
    for step in steps[:-1]:
        parent = _inside(parent, step)
    if _inside(parent, steps[-1]) is MISSING:
        return False
    del parent[int(steps[-1]) if isinstance(parent, list) else steps[-1]]
    return True


def _inside(value: Any, step: str) -> Any:
    """The element or the property of that name, MISSING where there is none."""
    if isinstance(value, list):
        return value[int(step)] if step in map(str, range(len(value))) else MISSING
    return value.get(step, MISSING) if isinstance(value, dict) else MISSING


def _blank(shape: Shape) -> Any:
    """What a new element holds before anybody typed: the emptiest value of its kind."""
    if shape.options:
        return shape.options[0]
    return {"object": {}, "array": [], "number": 0, "json": None}.get(shape.widget, "")


def _drawable(item: Item, draft: Draft) -> bool:
    shown = target_of(item, draft)
    return shown.held is not None and draw(shown.schema, shown.held) is not None


def _focus(draft: Draft, fields: tuple[Field, ...] | None, problems: Problems) -> str:
    if not draft.calls and fields is None:
        return "content"
    for field in _flat(fields or ()):
        if field.name in problems.by_field and field.widget != "object":
            return f"v:{field.name}"
    first = next((field for field in _flat(fields or ()) if field.widget not in ("object", "array")), None)
    return f"v:{first.name}" if first else "raw" if fields is None else ""


def _flat(fields: tuple[Field, ...]) -> list[Field]:
    return [one for field in fields for one in (field, *_flat(field.children))]


def _quoted(message: str) -> str:
    """The key a message names: '"reason" is a required property'."""
    for mark in ('"', "'"):
        parts = message.split(mark)
        if len(parts) > 2:
            return parts[1]
    return ""
