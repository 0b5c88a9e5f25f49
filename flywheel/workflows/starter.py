"""A pack to start from: what a team has on its first day, its tools and its prompt, made into a pack that loads."""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from flywheel.errors import FlywheelError
from flywheel.workflows.guesses import FILE as GUESSES
from flywheel.workflows.guesses import Guess, write_guesses
from flywheel.workflows.loader import load_pack

_FILES = ("tools.json", "system.md", "guidelines.md", GUESSES, f"{GUESSES}.partial", "workflow.yaml")

_READING = re.compile(
    r"^(?:get|list|search|find|read|lookup|look_up|fetch|query|check|view|show|describe|count|calculate|compute|think|validate|verify|preview)(?:_|$)|^(?:\w+_)?(?:search|lookup|details|status|info)$"
)

_WORKFLOW = """\
# Only `owner` must be there; everything else has a default (see the README).
owner: team:{name}
description: ""
qa_mode: three
release: approval
max_model_len: {model_len}
# What is taken out of traces before they are stored; fields are declared in tools.json with "x-pii".
privacy:
  redact: [secret, email, iban, card, national_id, phone]
# Calls your harness makes by itself are never the model's fault: name them here.
scaffold:
  tools: []
batch:
  max_items: 72
  random_slice: 4
  minutes: 240
  minutes_per_item: 3
"""
_GUIDELINES = """\
# What the experts follow

1. Mark the first step that is wrong. What stands before it is kept.
2. Correct that step: the tool, its arguments, or the words. Invent nothing that no earlier message says.
3. A run that nobody can repair (the tool was down, the policy is silent) is marked unfixable, with the reason.
"""
_EXAMPLE_TOOL = [{
    "type": "function", "x-access": "read_only",
    "function": {"name": "get_record", "description": "Look a record up by its id.", "parameters": {
        "type": "object", "properties": {"record_id": {"type": "string"}}, "required": ["record_id"], "additionalProperties": False}},
}]  # fmt: skip


def reads_by_name(name: str) -> bool:
    """Whether a tool's name is that of one that only reads, as get_order or flight_search."""
    return _READING.search(name.lower()) is not None


def with_access(tools: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The tools, each saying whether it writes; where a tool does not say, its name decides, and a person should check it."""
    return [
        {
            **tool,
            "x-access": tool.get("x-access") or ("read_only" if reads_by_name(tool["function"]["name"]) else "write"),
        }
        for tool in tools
    ]


def make_pack(folder: Path, *, tools_file: Path | None, system_file: Path | None) -> list[dict[str, Any]]:
    """Write a pack that loads; returns its tools.

    Args:
        tools_file: the agent's tools as OpenAI functions; without it an example to replace.
        system_file: the system prompt as production sends it.

    Raises FlywheelError when the pack is there already, a file cannot be read, or the pack would not load; nothing of it stays then.
    """
    refuse_existing(folder)
    tools = with_access(read_tools(tools_file)) if tools_file else _EXAMPLE_TOOL
    write_pack(
        folder, tools=tools, system=read_text(system_file) if system_file else "You are an assistant with tools.\n"
    )
    return tools


def refuse_existing(folder: Path) -> None:
    """Raise FlywheelError when a pack is there already."""
    if (folder / "workflow.yaml").is_file():
        raise FlywheelError(
            f"workflow {folder.name} is there already", where=str(folder), remedy="edit it, or choose another name"
        )


def write_pack(
    folder: Path, *, tools: list[dict[str, Any]], system: str, guesses: Sequence[Guess] = (), more: str = "", model_len: int = 4096,
) -> None:  # fmt: skip
    """Write a pack's files and check that it loads; where it does not, or the disk is full, the folder is left as it was.

    Args:
        more: YAML that follows the settings every pack starts with.
        model_len: tokens of prompt and answer.

    Raises FlywheelError for the first thing that is wrong, such as the schema of a tool.
    """
    with _whole_or_not_at_all(folder):
        (folder / "benchmark").mkdir(parents=True, exist_ok=True)
        (folder / "tools.json").write_text(json.dumps(tools, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        (folder / "system.md").write_text(system, encoding="utf-8")
        (folder / "guidelines.md").write_text(_GUIDELINES, encoding="utf-8")
        if guesses:
            write_guesses(folder, list(guesses))
        # Last: a pack without this file is no pack yet.
        settings = _WORKFLOW.format(name=folder.name.replace("_", "-"), model_len=model_len) + more
        (folder / "workflow.yaml").write_text(settings, encoding="utf-8")
        try:
            load_pack(folder)
        except FlywheelError as error:
            if not error.where.startswith(str(folder / "tools.json")):
                raise
            # The file it names is taken away again: the person's own is the one to mend.
            raise FlywheelError(f"no pack was made: {error.what}", where="the agent's tools",
                                remedy=f"{error.remedy}, in the file you give as --tools; then run the same command again") from None  # fmt: skip


@contextmanager
def _whole_or_not_at_all(folder: Path) -> Iterator[None]:
    """Where the work in here fails, what it made is taken away, and the files it wrote over hold again what they held."""
    files = [folder / name for name in _FILES]
    before = {file: file.read_bytes() if file.is_file() else None for file in files}
    missing = [path for path in (folder / "benchmark", folder, *folder.parents) if not path.exists()]
    try:
        yield
    except BaseException:
        for file, content in before.items():
            with suppress(OSError):
                file.unlink(missing_ok=True) if content is None else file.write_bytes(content)
        for path in missing:
            with suppress(OSError):
                path.rmdir()
        raise


def read_text(file: Path) -> str:
    """A UTF-8 text file; raises FlywheelError when it cannot be read."""
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FlywheelError(
            f"the file cannot be read: {error}", where=str(file), remedy="name a UTF-8 text file"
        ) from None


def read_tools(file: Path) -> list[dict[str, Any]]:
    """The agent's tools from a file of OpenAI functions; raises FlywheelError for anything else."""
    try:
        tools = json.loads(read_text(file))
    except json.JSONDecodeError as error:
        raise FlywheelError(
            f"not valid JSON: {error.msg}", where=f"{file}:{error.lineno}", remedy="mend that line"
        ) from None
    usable = isinstance(tools, list) and all(
        isinstance(tool, dict) and isinstance(tool.get("function"), dict) and isinstance(tool["function"].get("name"), str) for tool in tools
    )  # fmt: skip
    if not usable or not tools:
        raise FlywheelError("the file is no list of OpenAI functions", where=str(file),
                            remedy='write [{"type": "function", "function": {"name": ..., "parameters": {...}}}]')  # fmt: skip
    return tools
