"""All weeks of a workflow on one page: a row a week, the learning curve, and the plots beside it. No text of any trace."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import polars as pl

from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel.report.curve import ALL, curves_by_category
from flywheel.report.curve_figures import category_figure, curve_figure
from flywheel.report.document import document
from flywheel.report.figures import number, percent
from flywheel.report.prequential import prequential
from flywheel.report.prequential_section import prequential_figure
from flywheel.report.text import escaped
from flywheel.report.trend_figures import trend_figures
from flywheel.report.trends import Trends, trends
from flywheel.report.value_section import forecast_figure, next_hours, next_hours_section
from flywheel.statistics.rates import rate_ratio
from flywheel.statistics.recurrence import Recurrence

HEADER = ["week", "verdict", "serves after it", "core success (95 % interval)", "n", "corrections", "expert hours", "cost", "machine min", "recurrence", "changed"]  # fmt: skip


class WeekLine(NamedTuple):
    """One week as the table shows it; texts, ready to be printed or escaped."""

    week: str
    cells: list[str]
    has_page: bool


def week_lines(lake: Lake, workflow: str) -> list[WeekLine]:
    """The table of all weeks, oldest first; raises FlywheelError where the workflow has none."""
    curves, all_trends = curves_by_category(lake, workflow), trends(lake, workflow)
    return _lines(lake, workflow, curves.get(ALL), all_trends)


def render_weeks(lake: Lake, workflow: str) -> str:
    """The page as HTML; weeks that have a page of their own are links to it, in the same folder."""
    curves, all_trends = curves_by_category(lake, workflow), trends(lake, workflow)
    curve = curves.get(ALL)
    lines, hours = _lines(lake, workflow, curve, all_trends), next_hours(lake, workflow, all_trends)
    promoted = sum(line.cells[1] == "PROMOTE" for line in lines)
    decided = sum(line.cells[1] not in ("–", "") for line in lines)
    body = [
        f"<h1>{escaped(workflow)}, {_weeks(len(all_trends.weeks))}</h1>",
        f'<p class="lead">{escaped(f"{all_trends.weeks[0]} to {all_trends.weeks[-1]}; {decided} weeks decided, {promoted} promoted.")}</p>',
        _table(lines),
        f"<p class=\"lead\">{escaped(_NOTE)}</p>",
        "<h2>Week over week</h2>",
        curve_figure(curve) if curve is not None else "<p>Nothing was evaluated yet.</p>",
        category_figure(curves),
        prequential_figure(prequential(lake, workflow), curve),
        trend_figures(all_trends),
        forecast_figure(hours),
        next_hours_section(hours),
    ]  # fmt: skip
    return document(f"{workflow}, all weeks", "".join(body))


def _weeks(count: int) -> str:
    return "1 week" if count == 1 else f"{count} weeks"


_NOTE = (
    "Core success is that of what serves after the week, with an interval clustered by case cluster. Recurrence: failures per 1,000 opportunities "
    "of the clusters corrected in the week, two weeks later, over the rate they had; * other tools in between. Hours and minutes are of the week's last real run."
)


def _table(lines: Sequence[WeekLine]) -> str:
    numbers = {3, 4, 5, 6, 7, 8, 9}

    def row(tag: str, cells: Sequence[str]) -> str:
        return "".join(
            f"<{tag}{' class=number' if place in numbers else ''}>{cell}</{tag}>" for place, cell in enumerate(cells)
        )

    body = "".join(f"<tr>{row('td', [_link(line), *map(escaped, line.cells[1:])])}</tr>" for line in lines)
    head = row("th", [escaped(name) for name in HEADER])
    return f'<div class="scroll"><table class="weeks"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _link(line: WeekLine) -> str:
    return f'<a href="{escaped(line.week)}.html">{escaped(line.week)}</a>' if line.has_page else escaped(line.week)


def _lines(lake: Lake, workflow: str, curve: pl.DataFrame | None, all_trends: Trends) -> list[WeekLine]:
    if not all_trends.weeks:
        raise FlywheelError(
            f"{workflow} has no week yet",
            where=str(lake.root),
            remedy=f"run one: flywheel run --workflow {workflow} --week MONDAY",
        )
    curve_rows = {row["week"]: row for row in curve.iter_rows(named=True)} if curve is not None else {}
    cost = {row["week"]: row for row in all_trends.cost.iter_rows(named=True)}
    again = {one.week: one for one in all_trends.recurrences}
    pages = set(lake.read_columns("weekly_report", ("week", "week_of"), workflow=workflow)["week"])
    weeks = sorted({*all_trends.weeks, *curve_rows})
    return [
        WeekLine(week, _cells(week, curve_rows.get(week), cost.get(week), again.get(week), all_trends), week in pages)
        for week in weeks
    ]


def _cells(
    week: str, point: dict[str, Any] | None, cost: dict[str, Any] | None, again: Recurrence | None, all_trends: Trends
) -> list[str]:
    point, cost = point or {}, cost or {}
    machine = sum(cost.get(name) or 0.0 for name in ("training", "evaluation", "data")) / 60
    changed: list[str] = sorted({*(point.get("marks") or []), *all_trends.marks.get(week, [])})
    return [
        week, point.get("verdict") or "–", point.get("adapter_id") or "–",
        percent(point.get("success"), point.get("low"), point.get("high")), number(point.get("n"), "{:,}"),
        number(cost.get("corrections") or None, "{:,}"), number(cost.get("expert_hours"), "{:,.1f}"), number(cost.get("money"), "{:,.0f}"),
        number(machine or None, "{:,.0f}"), _recurrence(again), ", ".join(changed),
    ]  # fmt: skip


def _recurrence(again: Recurrence | None) -> str:
    if again is None:
        return "–"
    if not again.comparable:
        return "not comparable"
    return f"{rate_ratio(again.after, again.before)[0]:.0%}" + (" *" if again.changed else "")
