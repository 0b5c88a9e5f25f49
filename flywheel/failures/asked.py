"""What the newest verdict asked for (table `next_asks`), and which of production's failures are of that kind.

Only bucket and tool come from the benchmark; what people get is production's own.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from flywheel.lake import Lake


class Asked(NamedTuple):
    """A kind of failure, and how many corrections of it are wanted; `tools` holds the tool that was right and those called instead."""

    bucket: str
    tool: str
    tools: frozenset[str]
    wanted: int

    def sentence(self) -> str:
        """Why an item was picked, in words."""
        return f"asked for by the last verdict: {self.bucket.replace('_', ' ')} with {self.tool}"


def asked(lake: Lake, workflow: str, until: str) -> list[Asked]:
    """The asks of the newest week up to `until` that had any, most wanted first."""
    rows = lake.read_weeks("next_asks", workflow=workflow, until=until)
    newest = rows.filter(week=max(rows["week"], default="")).sort("items_wanted", "bucket", "tool", descending=[True, False, False])  # fmt: skip
    return [
        Asked(row["bucket"], row["tool"], frozenset({row["tool"], *json.loads(row["confused_with"])}), row["items_wanted"])
        for row in newest.iter_rows(named=True)
        if row["items_wanted"]
    ]  # fmt: skip


def asked_for(
    failures: Sequence[Mapping[str, Any]], asks: Sequence[Asked], groups: Mapping[str, str], handed_out: Collection[str]
) -> dict[str, Asked]:
    """failure_id -> the ask it serves, for as many failures as each ask wants, in the order given.

    A near-duplicate group counts once an ask. Where production names no tool (nothing was called), the bucket alone decides.
    """
    left = {ask: ask.wanted for ask in asks}
    seen: set[tuple[Asked, str]] = set()
    found: dict[str, Asked] = {}
    for failure in failures:
        if failure["trace_id"] in handed_out:
            continue
        group = groups[failure["trace_id"]]
        for ask in asks:
            fits = failure["bucket"] == ask.bucket and (failure["tool"] is None or failure["tool"] in ask.tools)
            if fits and left[ask] and (ask, group) not in seen:
                left[ask] -= 1
                seen.add((ask, group))
                found[failure["failure_id"]] = ask
                break
    return found
