"""The protocol of a pack's `environment.py`: a simulator of the tools, seeded and self-contained."""

import importlib.util
from pathlib import Path
from typing import Any, Protocol

from flywheel.errors import FlywheelError
from flywheel.toolcalls.arguments import canonical_json, parse_arguments


class Environment(Protocol):
    """One world an agent acts in: a database and the tools that read and write it."""

    def call(self, name: str, arguments: dict[str, Any]) -> str:
        """Run one tool; the tool message's content (canonical JSON). Mistakes of a model come back as {"error": code}.

        What it raises instead reaches the agent as the error TOOL_FAILED: no arguments that a model thinks of end a run.
        """
        ...

    def state(self) -> dict[str, Any]:
        """The database as JSON values: what end states are compared on."""
        ...


class EnvironmentModule(Protocol):
    """What `environment.py` defines."""

    def make_environment(self, seed: int, overrides: dict[str, Any] | None = None) -> Environment:
        """A fresh world; the same seed and overrides give the same world."""
        ...


def run_calls(environment: Environment, message: dict[str, Any]) -> list[dict[str, Any]]:
    """The tool messages that answer an assistant message's calls; unparsable arguments and a tool that raises come back as tool errors."""
    answers: list[dict[str, Any]] = []
    for call in message.get("tool_calls") or []:
        arguments, problem = parse_arguments(call["function"]["arguments"])
        if arguments is None:
            content = canonical_json({"error": "INVALID_ARGUMENTS", "message": problem})
        else:
            content = _called(environment, call["function"]["name"], arguments)
        answers.append({"role": "tool", "tool_call_id": call["id"], "content": content})
    return answers


def _called(environment: Environment, name: str, arguments: dict[str, Any]) -> str:
    """What a simulator raises is what a server's 500 would be: the agent sees it, the transcript keeps it, the other cases go on."""
    try:
        return environment.call(name, arguments)
    except Exception as error:
        return canonical_json({"error": "TOOL_FAILED", "message": f"{type(error).__name__}: {error}"})


def load_environment(file: Path) -> EnvironmentModule:
    """Import a pack's `environment.py` by path; raises FlywheelError when it cannot be used."""
    if not file.is_file():
        remedy = "write it with make_environment(seed, overrides), or use no episode cases"
        raise FlywheelError("the pack has no environment.py", where=str(file), remedy=remedy)
    specification = importlib.util.spec_from_file_location(f"flywheel_environment_{file.parent.name}", file)
    if specification is None or specification.loader is None:
        raise FlywheelError("environment.py cannot be imported", where=str(file), remedy="check that it is Python code")
    module = importlib.util.module_from_spec(specification)
    try:
        specification.loader.exec_module(module)
    except Exception as error:
        what = f"environment.py fails on import: {type(error).__name__}: {error}"
        raise FlywheelError(what, where=str(file), remedy=f"run python {file} and mend it") from error
    if not callable(getattr(module, "make_environment", None)):
        remedy = "define make_environment(seed: int, overrides: dict | None = None)"
        raise FlywheelError("environment.py defines no make_environment", where=str(file), remedy=remedy)
    return module  # pyright: ignore[reportReturnType]
