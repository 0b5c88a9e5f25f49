"""Export: a week's dataset as files that other trainers read, values unchanged.

    openai.jsonl            OpenAI fine-tuning: {"messages", "tools", "parallel_tool_calls"}, the target last, earlier assistant messages
                            with weight 0 where a person did not write them (loss falls on the target alone)
    trl_sft.jsonl           TRL prompt/completion: {"prompt", "completion", "tools"}
    trl_preference.jsonl    TRL DPO: {"prompt", "chosen", "rejected", "tools"}

`tools` is a JSON string in the TRL files, as TRL takes it: Arrow would turn objects of different shapes into one with nulls.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from flywheel.chat.render import canonical_tools
from flywheel.lake import Lake
from flywheel.toolcalls.arguments import canonical_json

Row = Mapping[str, Any]


def export(lake: Lake, workflow: str, week: str, folder: Path) -> dict[str, int]:
    """Write the three files of a week's datasets, rows in row_id order; file name -> rows. Raises MissingPartition without a build."""
    sft = list(lake.read_partition("sft_dataset", workflow=workflow, week=week).sort("row_id").iter_rows(named=True))
    pairs = list(
        lake.read_partition("preference_dataset", workflow=workflow, week=week).sort("row_id").iter_rows(named=True)
    )
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "openai.jsonl": [openai_row(row) for row in sft],
        "trl_sft.jsonl": [trl_row(row) for row in sft],
        "trl_preference.jsonl": [trl_pair(row) for row in pairs],
    }
    for name, rows in files.items():
        partial = folder / f"{name}.partial"
        partial.write_text("".join(canonical_json(row) + "\n" for row in rows), encoding="utf-8")
        partial.replace(folder / name)
    return {name: len(rows) for name, rows in files.items()}


def openai_row(row: Row) -> dict[str, Any]:
    """One line of OpenAI's fine-tuning format; loss on the target only."""
    history = [
        {**message, "weight": 0} if message["role"] == "assistant" else message
        for message in json.loads(row["messages"])
    ]
    line: dict[str, Any] = {"messages": [_plain(message) for message in (*history, json.loads(row["target"]))]}
    tools = canonical_tools(json.loads(row["tools"]))
    return {**line, "tools": tools, "parallel_tool_calls": True} if tools else line


def trl_row(row: Row) -> dict[str, Any]:
    """One line of TRL's conversational prompt/completion format."""
    return {"prompt": _messages(row["messages"]), "completion": _messages(f"[{row['target']}]"), "tools": _tools(row)}


def trl_pair(row: Row) -> dict[str, Any]:
    """One line of TRL's conversational preference format."""
    sides = {side: _messages(f"[{row[side]}]") for side in ("chosen", "rejected")}
    return {"prompt": _messages(row["messages"]), **sides, "tools": _tools(row)}


def _messages(text: str) -> list[dict[str, Any]]:
    return [_plain(message) for message in json.loads(text)]


def _plain(message: dict[str, Any]) -> dict[str, Any]:
    """A message with the keys of OpenAI's format and no null among them but `content`; arguments stay the strings they are."""
    known = ("role", "content", "tool_calls", "tool_call_id", "name", "weight")
    return {key: message[key] for key in known if key in message and (message[key] is not None or key == "content")}


def _tools(row: Row) -> str:
    return canonical_json(canonical_tools(json.loads(row["tools"])))


def lines_of(rows: Iterable[Row]) -> bytes:
    """Rows as canonical JSON lines: what byte-identity is judged on."""
    return "".join(
        json.dumps(dict(row), ensure_ascii=False, sort_keys=True, default=str) + "\n" for row in rows
    ).encode()
