"""The commands of the annotation page: each turns a draft into the next one, or says by number why it cannot.

What goes here: the table of commands and what they need beyond the draft (the run's tools, the environment, the model).
What does not: what a draft is (`draft`), or the request around a command (`annotate`).
"""

from collections.abc import Callable

from flywheel.corrections.items import Item
from flywheel.corrections.states import UNFIXABLE
from flywheel.corrections.workbench import draft as drafts
from flywheel.corrections.workbench.again import observe_again
from flywheel.corrections.workbench.call import Call
from flywheel.corrections.workbench.draft import Draft
from flywheel.corrections.workbench.editor import begin_fields, changed_array, other_tool, problems_of
from flywheel.corrections.workbench.rules import Refusal
from flywheel.corrections.workbench.target import tool_of

REFUSAL = "I cannot help with that."
# Commands after which the page puts the person into a field: they have to type or pick now.
INTO_A_FIELD = ("tool", "answer", "add-call", "next", "add-item", "form")

Operation = Callable[[Call, Item, Draft, str], Draft]


def _step(call: Call, item: Item, value: str) -> int:
    step = int(value) if value.isdecimal() else call.number("step")
    if not 0 <= step < len(item.messages) or item.messages[step]["role"] != "assistant":
        raise Refusal("W19", f"message {step} is no step of the agent")
    return step


def _change_tool(call: Call, item: Item, draft: Draft, value: str) -> Draft:
    del call
    tool = tool_of(item, value)
    if tool is None:
        raise Refusal("W05", f"the run was offered no tool {value[:80]!r}")
    return drafts.change_tool(draft, value, tool["function"].get("parameters") or {}) if draft.step else draft


def _refuse(call: Call, item: Item, draft: Draft, value: str) -> Draft:
    del item, value
    return drafts.answer(draft, call.desk.last_refusal.get(call.name, REFUSAL))


def _again(call: Call, item: Item, draft: Draft, value: str) -> Draft:
    del value
    if draft.step is None or draft.marked is None:
        raise Refusal("W13", "mark the first wrong step before")
    problems = problems_of(item, draft).all
    if draft.calls and problems:
        raise Refusal("W05", problems[0])
    before = [*item.messages[: draft.marked], *draft.tail[: draft.open]]
    found = observe_again(call.desk.pack, item.tools, item.messages, before, draft.step)
    return drafts.observe(draft, found.results, found.origin)


def _roll(call: Call, item: Item, draft: Draft, value: str) -> Draft:
    del value
    if call.bench.model is None:
        raise Refusal("W14", "no --model-url was given")
    if not draft.tail or draft.tail[-1]["role"] != "tool":
        raise Refusal("W14", "run the tool first: the model goes on from a result")
    messages = [*item.messages[: draft.marked], *draft.tail]
    return drafts.go_on(draft, call.bench.model.next_step(messages, item.tools), "model")


def _unfixable(call: Call, item: Item, draft: Draft, value: str) -> Draft:
    del item
    if value not in UNFIXABLE:
        raise Refusal("W12", "choose one of the reasons")
    return drafts.set_unfixable(draft, value, call.form.get("note", "")[:500])


def _choose(call: Call, item: Item, draft: Draft, value: str) -> Draft:
    del call, item
    numbers = [int(part) for part in value.split(".") if part.isdecimal()]
    return drafts.choose(draft, *numbers[:2]) if numbers else draft


OPERATIONS: dict[str, Operation] = {
    "accept": lambda call, item, draft, value: drafts.accept(draft, _step(call, item, value)),
    "mark": lambda call, item, draft, value: drafts.mark(draft, item.messages, _step(call, item, value)),
    "tool": _change_tool,
    "answer": lambda call, item, draft, value: drafts.answer(draft),
    "refusal": _refuse,
    "raw": lambda call, item, draft, value: drafts.show_raw(draft, not draft.raw),
    "form": lambda call, item, draft, value: begin_fields(item, draft),
    "again": _again,
    "roll": _roll,
    "next": lambda call, item, draft, value: drafts.go_on(draft, {"role": "assistant", "content": ""}, "written") if draft.tail else draft,
    "cut": lambda call, item, draft, value: drafts.cut(draft),
    "choose": _choose,
    "add-call": lambda call, item, draft, value: drafts.add_call(draft, other_tool(item)),
    "remove-call": lambda call, item, draft, value: drafts.remove_call(draft),
    "add-item": lambda call, item, draft, value: changed_array(item, draft, value, add=True),
    "remove-item": lambda call, item, draft, value: changed_array(item, draft, value, add=False),
    "unfixable": _unfixable,
    "undo": lambda call, item, draft, value: drafts.undo(draft),
}  # fmt: skip
