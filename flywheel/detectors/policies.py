"""The pack's policies: a tool that may not be called before another."""

from collections.abc import Iterator

from flywheel.detectors.finding import Finding, Run


def forbidden_without(run: Run) -> Iterator[Finding]:
    """A call of a tool with `x-forbidden-without` before any of the tools named there was called."""
    if not run.toolbox.needs:
        return
    called: set[str] = set()
    step, before = -1, set()
    for call in run.calls:
        if call.index != step:
            step, before = call.index, set(called)
        missing = run.toolbox.needs.get(call.name, set())
        if missing and not missing & before and not call.injected:
            said = f"{call.name} was called without {' or '.join(sorted(missing))} before it"
            yield Finding(
                call.index, "policy_violation", "forbidden_without", "agent", call.name, "forbidden_without", said, True
            )
        called.add(call.name)
