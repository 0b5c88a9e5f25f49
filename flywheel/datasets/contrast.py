"""Contrast drafts: for two tools that the model confuses, a demonstration of each, written to show where one ends and the other begins.

They are made from `tools.json` alone; nothing of the benchmark stands in them, so that whatever trains on them leaks nothing. A
person writes the customer's words, corrects the call and signs; `flywheel demonstration take` moves them into the pack.

A draft is a YAML file under `demonstrations/drafts`, read like a drafted case: as JSON with comments.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from flywheel.benchmark.drafts import EDIT, read_values
from flywheel.datasets.demonstrations import demonstration_row, read_demonstrations
from flywheel.errors import FlywheelError
from flywheel.toolcalls.arguments import canonical_json, sha256_of
from flywheel.toolcalls.example import example_call
from flywheel.workflows.pack import Pack

FOLDER, FILE = Path("demonstrations") / "drafts", "contrast.jsonl"
_KEYS = {"ready", "annotator", "reviewer", "user", "calls", "reply"}
_HEAD = """\
# A drafted demonstration: {about}
# Write what a customer would say (no case of the benchmark: the build keeps such rows out), correct the call, sign with two names,
# set ready to true, then: flywheel demonstration take {workflow}
"""


class Contrast(NamedTuple):
    """One drafted demonstration: its name, what it is for, the customer's words to write, and the call or the reply that is right."""

    name: str
    about: str
    user: str
    calls: list[dict[str, Any]]
    reply: str | None


def contrasts(tools: Sequence[dict[str, Any]], expected: str, called: str, count: int) -> list[Contrast]:
    """Two drafts for a confused pair: a request for each side at which the other would be wrong.

    A name that is no tool (no call) stands for answering in words.
    """
    known = {tool["function"]["name"]: tool for tool in tools}
    about = f"{expected} was right and {called} was done instead, {count} times"
    return [_contrast(known, one, other, about) for one, other in ((expected, called), (called, expected))]


def write_contrasts(pack: Pack, drafts: Sequence[Contrast]) -> list[Path]:
    """Write the drafts that are not there yet; one that is there is a person's, and is left as it is."""
    folder = pack.folder / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for draft in drafts:
        file = folder / f"{draft.name}.yaml"
        if file.exists():
            continue
        fields = {"annotator": f"{EDIT} your name", "reviewer": f"{EDIT} who accepted it", "user": draft.user}
        lines = [_HEAD.format(about=draft.about, workflow=pack.name), "ready: false\n"]
        lines += [f"{name}: {json.dumps(value, ensure_ascii=False)}\n" for name, value in fields.items()]
        lines.append(f"calls: {json.dumps(draft.calls, ensure_ascii=False)}\n")
        lines.append(f"reply: {json.dumps(draft.reply, ensure_ascii=False)}\n")
        file.write_text("".join(lines), encoding="utf-8")
        written.append(file)
    return written


def take_ready(pack: Pack) -> tuple[list[str], list[str]]:
    """Move the drafts that are ready into `demonstrations/contrast.jsonl`, all or none; the names moved, and those that wait.

    Raises FlywheelError when one still holds an EDIT mark, is not signed by two people, or makes a call its tool does not accept.
    """
    files = sorted((pack.folder / FOLDER).glob("*.yaml"))
    drafts = [(file, _read(file)) for file in files]
    ready = [(file, values) for file, values in drafts if values["ready"]]
    waiting = [file.stem for file, values in drafts if not values["ready"]]
    if not ready:
        return [], waiting
    target = pack.folder / "demonstrations" / FILE
    before = target.read_text(encoding="utf-8") if target.is_file() else ""
    lines = [canonical_json(_row(file, values, pack)) for file, values in ready]
    for (file, _), line in zip(ready, lines, strict=True):
        demonstration_row(line, str(file), FILE)
    whole = before + ("" if before.endswith("\n") or not before else "\n") + "".join(f"{line}\n" for line in lines)
    try:
        target.write_text(whole, encoding="utf-8")
        read_demonstrations(target.parent)
    except BaseException:  # whatever it was: the drafts are still there, so the file must be what it was
        target.write_text(before, encoding="utf-8") if before else target.unlink(missing_ok=True)
        raise
    for file, _ in ready:
        file.unlink()
    return [file.stem for file, _ in ready], waiting


def _contrast(tools: dict[str, dict[str, Any]], right: str, tempting: str, about: str) -> Contrast:
    name = re.sub(r"[^a-z0-9_.-]+", "-", f"{right}-not-{tempting}".lower())
    arguments = example_call(tools[right]) if right in tools else None
    calls = [{"name": right, "arguments": arguments or {}}] if right in tools else []
    values = ", ".join(f"{key} {json.dumps(value, ensure_ascii=False)}" for key, value in (arguments or {}).items())
    wanted = f"who wants this: {_says(tools, right)}" + (f" ({values})" if values else "")
    user = f"{EDIT} in the words of a customer {wanted}; it must be clear that this would be wrong: {_says(tools, tempting)}"
    return Contrast(name, about, user, calls, None if calls else f"{EDIT} the answer in words")


def _says(tools: dict[str, dict[str, Any]], name: str) -> str:
    """What a tool is for, by its description; for none, that it is not to be called."""
    if name not in tools:
        return "an answer in words, nothing is called"
    return (tools[name]["function"].get("description") or "").strip().rstrip(".") or name


def _read(file: Path) -> dict[str, Any]:
    values = read_values(file)
    if not isinstance(values, dict) or set(values) != _KEYS or not isinstance(values["ready"], bool):
        raise FlywheelError(f"a draft has the keys {', '.join(sorted(_KEYS))}", where=str(file),
                            remedy="restore them; or delete the draft and write it anew: flywheel cover --draft")  # fmt: skip
    return values


def _row(file: Path, values: dict[str, Any], pack: Pack) -> dict[str, Any]:
    if EDIT in json.dumps(values, ensure_ascii=False):
        raise FlywheelError("the draft is called ready and still holds an EDIT: mark", where=str(file),
                            remedy="write what stands there, or set ready to false")  # fmt: skip
    calls = values["calls"] if isinstance(values["calls"], list) else []
    if not isinstance(values["user"], str) or bool(calls) == isinstance(values["reply"], str):
        raise FlywheelError("a draft has the customer's words, and either calls or a reply", where=str(file),
                            remedy="set the other one to [] or null")  # fmt: skip
    try:
        made = [
            {"id": f"call_{n}", "type": "function",
             "function": {"name": str(call["name"]), "arguments": canonical_json(call["arguments"])}}
            for n, call in enumerate(calls)
        ]  # fmt: skip
    except (KeyError, TypeError):
        raise FlywheelError("a call has a name and arguments", where=str(file), remedy="correct it") from None
    step = {"role": "assistant", "content": values["reply"], **({"tool_calls": made} if made else {})}
    messages = [{"role": "system", "content": pack.system}, {"role": "user", "content": values["user"]}, step]
    return {
        "conversation_id": f"contrast-{sha256_of(messages)[:16]}", "tools": pack.tools, "messages": messages, "annotator_kind": "human",
        "annotator": values["annotator"], "reviewer": values["reviewer"], "qa_mode": "two", "source": "person",
    }  # fmt: skip
