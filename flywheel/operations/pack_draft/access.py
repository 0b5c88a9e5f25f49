"""Which tools write? By their names and by their effects; in doubt a tool writes.

An effect is seen where one and the same reading call, made before and after a tool's call in one run, is answered differently.
"""

from collections import Counter

from flywheel.operations.pack_draft.evidence import Evidence
from flywheel.workflows.guesses import Guess
from flywheel.workflows.starter import reads_by_name


def draft_access(evidence: Evidence, tools: dict[str, dict]) -> tuple[dict[str, str], list[Guess]]:
    """Tool -> read_only or write, and the guesses; a tool that says so itself is left alone."""
    changed, compared = effects(evidence)
    access: dict[str, str] = {}
    guesses: list[Guess] = []
    for name, tool in tools.items():
        if tool.get("x-access") in ("read_only", "write"):
            access[name] = tool["x-access"]
            continue
        reads = reads_by_name(name)
        access[name] = "read_only" if reads and not changed[name] else "write"
        seen = (
            f"{changed[name]} of {compared[name]} reads before and after it differ"
            if compared[name]
            else "no read before and after it"
        )
        named = "its name is a reading one" if reads else "its name is no reading one"
        calls = len(evidence.by_tool.get(name, ()))
        guesses.append(Guess(f"{name}.x-access", "tools.json", (name, "x-access"), access[name], True,
                             f"{named}; {seen}; {calls} calls"))  # fmt: skip
    return access, guesses


def effects(evidence: Evidence) -> tuple[Counter[str], Counter[str]]:
    """Tool -> pairs of equal reading calls around its calls that were answered differently, and all such pairs.

    Only pairs with calls of one tool between them that may have done it are counted.
    """
    changed: Counter[str] = Counter()
    compared: Counter[str] = Counter()
    for calls in evidence.by_run.values():
        last: dict[tuple[str, str], int] = {}
        for place, call in enumerate(calls):
            if not reads_by_name(call.name) or call.result is None or call.error:
                continue
            key = (call.name, repr(sorted((call.arguments or {}).items())))
            if key in last:
                between = [
                    other for other in calls[last[key] + 1 : place] if not other.error and other.name != call.name
                ]
                suspects = {other.name for other in between if not reads_by_name(other.name)} or {
                    other.name for other in between
                }
                if len(suspects) == 1:
                    compared.update(suspects)
                    if calls[last[key]].result != call.result:
                        changed.update(suspects)
            last[key] = place
    return changed, compared
