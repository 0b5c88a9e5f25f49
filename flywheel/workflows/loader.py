"""Load a workflow pack, with errors that name file, line and remedy."""

import json
import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from flywheel.errors import FlywheelError
from flywheel.privacy.declared import declaration_problem
from flywheel.toolcalls.arguments import sha256_of
from flywheel.toolcalls.schema_check import schema_problem
from flywheel.workflows.pack import Pack, WorkflowSettings
from flywheel.workflows.responses import load_responses

_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]{0,62}")
TOOL_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_BUILT_IN = Path(__file__).parent.parent / "demo" / "support_desk"


def known_workflows(folder: Path) -> list[str]:
    """Names of the packs under `folder`, sorted, and the shipped `support_desk`, which is always there to be tried."""
    present = [path.name for path in folder.glob("*") if (path / "workflow.yaml").is_file()] if folder.is_dir() else []
    return sorted({name for name in present if _IDENTIFIER.fullmatch(name)} | {_BUILT_IN.name})


def installed_workflows(folder: Path) -> list[str]:
    """Names of the packs that lie under `folder`, sorted: those whose weeks can be turned."""
    return [name for name in known_workflows(folder) if (folder / name / "workflow.yaml").is_file()]


def checked_name(name: str) -> str:
    """The name, or FlywheelError when it is no lower-case identifier: it becomes a folder, a partition and a predicate."""
    if not _IDENTIFIER.fullmatch(name):
        raise FlywheelError(
            f"workflow name {name!r} is no identifier",
            remedy="use lower-case letters, digits and underscores, starting with a letter, as in support_desk",
        )
    return name


def find_pack(workflows: Path, name: str) -> Pack:
    """The pack `name` under `workflows`; raises FlywheelError that lists the packs there are."""
    checked_name(name)
    if not (workflows / name / "workflow.yaml").is_file():
        here = [path.name for path in workflows.glob("*") if (path / "workflow.yaml").is_file()]
        raise FlywheelError(
            f"there is no workflow pack named {name!r}; found: {', '.join(sorted(here)) or 'none'}",
            where=str(workflows),
            remedy=f"flywheel init {name} makes one",
        )
    return load_pack(workflows / name)


def load_pack(folder: Path) -> Pack:
    """Read and check one pack folder; raises FlywheelError naming file, line and remedy for the first thing wrong."""
    name = checked_name(folder.name)
    tools = load_tools(folder / "tools.json")
    settings = _load_settings(folder / "workflow.yaml")
    if settings.traces.routes and all(route.workflow != name for route in settings.traces.routes):
        raise FlywheelError(f"no route leads to {name}: every run would go elsewhere", where=str(folder / "workflow.yaml"),
                            remedy=f"name {name} as the workflow of one of traces.routes, or remove them")  # fmt: skip
    return Pack(
        name=name,
        folder=folder,
        settings=settings,
        tools=tools,
        tools_sha256=sha256_of([tool["function"] for tool in tools]),
        system=_read(folder / "system.md", "write the system prompt there, as production sends it"),
        guidelines=_read(folder / "guidelines.md", "write there what the experts follow when they correct"),
        responses=load_responses(folder, settings.responses, tools),
    )


def _read(file: Path, remedy: str) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise FlywheelError(f"the pack has no {file.name}", where=str(file), remedy=remedy) from None
    except UnicodeDecodeError as error:
        raise FlywheelError(f"{file.name} is no UTF-8: {error}", where=str(file), remedy="save it as UTF-8") from None


def _load_settings(file: Path) -> WorkflowSettings:
    text = _read(file, "write at least `owner: <team>`; flywheel init makes a full example")
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error)
        raise FlywheelError(f"not valid YAML: {problem}", where=f"{file}{line}", remedy="mend that line") from None
    try:
        return WorkflowSettings.model_validate(values or {})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        where = f"{file}:{_line_of_key(text, str(first['loc'][-1]) if first['loc'] else '')}"
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise FlywheelError(f"{key}: {first['msg']}{more}", where=where, remedy=f"correct or remove {key}") from None


def _line_of_key(text: str, key: str) -> int:
    lines = text.splitlines()
    return next((number for number, line in enumerate(lines, 1) if line.strip().startswith(f"{key}:")), 1)


def load_tools(file: Path) -> list[dict[str, Any]]:
    """The tools of one file; raises FlywheelError naming file, line and remedy for the first thing wrong."""
    text = _read(file, "list the agent's tools there as OpenAI functions")
    try:
        tools = json.loads(text)
    except json.JSONDecodeError as error:
        raise FlywheelError(
            f"not valid JSON: {error.msg}", where=f"{file}:{error.lineno}", remedy="mend that line"
        ) from None
    if not isinstance(tools, list) or not tools:
        remedy = 'write [{"type": "function", "function": {"name": ..., "description": ..., "parameters": {...}}}]'
        raise FlywheelError("tools.json must hold a list of at least one tool", where=str(file), remedy=remedy)
    seen: set[str] = set()
    for number, tool in enumerate(tools, 1):
        _check_tool(tool, number, seen, file, text)
    return tools


def _check_tool(tool: Any, number: int, seen: set[str], file: Path, text: str) -> None:
    function = tool.get("function") if isinstance(tool, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(function, dict) or not isinstance(name, str) or not TOOL_NAME.fullmatch(name):
        remedy = "give it a function.name of letters, digits, _ . -"
        raise FlywheelError(f"tool {number} has no usable name", where=str(file), remedy=remedy)
    line = next((n for n, content in enumerate(text.splitlines(), 1) if f'"{name}"' in content), 1)
    where = f"{file}:{line}"
    if name in seen:
        raise FlywheelError(f"tool {name!r} is listed twice", where=where, remedy="rename or remove one")
    seen.add(name)
    texts = tool.get("x-error-results", [""])
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise FlywheelError(f"tool {name!r}: x-error-results is no list of texts", where=where,
                            remedy='write ["no such booking", ...]: texts of results that mean it failed')  # fmt: skip
    problem = schema_problem(function.get("parameters"))
    if problem:
        raise FlywheelError(f"tool {name!r}: {problem}", where=where, remedy="correct function.parameters")
    if never := declaration_problem(tool):
        raise FlywheelError(f"tool {name!r}: {never}", where=where, remedy="write it at a property that takes text, or at the items of a "
                            "list of texts; or take it away")  # fmt: skip
    if tool.get("x-access") not in ("read_only", "write"):
        remedy = 'add "x-access": "read_only" or "write" beside "function"'
        raise FlywheelError(f"tool {name!r} does not say whether it writes", where=where, remedy=remedy)
