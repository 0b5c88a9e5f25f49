"""The response schemas of a pack: `responses/NAME.json`, and in `workflow.yaml` which answers must have which."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from flywheel.errors import FlywheelError
from flywheel.toolcalls.schema_check import schema_problem, tool_names
from flywheel.toolcalls.structured_answers import ResponseSchema

FOLDER = "responses"


class Response(BaseModel):
    """One entry of `responses`: the file's name without .json, and after which tools an answer must have its schema.

    Asked of every answer without a call; the first entry that applies decides. `after_tools`: one of these was called since the user's
    last turn; without it the entry applies always.
    """

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")
    after_tools: list[str] = []


def load_responses(
    folder: Path, declared: Sequence[Response], tools: list[dict[str, Any]]
) -> tuple[ResponseSchema, ...]:
    """The pack's response schemas in the order of `workflow.yaml`; raises FlywheelError naming the file and the remedy.

    Refused: a name declared twice, an entry that an earlier one without condition hides, a tool that is not there, a schema that is no
    object's, and a file that `workflow.yaml` does not name, because it would silently judge nothing.
    """
    settings, known = str(folder / "workflow.yaml"), set(tool_names(tools))
    found: list[ResponseSchema] = []
    for one in declared:
        if any(one.name == other.name for other in found):
            raise FlywheelError(
                f"responses: {one.name} is listed twice", where=settings, remedy="remove one of the two"
            )
        if hidden_by := next((other.name for other in found if not other.after_tools), None):
            raise FlywheelError(f"responses: {one.name} never applies, since {hidden_by} before it always does", where=settings,
                                remedy=f"give {hidden_by} its after_tools, or list it last")  # fmt: skip
        if missing := [name for name in one.after_tools if name not in known]:
            raise FlywheelError(f"responses: {one.name} is to follow {missing[0]!r}, which is no tool", where=settings,
                                remedy=f"name tools of tools.json: {', '.join(sorted(known))}")  # fmt: skip
        found.append(ResponseSchema(one.name, _schema(folder / FOLDER / f"{one.name}.json"), tuple(one.after_tools)))
    stray = sorted({file.stem for file in (folder / FOLDER).glob("*.json")} - {one.name for one in found})
    if stray:
        raise FlywheelError(f"workflow.yaml does not say when {stray[0]} applies", where=str(folder / FOLDER / f"{stray[0]}.json"),
                            remedy=f'add "responses: [{{name: {stray[0]}}}]" to workflow.yaml, or remove the file')  # fmt: skip
    return tuple(found)


def _schema(file: Path) -> dict[str, Any]:
    try:
        schema = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FlywheelError(f"the pack has no {FOLDER}/{file.name}", where=str(file),
                            remedy="write the JSON Schema of the answer there, or remove its entry from workflow.yaml") from None  # fmt: skip
    except UnicodeDecodeError as error:
        raise FlywheelError(f"{file.name} is no UTF-8: {error}", where=str(file), remedy="save it as UTF-8") from None
    except json.JSONDecodeError as error:
        raise FlywheelError(f"not valid JSON: {error.msg}", where=f"{file}:{error.lineno}", remedy="mend that line") from None  # fmt: skip
    if problem := schema_problem(schema):
        said = problem.replace("parameters must be", "a response schema must be")
        raise FlywheelError(f"response {file.stem}: {said}", where=str(file), remedy="correct the schema")
    return schema
