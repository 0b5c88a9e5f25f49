"""Runs as an agent's log holds them, and a sample read back from it."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from flywheel.traces.sample import Sample, sample

LOOK = {"type": "object", "properties": {"order_id": {"type": "string"}}, "required": ["order_id"]}


def tool(name: str, parameters: dict[str, Any] = LOOK) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "description": "", "parameters": parameters}}


def run(
    number: int, calls: Iterable[tuple[str, Any, str]], *, system: str = "You keep a shop's orders.", **fields: Any
) -> dict:
    """A run that makes `calls` (name, arguments, result) one after the other; arguments may be text."""
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": system},
        {"role": "user", "content": f"request {number}"},
    ]
    for place, (name, arguments, result) in enumerate(calls):
        raw = arguments if isinstance(arguments, str) else json.dumps(arguments)
        call = {"id": f"c{place}", "type": "function", "function": {"name": name, "arguments": raw}}
        messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
        messages.append({"role": "tool", "tool_call_id": f"c{place}", "content": result})
    return {"id": f"run-{number}", "messages": [*messages, {"role": "assistant", "content": "Done."}], **fields}


def write(file: Path, runs: Iterable[dict]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(one) + "\n" for one in runs))
    return file


def sampled(folder: Path, runs: Iterable[dict]) -> Sample:
    return sample(write(folder / "log.jsonl", runs))
