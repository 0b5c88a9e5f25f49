"""Reading a file of any format into records, and telling which format they are."""

import ast
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from flywheel.errors import FlywheelError
from flywheel.toolcalls.arguments import decode

Format = Literal["bfcl", "tau", "tau2", "jsonl"]
FORMATS: tuple[Format, ...] = ("bfcl", "tau", "tau2", "jsonl")


class Record(NamedTuple):
    """One record and its place in the file, and why it cannot be read where it cannot."""

    where: str
    value: Any
    problem: str = ""


class Refused(ValueError):
    """A record that makes no case; the message says why."""


def read_records(file: Path) -> list[Record]:
    """The records of a JSON list, of JSON lines, or of a Python file of tau-bench tasks, which is parsed and never run.

    Raises FlywheelError for a file that is none of them; a line that cannot be read is a record with a problem.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise FlywheelError("there is no such file", where=str(file), remedy="check the path") from None
    except (UnicodeDecodeError, IsADirectoryError) as error:
        raise FlywheelError(
            f"it is no text file: {error}", where=str(file), remedy="give one file of UTF-8 text"
        ) from None
    if file.suffix == ".py":
        return _python_tasks(text, file)
    if text.lstrip().startswith("["):
        values = _decoded(text)
        if isinstance(values, list):
            return [Record(f"record {number}", value) for number, value in enumerate(values, 1)]
        raise FlywheelError(
            f"no valid JSON: {values}", where=str(file), remedy="give a whole JSON list, or one object a line"
        )
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    records = [_line(number, line) for number, line in lines]
    if not records or all(record.problem for record in records):
        said = records[0].problem if records else "it is empty"
        raise FlywheelError(
            f"no record can be read: {said}", where=str(file), remedy="give a JSON list, or one object a line"
        )
    return records


def _decoded(text: str) -> Any:
    """The JSON value, or an exception as a value."""
    try:
        return decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        return error


def _line(number: int, line: str) -> Record:
    value = _decoded(line.strip())
    return (
        Record(f"line {number}", None, f"no valid JSON: {value}")
        if isinstance(value, Exception)
        else Record(f"line {number}", value)
    )


def _python_tasks(text: str, file: Path) -> list[Record]:
    """tau-bench's `tasks_test.py`: every call of Task, its arguments read as literals."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError) as error:
        raise FlywheelError(
            f"it is no Python: {error}", where=str(file), remedy="give tau-bench's file of tasks"
        ) from None
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Task"]
    if not calls:
        raise FlywheelError(
            "it holds no Task(...)", where=str(file), remedy="give tau-bench's file of tasks, e.g. tasks_test.py"
        )
    records = []
    for call in sorted(calls, key=lambda node: node.lineno):
        try:
            records.append(Record(f"line {call.lineno}", _literal(call)))
        except (ValueError, TypeError, RecursionError) as error:
            records.append(Record(f"line {call.lineno}", None, f"its arguments are no literals: {error}"))
    return records


def _literal(node: ast.AST) -> Any:
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("Task", "Action") and not node.args:
        return {keyword.arg: _literal(keyword.value) for keyword in node.keywords}
    if isinstance(node, ast.List):
        return [_literal(inner) for inner in node.elts]
    return ast.literal_eval(node)


def format_of(value: Any) -> str:
    """What a record is: a format, or the name of what it is instead; empty for nothing known."""
    if not isinstance(value, dict):
        return ""
    keys = set(value)
    if {"question", "id"} <= keys:
        return "bfcl"
    if "ground_truth" in keys:
        return "a file of BFCL's possible answers"
    if {"user_scenario", "evaluation_criteria"} <= keys:
        return "tau2"
    if {"instruction", "actions"} <= keys or {"info", "traj"} <= keys:
        return "tau"
    if {"messages", "expectation"} <= keys or ("prompt" in keys and keys & {"calls", "reply"}):
        return "jsonl"
    return ""


def check_format(records: list[Record], wanted: Format, file: Path) -> None:
    """Raise FlywheelError when the file is of another format, so that its records are not refused one by one."""
    found = [format_of(record.value) for record in records if not record.problem]
    if wanted in found:
        return
    other = next((one for one in found if one), "")
    said = (
        f"this is {other}"
        if other.startswith("a file")
        else f"this is a file of format {other}"
        if other
        else "its records are of no format known here"
    )
    remedy = (f"--format {other}" if other in FORMATS else "give the file of questions; its answers are found beside it, or by --answers"
              if other else f"give one of {', '.join(FORMATS)}; docs/benchmark.md shows what each looks like")  # fmt: skip
    raise FlywheelError(f"{said}, not {wanted}", where=str(file), remedy=remedy)
