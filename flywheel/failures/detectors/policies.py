"""The pack's policies: a tool that may not be called before another."""

from collections.abc import Iterator

from flywheel.failures.finding import Finding, Run


def forbidden_without(run: Run) -> Iterator[Finding]:
    """A call of a tool with `x-forbidden-without` before any of the tools named there was called."""
    needs = {tool["function"]["name"]: set(tool.get("x-forbidden-without") or []) for tool in run.tools}
    called: set[str] = set()
    for index, message in enumerate(run.messages):
        names = [call["function"]["name"] for call in message.get("tool_calls") or []]
        for name in names:
            missing = needs.get(name, set())
            if missing and not missing & called:
                said = f"{name} was called without {' or '.join(sorted(missing))} before it"
                yield Finding(index, "policy_violation", "forbidden_without", "agent", name, "forbidden_without", said)
        called.update(names)
