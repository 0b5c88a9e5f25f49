"""Replay: what the base model itself says to a frozen prompt set, sampled once; it keeps training from undoing what it knew.

A pack's `replay/*.jsonl` holds one answer a line: {"messages": [...], "target": {"role": "assistant", ...}, "model": "name"}. It is
sampled outside the weekly loop, once, and kept; a pack without the folder trains without replay and says so.
"""

import json
from pathlib import Path

from flywheel.datasets.steps import Step
from flywheel.errors import FlywheelError
from flywheel.toolcalls.arguments import sha256_of

_WANTED = ("messages", "target", "model")


def read_replay(folder: Path) -> list[Step]:
    """The replay steps of a pack, in stable order; a missing folder gives none.

    Raises FlywheelError naming file and line for a line that is no answer of a model.
    """
    steps: dict[str, Step] = {}
    for file in sorted(folder.glob("*.jsonl")):
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            if line.strip():
                step = _step(line, f"{file}:{number}", file.name)
                steps[step.source_id] = step
    return [steps[key] for key in sorted(steps)]


def _step(line: str, where: str, file: str) -> Step:
    try:
        value = json.loads(line)
        missing = [key for key in _WANTED if key not in value]
    except (ValueError, TypeError) as error:
        raise FlywheelError(f"not a JSON object: {error}", where=where, remedy="mend or remove that line") from None
    if missing or value["target"].get("role") != "assistant":
        raise FlywheelError(f"a replay line lacks {', '.join(missing) or 'an assistant target'}", where=where,
                            remedy='write {"messages": [...], "target": {"role": "assistant", ...}, "model": "name"}')  # fmt: skip
    key = sha256_of([value["messages"], value["target"]])[:16]
    tools = value.get("tools") or []
    return Step("replay", key, None, f"replay-{key}", None, len(value["messages"]), tools, value["messages"], value["target"],
                f"base_model {value['model']}", "model", "none", annotator=value["model"], source_file=file)  # fmt: skip
