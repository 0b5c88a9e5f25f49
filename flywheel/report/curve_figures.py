"""Figures of the learning curve: what serves after each week beside each week's candidate, over all and by category."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from flywheel.report.curve import ALL
from flywheel.report.figures import figure, percent
from flywheel.report.plots import GOOD, INK, OLD, WIDTH, as_svg, empty_figure
from flywheel.report.weekly_axes import DRAWN_WEEKS, TICKS, dress, line, newest

HEADER = ["week", "verdict", "serves after it", "n", "success (95 % interval)", "candidate", "n", "success (95 % interval)", "changed"]  # fmt: skip


def curve_figure(curve: pl.DataFrame) -> str:
    """The learning curve with its table; a sentence where nothing was evaluated yet."""
    known = curve.drop_nulls("success")
    if known.is_empty():
        return "<p>Nothing was evaluated yet.</p>"
    told = newest(curve["week"].to_list())[1]
    title = (
        f"Benchmark success of what serves after each week, and of the week's candidate ({_cases(known)}; core{told})"
    )
    return figure(title, _picture(curve), _words(curve, known), HEADER, _rows(curve))


def curve_picture(curves: Mapping[str, pl.DataFrame]) -> str:
    """The learning curve's picture alone, as SVG; empty where nothing was evaluated yet."""
    curve = curves.get(ALL)
    return _picture(curve) if curve is not None and curve["success"].drop_nulls().len() else ""


def _picture(curve: pl.DataFrame) -> str:
    drawn = empty_figure(WIDTH, 3.1)
    axes = drawn.subplots()
    _draw(axes, curve, labelled=True)
    axes.legend(frameon=False, fontsize=9, labelcolor=INK, loc="lower right")
    return as_svg(drawn)


def category_figure(curves: Mapping[str, pl.DataFrame]) -> str:
    """The same by category, small and side by side; empty where there is one category or nothing evaluated."""
    shown = {name: curve for name, curve in curves.items() if name != ALL and curve["success"].drop_nulls().len()}
    if not shown:
        return ""
    lines = -(-len(shown) // 2)
    picture = empty_figure(WIDTH, 2.2 * lines + 0.3)
    panels = picture.subplots(lines, 2, sharey=True, squeeze=False, gridspec_kw={"hspace": 0.62, "wspace": 0.12}).flat
    for panel, (name, curve) in zip(panels, shown.items(), strict=False):
        _draw(panel, curve, labelled=False)
        panel.set_title(f"{name.replace('_', ' ')} ({_cases(curve.drop_nulls('success'))})", fontsize=9.5, color=INK)
        panel.set_xlabel("")
    for panel in list(picture.axes)[len(shown) :]:
        panel.set_visible(False)
    for panel in list(picture.axes)[1::2]:
        panel.set_ylabel("")
    header = ["category", *HEADER]
    rows = [[name.replace("_", " "), *row] for name, curve in shown.items() for row in _rows(curve)]
    words = " ".join(f"{name.replace('_', ' ')}: {_words(curve, curve.drop_nulls('success'))}" for name, curve in shown.items())  # fmt: skip
    return figure(
        "The same by category (filled: what serves, hollow: the candidate)", as_svg(picture), words, header, rows
    )


def _draw(axes: Any, curve: pl.DataFrame, *, labelled: bool) -> None:
    curve = curve.tail(DRAWN_WEEKS)
    marks = curve["marks"].to_list()

    def in_percent(name: str) -> list[float | None]:
        return (curve[name] * 100).to_list()

    line(axes, in_percent("candidate_success"), marks, colour=OLD, label="candidate", joined=False, hollow=True, shift=0.14,
         lows=in_percent("candidate_low"), highs=in_percent("candidate_high"))  # fmt: skip
    line(axes, in_percent("success"), marks, colour=GOOD, label="serves after the week", shift=-0.06,
         lows=in_percent("low"), highs=in_percent("high"))  # fmt: skip
    dress(
        axes, curve["week"].to_list(), marks, unit="cases solved, %", labelled=labelled, ticks=TICKS if labelled else 6
    )
    axes.set_ylim(-2, 103)


def _cases(known: pl.DataFrame) -> str:
    low, high = known["n"].min(), known["n"].max()
    return f"n = {low}" if low == high else f"n = {low} to {high}"


def _rows(curve: pl.DataFrame) -> list[list[Any]]:
    return [
        [
            row["week"], row["verdict"] or "–", row["adapter_id"], row["n"] or "–", percent(row["success"], row["low"], row["high"]),
            row["candidate_adapter_id"] or "–", row["candidate_n"] or "–",
            percent(row["candidate_success"], row["candidate_low"], row["candidate_high"]), ", ".join(row["marks"]),
        ]
        for row in curve.iter_rows(named=True)
    ]  # fmt: skip


def _words(curve: pl.DataFrame, known: pl.DataFrame) -> str:
    first, last = known.row(0, named=True), known.row(-1, named=True)
    decided = curve.filter(pl.col("verdict").is_not_null())
    promoted = decided.filter(verdict="PROMOTE").height
    return (
        f"What serves solved {percent(first['success'], first['low'], first['high'])} of {first['n']} cases after {first['week']} and "
        f"{percent(last['success'], last['low'], last['high'])} of {last['n']} after {last['week']}; "
        f"{promoted} of {decided.height} decided weeks promoted."
    )
