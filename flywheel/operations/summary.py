"""The table a week ends with: stages, success before and after, the verdict, and where to look next."""

import json

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from flywheel.chat.visible import visible
from flywheel.report.facts import WeekFacts
from flywheel.report.verdict import SHOWN_ASKS


def stage_table(facts: WeekFacts) -> Table:
    """A row a stage: rows in, rows out, seconds of its last real run."""
    table = Table(
        title=f"{facts.workflow}, week of {facts.week}"
        + (" (simulated customers and experts)" if facts.simulated else "")
    )
    table.add_column("stage")
    for name in ("rows in", "rows out", "seconds"):
        table.add_column(name, justify="right")
    for line in facts.stages:
        shown = "not run" if line.rows_out is None else f"{line.rows_out:,}"
        rows_in = "" if line.rows_in is None else f"{line.rows_in:,}"
        table.add_row(line.table, rows_in, shown, "" if line.seconds is None else f"{line.seconds:,.1f}")
    return table


def verdict_lines(facts: WeekFacts) -> RenderableType:
    """Benchmark success before and after with 95 % intervals, the verdict, what it asks for next, and its reasons."""
    decision = facts.decision
    if decision is None:
        return Text("no decision yet: learn did not run")
    lines = [Text()]
    for label, arm in (("before", "incumbent"), ("after", "candidate")):
        if decision[f"{arm}_success"] is not None:
            success, low, high = (decision[f"{arm}_{name}"] for name in ("success", "low", "high"))
            lines.append(
                Text(
                    f"benchmark {label:<7}{success:6.1%}  (95 % interval {low:.1%} to {high:.1%}, {decision['cases']} cases)"
                )
            )
    style = {"PROMOTE": "bold green", "REJECT": "bold red", "INVALID": "bold red"}.get(
        decision["verdict"], "bold yellow"
    )
    lines.append(
        Text.assemble("verdict         ", (decision["verdict"], style), f", serving {decision['served_adapter_id']}")
    )
    lines += [Text(f"  next: {visible(ask.sentence())}") for ask in facts.verdict.asks[:SHOWN_ASKS]]
    lines += [Text(f"  - {visible(reason)}") for reason in json.loads(decision["reasons"])]
    return Group(*lines)
