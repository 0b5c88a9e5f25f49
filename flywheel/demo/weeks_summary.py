"""What a run of simulated weeks came to: the table of its weeks, the new tool, what came back, the planted bad week."""

import json
from collections.abc import Sequence
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.table import Table

from flywheel.demo.delivery_slots import SLICE
from flywheel.demo.scenario import FORKS, MISLED, Scenario
from flywheel.demo.weeks import WORKFLOW, read_seconds, run_home
from flywheel.lake import Lake
from flywheel.report.curve import success_interval
from flywheel.report.figures import percent
from flywheel.report.prequential import prequential
from flywheel.report.prequential_section import pooled_sentence
from flywheel.report.trends import trends
from flywheel.report.value_section import coverage_sentence, next_hours
from flywheel.report.weeks import HEADER, render_weeks, week_lines
from flywheel.settings import Settings
from flywheel.statistics.rates import rate_ratio
from flywheel.statistics.recurrence import Recurrence

# What a terminal of 80 columns has room for: week, verdict, core success, cases, the new tool, minutes. The files have all.
_SHOWN = (0, 1, 3, 4, -2, -1)


def summarize(settings: Settings, scenario: Scenario) -> Path:
    """Print what a run came to; write it as Markdown beside the run's home, and the page of all weeks into it.

    Returns the Markdown file; what the forks ended with stands in it once they were turned.
    """
    home = run_home(settings.home, scenario.seed)
    lake = Lake(home / "lake")
    weeks = [scenario.week(number, settings.first_week) for number in range(1, scenario.weeks + 1)]
    header = [*HEADER, "new tool's cases", "minutes"]
    rows = _rows(lake, home, weeks)
    told = [*_told(lake, weeks), *_next_weeks(lake, weeks), *_forks(settings, scenario)]
    minutes = sum(read_seconds(home / "weeks.json").values()) / 60
    told.append(f"{minutes:.0f} minutes of machine time over all sittings, the planted weeks not counted.")
    table = Table(title=f"{WORKFLOW}, seed {scenario.seed} (simulated customers and experts)")
    for place in _SHOWN:
        table.add_column(header[place])
    for row in rows:
        table.add_row(*(row[place] for place in _SHOWN))
    console = Console(highlight=False)
    console.print(table)
    for sentence in told:
        console.print(sentence)
    file = home.with_suffix(".md")
    lines = [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows)]
    file.write_text("\n".join([*lines, "", *(f"- {sentence}" for sentence in told)]) + "\n", encoding="utf-8")
    page = home / "reports" / WORKFLOW / "index.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(render_weeks(lake, WORKFLOW), encoding="utf-8")
    console.print(f"kept in {file}; pictures in {page}")
    return file


def _rows(lake: Lake, home: Path, weeks: Sequence[str]) -> list[list[str]]:
    seconds = read_seconds(home / "weeks.json")
    return [
        [*line.cells, _new_tool(lake, line.week, line.cells[2]), f"{seconds[line.week] / 60:.1f}" if line.week in seconds else "–"]
        for line in week_lines(lake, WORKFLOW) if line.week <= weeks[-1]
    ]  # fmt: skip


def _new_tool(lake: Lake, week: str, adapter: str) -> str:
    """What the adapter that serves after the week solves of the new tool's cases."""
    if not lake.has_partition("eval_results", workflow=WORKFLOW, week=week):
        return "–"
    rows = lake.read_partition("eval_results", workflow=WORKFLOW, week=week)
    mine = rows.filter(pl.col("slice") == SLICE, pl.col("adapter_id") == adapter, pl.col("success").is_not_null())
    if not mine.height:
        return "–"
    found = success_interval(mine.filter(arm=mine["arm"].sort()[0]))
    return f"{percent(found.estimate, found.low, found.high)} of {found.n}"


def _told(lake: Lake, weeks: Sequence[str]) -> list[str]:
    """One sentence a week whose corrections are two weeks old: how often the corrected clusters came, then and later."""
    again = [one for one in trends(lake, WORKFLOW, weeks[-1]).recurrences if one.before[0]]
    return [_recurrence(one) for one in again] or ["Recurrence: no corrected cluster is two weeks old."]


def _next_weeks(lake: Lake, weeks: Sequence[str]) -> list[str]:
    """What the adapters did on the weeks after their own, and whether forecasts of failures came true; the page has both by week."""
    scored = prequential(lake, WORKFLOW, weeks[-1])
    known = next_hours(lake, WORKFLOW, trends(lake, WORKFLOW, weeks[-1])).value
    held = known.held if known else []
    return [
        f"Prequential score of {len(scored)} weeks, {pooled_sentence(scored)}." if scored else "Prequential score: no week is scored yet.",
        f"Failures forecast for two weeks later: {coverage_sentence(held)}.",
    ]  # fmt: skip


def _recurrence(one: Recurrence) -> str:
    ratio, low, high = rate_ratio(one.after, one.before)
    changed = "" if one.comparable else f"; not the same measure: {', '.join(one.changed)}"
    return (
        f"Recurrence of the {one.clusters} clusters corrected in {one.week}, two weeks later: {one.before[0]} of {one.before[1]} "
        f"opportunities, then {one.after[0]} of {one.after[1]}: {ratio:.0%} of the rate (95 % interval {low:.0%} to {high:.0%}){changed}."
    )


def _forks(settings: Settings, scenario: Scenario) -> list[str]:
    if scenario.bad_week > scenario.weeks:
        return []
    week = scenario.week(scenario.bad_week, settings.first_week)
    tool, taken = next(iter(MISLED.items()))
    words = {
        "careless": "about a fifth of the corrections wrong",
        "misled": f"{tool} taken for {taken} by everybody, the audit passed by force",
    }
    return [f"Week {week} again, {words[name]}: {fork_end(settings, scenario.seed, name, week)}" for name in FORKS]


def fork_end(settings: Settings, seed: int, name: str, week: str) -> str:
    """How a planted bad week ended, in one sentence."""
    home = run_home(settings.home, seed, name)
    lake, stopped = Lake(home / "lake"), home / "stopped.json"
    if lake.has_partition("promotion", workflow=WORKFLOW, week=week):
        row = lake.read_partition("promotion", workflow=WORKFLOW, week=week).row(0, named=True)
        return f"{row['verdict']}: {'; '.join(json.loads(row['reasons']))}"
    if stopped.is_file():
        return f"stopped before training: {json.loads(stopped.read_text(encoding='utf-8'))['stopped']}"
    return "not turned yet."
