"""Demonstrations: runs done right, read from the pack and checked like any correction."""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flywheel.errors import FlywheelError
from flywheel.toolcalls.arguments import canonical_json, sha256_of
from flywheel.toolcalls.schema_check import check_call


class _Shape(BaseModel):
    """Only what is read here; a message or a tool may say more."""

    model_config = ConfigDict(extra="ignore", strict=True)


class _Function(_Shape):
    name: str = Field(min_length=1)


class _Called(_Function):
    arguments: str | dict[str, Any]


class _Tool(_Shape):
    function: _Function


class _Call(_Shape):
    function: _Called


class _Message(_Shape):
    role: str = Field(min_length=1)
    content: str | list[dict[str, Any]] | None = None
    tool_calls: list[_Call] | None = None


class Demonstration(_Shape):
    """One line of a pack's `demonstrations/*.jsonl`; see DEMONSTRATIONS for what its fields say.

    Attributes:
        reviewer: who accepted it; blank only for what a person showed alone (`solo`) or in a lot of which a sample was looked at.
        qa_mode: that of the pack, `verifier` where a named one accepted it, `sampled` where a sample stands for it.
    """

    conversation_id: str = Field(min_length=1)
    tools: list[_Tool]
    messages: list[_Message] = Field(min_length=1)
    trains_from: int | None = Field(0, ge=0)
    annotator_kind: str = Field(min_length=1)
    annotator: str
    reviewer: str | None
    qa_mode: Literal["three", "two", "solo", "verifier", "sampled"]
    source: str | None = "person"
    teacher: dict[str, Any] | None = None
    trace_id: str | None = None
    principal_ref: str | None = None
    tenant_id: str | None = None


def read_demonstrations(folder: Path) -> list[dict[str, Any]]:
    """DEMONSTRATIONS rows without partition columns, from every `*.jsonl` of a folder; a missing folder gives none.

    Raises FlywheelError naming file, line and remedy for a line that is not an accepted, schema-valid run.
    """
    rows: dict[str, dict[str, Any]] = {}
    for file in sorted(folder.glob("*.jsonl")):
        for number, line in enumerate(file.read_text(encoding="utf-8").split("\n"), 1):
            if line.strip():
                row = demonstration_row(line, f"{file}:{number}", file.name)
                rows[row["demonstration_id"]] = row
    return [rows[key] for key in sorted(rows)]


def demonstration_row(line: str, where: str, file: str) -> dict[str, Any]:
    """The DEMONSTRATIONS row of one line of a pack's file; raises FlywheelError saying where, when it is not an accepted, schema-valid run."""
    try:
        value = json.loads(line)
        shown = Demonstration.model_validate(value)
        tools, messages, teacher = (canonical_json(value.get(name)) for name in ("tools", "messages", "teacher"))
    except ValidationError as error:
        first = error.errors()[0]
        raise FlywheelError(f"{'.'.join(map(str, first['loc'])) or 'the line'}: {first['msg']}", where=where,
                            remedy="correct that field of the demonstration, or remove the line") from None  # fmt: skip
    except (ValueError, RecursionError) as error:
        raise FlywheelError(f"not a JSON object: {error}", where=where, remedy="mend or remove that line") from None
    _refuse_unsigned(shown, where)
    for message in value["messages"][shown.trains_from :]:
        for call in message.get("tool_calls") or []:
            problems = check_call(value["tools"], call["function"]["name"], call["function"]["arguments"])
            if problems:
                raise FlywheelError(f"call of {call['function']['name']}: {problems[0].message}", where=where,
                                    remedy="a demonstration must be schema-valid: correct the call")  # fmt: skip
    return {
        **shown.model_dump(exclude={"tools", "messages", "teacher"}),
        "demonstration_id": sha256_of([value["tools"], value["messages"]])[:16],
        "tools": tools,
        "messages": messages,
        "source_file": file,
        "source": shown.source or "person",
        "trains_from": shown.trains_from or 0,
        "teacher": teacher if shown.teacher else None,
    }


def same_person(one: str, other: str) -> bool:
    """Whether two names are one person's: outer spaces and case do not make a second person."""
    return one.strip().casefold() == other.strip().casefold()


def _refuse_unsigned(shown: Demonstration, where: str) -> None:
    """Nothing trains that one person alone stands for, unless its QA mode says so, and nothing of a model's that nobody accepted."""
    annotator, reviewer = shown.annotator.strip(), (shown.reviewer or "").strip()
    alone = shown.source in (None, "person") and shown.qa_mode in ("solo", "sampled")
    if not annotator or not (reviewer or alone):
        raise FlywheelError(f"nobody is named as its {'reviewer' if annotator else 'annotator'}", where=where,
                            remedy="write who showed it, and the name of another who accepted it")  # fmt: skip
    if same_person(annotator, reviewer) and not (alone and shown.qa_mode == "solo"):
        raise FlywheelError(f"{annotator} both wrote and accepted it", where=where,
                            remedy="have another person accept it, or say qa_mode solo")  # fmt: skip
