"""A plot's axis of weeks: ticks, lines that stop at gaps and at changes of what is measured, and the marks that say so."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from flywheel.report.conditions import breaks
from flywheel.report.plots import INK, PALE

TICKS, DRAWN_WEEKS, FEWEST_SLOTS = 13, 26, 6
Values = Sequence[float | None]


def runs(values: Values, marks: Sequence[Sequence[str]]) -> list[list[int]]:
    """Stretches of weeks that one line may join: known values, without a gap or a breaking mark between two of them."""
    found: list[list[int]] = []
    for place, value in enumerate(values):
        if value is None:
            continue
        if not found or found[-1][-1] != place - 1 or breaks(marks[place]):
            found.append([])
        found[-1].append(place)
    return found


def line(
    axes: Any, values: Values, marks: Sequence[Sequence[str]], *, colour: str, label: str, lows: Values | None = None,
    highs: Values | None = None, shift: float = 0.0, joined: bool = True,
    hollow: bool = False,
) -> None:  # fmt: skip
    """One series over the weeks with its intervals; one that is not `joined` is points alone.

    The shift moves the points sideways, in weeks, so that two series' intervals stand beside each other.
    """
    known = [place for place, value in enumerate(values) if value is not None]
    if not known:
        return
    for run in runs(values, marks) if joined else []:
        axes.plot([place + shift for place in run], [values[place] for place in run], color=colour, linewidth=1.6)
    if lows is not None and highs is not None:
        places = [place + shift for place in known if lows[place] is not None]
        ends = [[side[place] for place in known if lows[place] is not None] for side in (lows, highs)]
        axes.vlines(places, ends[0], ends[1], color=colour, linewidth=1, alpha=0.75)
    axes.plot(
        [place + shift for place in known], [values[place] for place in known], linestyle="none", marker="o",
        color=colour, markersize=4.5, label=label, markerfacecolor="none" if hollow else colour,
    )  # fmt: skip


def dress(
    axes: Any,
    weeks: Sequence[str],
    marks: Sequence[Sequence[str]],
    *,
    unit: str,
    labelled: bool = True,
    ticks: int = TICKS,
) -> None:
    """Ticks named by the weeks' Mondays, the unit on the y axis, and a dashed line with its reason at each mark."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(INK)
    axes.tick_params(colors=INK, labelsize=9)
    step = -(-len(weeks) // ticks)
    places = range(0, len(weeks), step)
    axes.set_xticks(list(places), [week_label(weeks[place], place == 0) for place in places])
    axes.set_xlim(-0.6, max(len(weeks), FEWEST_SLOTS) - 0.4)  # one week is no wall
    axes.set_ylabel(unit, color=INK, fontsize=9)
    axes.set_xlabel("week, by its Monday", color=INK, fontsize=9)
    marked = [(place, labels) for place, labels in enumerate(marks) if labels]
    for number, (place, labels) in enumerate(marked):
        axes.axvline(place - 0.5, color=INK if breaks(labels) else PALE, linewidth=1, linestyle="--")
        if labelled:  # above the data, neighbours at different heights
            axes.annotate(
                ", ".join(labels), (place - 0.5, 1), xycoords=("data", "axes fraction"), xytext=(-3, 3 + 11 * (number % 2)),
                textcoords="offset points", fontsize=8, color=INK, ha="left", va="bottom",
            )  # fmt: skip


def newest(weeks: Sequence[str]) -> tuple[list[str], str]:
    """The weeks that a picture has room for, and the words that say so where some are left to the table."""
    shown = list(weeks[-DRAWN_WEEKS:])
    return shown, f"; the newest {len(shown)} of {len(weeks)} weeks are drawn" if len(shown) < len(weeks) else ""


def mondays(first: str, last: str) -> list[str]:
    """Every week from the first to the last, so that one without a value stays a gap."""
    start = date.fromisoformat(first)
    count = (date.fromisoformat(last) - start).days // 7 + 1
    return [(start + timedelta(days=7 * number)).isoformat() for number in range(count)]


def week_label(week: str, with_year: bool = False) -> str:
    """A week as an axis names it: 5 Jan; the first one and each year's first with the year below."""
    day = date.fromisoformat(week)
    year = f"\n{day.year}" if with_year or day.timetuple().tm_yday <= 7 else ""
    return f"{day.day} {day:%b}{year}"
