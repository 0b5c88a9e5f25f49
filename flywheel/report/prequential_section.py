"""The pages' part on the prequential score: last week's adapter on this week's steps, and all weeks beside the frozen benchmark."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from flywheel.report.figures import figure
from flywheel.report.plots import GOOD, INK, OLD, WIDTH, as_svg, empty_figure
from flywheel.report.prequential import CHECKPOINT, RANDOM_SLICE, SELECTED, Score, Week, over_weeks
from flywheel.report.text import escaped, table
from flywheel.report.weekly_axes import DRAWN_WEEKS, dress, line, mondays
from flywheel.statistics.strata import Joined

HEADER = ["steps of", "arm", "adapter", "random slice (95 % interval)", "selected failures (95 % interval)", "weighted to production (95 % interval)", "of its own runs"]  # fmt: skip
GAIN_HEADER = ["steps of", "checkpoint minus incumbent, random slice", "selected failures", "weighted to production"]
NOTE = (
    "Random slice: runs that triage did not flag, drawn at random. Selected failures: flagged runs picked by priority because what served "
    "failed there, so an adapter is at a disadvantage on runs of its own (last column) and the other one is favoured. Weighted: both, by the "
    "shares of flagged and unflagged runs in the week; it stands for production as far as the selected failures stand for all flagged runs. "
    "One step a run; no step trained an adapter that was asked."
)


def prequential_section(weeks: Sequence[Week], week: str) -> str:
    """The weekly page's section; empty in a week that was not scored."""
    mine = [one for one in weeks if one.week == week]
    if not mine:
        return ""
    one = mine[0]
    rows, gains = rows_of(mine), gain_rows(mine)
    told = (
        f"Asked were {one.corrected} of the week's {one.accepted} accepted corrections and {one.steps - one.corrected} runs that people found right; "
        "the others repeat word for word what had trained, are runs of other weeks, or cannot be asked. "
        f"{one.flagged} of the week's runs were flagged, {one.unflagged} were not."
    )
    if one.infra_errors:
        told += f" {one.infra_errors} steps could not be asked and are not counted."
    gain = table(GAIN_HEADER, gains, 3) if gains else ""
    return (
        f"<h2>Last week's adapter on this week's steps (prequential)</h2><p>{escaped(told)}</p>"
        f"{table(HEADER, rows, 4)}{gain}<p>{escaped(NOTE)}</p>"
    )


def prequential_figure(weeks: Sequence[Week], curve: pl.DataFrame | None = None) -> str:
    """Each week's adapter on the next week's steps, beside the same adapter on the frozen benchmark; empty before the first score.

    Args:
        curve: as `curve.learning_curve` makes it.
    """
    if not weeks:
        return ""
    by_week = {week.week: week for week in weeks}
    shown = mondays(weeks[0].week, weeks[-1].week)[-DRAWN_WEEKS:]
    frozen = _frozen(curve)
    arms = [by_week[week].arm(CHECKPOINT) if week in by_week else None for week in shown]
    nothing: list[list[str]] = [[] for _ in shown]
    picture = empty_figure(WIDTH, 3.1)
    axes = picture.subplots()
    for values, colour, name, shift, hollow in (
        (
            [frozen.get(arm.adapter_id) if arm else None for arm in arms],
            INK,
            "the same adapter on the frozen benchmark",
            0.16,
            True,
        ),
        (
            [arm.scores[SELECTED].rate if arm else None for arm in arms],
            OLD,
            "next week's selected failures",
            0.05,
            False,
        ),
        (
            [arm.weighted if arm else None for arm in arms],
            GOOD,
            "next week's steps, weighted to production",
            -0.08,
            False,
        ),
    ):
        known = [None if value is None else Joined(*(100 * part for part in value)) for value in values]
        line(axes, [one and one.estimate for one in known], nothing, colour=colour, label=name, joined=False, shift=shift, hollow=hollow,
             lows=[one and one.low for one in known], highs=[one and one.high for one in known])  # fmt: skip
    dress(axes, shown, nothing, unit="solved, %")
    axes.set_ylim(-2, 103)
    axes.set_xlabel("week of the steps, by its Monday; the adapter is of the week before", color=INK, fontsize=9)
    axes.legend(frameon=False, fontsize=9, labelcolor=INK, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    rows = rows_of(weeks)
    words = "; ".join(f"{row[0]} {row[1]}: {row[5]} weighted, {row[4]} of selected failures" for row in rows)
    title = f"Prequential score: each adapter on the next week's steps ({sum(week.steps for week in weeks)} steps of {len(weeks)} weeks); {pooled_sentence(weeks)}"
    gains = gain_rows(weeks)
    return (
        figure(title, as_svg(picture), words, HEADER, rows, 4)
        + (table(GAIN_HEADER, gains, 3) if gains else "")
        + f"<p>{escaped(NOTE)}</p>"
    )


def pooled_sentence(weeks: Sequence[Week]) -> str:
    """The random slice of all weeks together, which a single week is too small for."""
    pooled = over_weeks(weeks)
    said = "; ".join(f"{name} {score_cell(score)}" for name, score in pooled.items() if score.n)
    return f"random slice of all weeks: {said}" if said else "no step of a random slice yet"


def rows_of(weeks: Sequence[Week]) -> list[list[Any]]:
    """The cells of HEADER, a row for each week and arm."""
    return [
        [week.week, arm.name, arm.adapter_id, score_cell(arm.scores[RANDOM_SLICE]), score_cell(arm.scores[SELECTED]), rate(arm.weighted), f"{arm.made} of {week.steps}"]
        for week in weeks for arm in week.arms
    ]  # fmt: skip


def gain_rows(weeks: Sequence[Week]) -> list[list[Any]]:
    """The cells of GAIN_HEADER, for weeks with both arms."""
    return [
        [week.week, *(points(week.gain.get(name)) for name in (RANDOM_SLICE, SELECTED, "weighted"))]
        for week in weeks
        if week.gain
    ]


def score_cell(score: Score) -> str:
    """A rate with its count; a dash where nothing was asked."""
    return f"{score.solved:g} of {score.n}: {rate(score.rate)}" if score.n else "–"


def rate(found: Joined | None) -> str:
    """A rate as people read it; unknown where a part of production has no step."""
    return "–" if found is None else f"{found.estimate:.0%} ({found.low:.0%} to {found.high:.0%})"


def points(found: Joined | None) -> str:
    """A difference in points."""
    return "–" if found is None else f"{100 * found.estimate:+.0f} ({100 * found.low:+.0f} to {100 * found.high:+.0f})"


def _frozen(curve: pl.DataFrame | None) -> Mapping[str, Joined]:
    """Adapter -> its success on the benchmark's core, as the week that trained it measured it."""
    if curve is None:
        return {}
    known = curve.drop_nulls(["candidate_adapter_id", "candidate_success"])
    columns = ("candidate_adapter_id", "candidate_success", "candidate_low", "candidate_high")
    return {name: Joined(*values) for name, *values in known.select(columns).iter_rows()}
