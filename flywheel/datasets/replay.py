"""Replay: what the base model itself says to a frozen prompt set, sampled once; it keeps training from undoing what it knew.

A set belongs to a base, not to a workflow: `home/replay/<base>-<hash>/` holds `answers.jsonl` and, written last, `manifest.json` with the
hashes of base, template and prompts and the sampling. What goes here: naming, finding and reading a set. What does not: sampling it
(`replay_sampling.py`).
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

from flywheel.datasets.steps import Message, Step
from flywheel.errors import FlywheelError
from flywheel.toolcalls.arguments import sha256_of
from flywheel.workflows.pack import Pack

GENERAL_PROMPTS = Path(__file__).parent / "general_prompts_1.jsonl"
ANSWERS, MANIFEST = "answers.jsonl", "manifest.json"


class Prompts(NamedTuple):
    """A frozen prompt set: its file's name, the hash of its prompts, and the prompts in order."""

    name: str
    sha256: str
    prompts: list[list[Message]]


class ReplaySet(NamedTuple):
    """A sampled set: where it lies and what its manifest says of it."""

    folder: Path
    manifest: dict[str, Any]


def prompts_of(pack: Pack) -> Prompts:
    """The pack's own prompts (`datasets.replay_prompts`), else the general ones; raises FlywheelError naming the line that is wrong."""
    own = pack.settings.datasets.replay_prompts
    file = pack.folder / own if own else GENERAL_PROMPTS
    if not file.is_file():
        raise FlywheelError("the replay prompts are missing", where=str(file),
                            remedy="write that file, or remove datasets.replay_prompts: the general prompts are used then")  # fmt: skip
    prompts: list[list[Message]] = []
    for number, line in enumerate(file.read_text(encoding="utf-8").split("\n"), 1):
        if line.strip():
            try:
                messages = json.loads(line)["messages"]
                last = messages[-1]["role"]
            except (ValueError, KeyError, TypeError, IndexError):
                last, messages = "", []
            if last != "user":
                raise FlywheelError("a replay prompt is no list of messages that ends on a user's", where=f"{file}:{number}",
                                    remedy='write {"messages": [{"role": "user", "content": "..."}]}')  # fmt: skip
            prompts.append(messages)
    return Prompts(file.name, sha256_of(prompts), prompts)


def find_replay(folder: Path, base_sha256: str, template_sha256: str, prompts: Prompts) -> ReplaySet | None:
    """The newest set that this base gave to these prompts under this template; None where none was sampled."""
    wanted = {"base_sha256": base_sha256, "template_sha256": template_sha256, "prompts_sha256": prompts.sha256}
    found = []
    for file in sorted(folder.glob(f"*/{MANIFEST}")):
        manifest = json.loads(file.read_text(encoding="utf-8"))
        if all(manifest.get(name) == value for name, value in wanted.items()):
            found.append(ReplaySet(file.parent, manifest))
    return max(found, key=lambda one: one.manifest["sampled_at"], default=None)


def read_replay(found: ReplaySet | None) -> list[Step]:
    """The steps of a set, in stable order; no set gives none. Raises FlywheelError when the answers are not those that were sampled."""
    if found is None:
        return []
    file = found.folder / ANSWERS
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    rows = [json.loads(line) for line in text.split("\n") if line]
    if sha256_of(rows) != found.manifest["answers_sha256"]:
        raise FlywheelError("the replay set was changed after it was sampled", where=str(file),
                            remedy="remove its folder and sample it again: flywheel dataset replay")  # fmt: skip
    steps = {step.source_id: step for step in (_step(row, found) for row in rows)}
    return [steps[key] for key in sorted(steps)]


def _step(row: dict[str, Any], found: ReplaySet) -> Step:
    key = sha256_of([row["messages"], row["target"]])[:16]
    base = found.manifest["base"]
    return Step("replay", key, None, f"replay-{key}", None, len(row["messages"]), [], row["messages"], row["target"],
                f"base_model {base}", "model", "none", annotator=base, source_file=found.folder.name)  # fmt: skip
