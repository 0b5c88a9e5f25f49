"""Pictures of a week as inline SVG: small, self-contained, readable in light and dark."""

import io
from collections.abc import Sequence
from typing import Any

WIDTH = 9.4  # inches: as wide as the page
INK, GOOD, OLD, PALE = "#5b6470", "#2f7d5b", "#9aa3ad", "#c9ced4"


def empty_figure(width: float, height: float) -> Any:
    """An empty figure, inches. matplotlib is imported here: the code location loads without its third of a second."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams["text.parse_math"] = False  # a dollar sign in a name is a dollar sign

    return Figure(figsize=(width, height))


def as_svg(figure: Any) -> str:
    """The figure as an SVG element: the same data give the same bytes."""
    import matplotlib

    # Text stays text: as outlines, matplotlib repeats it in XML comments, unescaped.
    matplotlib.rcParams["svg.fonttype"] = "none"
    matplotlib.rcParams["svg.hashsalt"] = "flywheel"  # same data, same bytes
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None}, bbox_inches="tight")
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _bare(figure: Any) -> Any:
    axes = figure.subplots()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(INK)
    axes.tick_params(colors=INK, labelsize=9)
    return axes


def success_by_category(rows: Sequence[dict[str, Any]]) -> str:
    """Bars side by side: success of base model, incumbent and candidate per category with 95 % intervals.

    Rows: category, n, and for each arm (estimate, low, high) under `incumbent`, `candidate` and, where it is one, `base`.
    """
    arms = [
        (arm, colour) for arm, colour in (("base", PALE), ("incumbent", OLD), ("candidate", GOOD)) if arm in rows[0]
    ]
    height = 0.72 / len(arms)
    figure = empty_figure(WIDTH, 0.37 * len(arms) * len(rows) + 0.9)
    axes = _bare(figure)
    for index, row in enumerate(rows):
        for number, (arm, colour) in enumerate(arms):
            estimate, low, high = row[arm]
            place = index + (len(arms) - 1) * height / 2 - number * height  # the axis is inverted: the candidate on top
            axes.barh(place, estimate * 100, height=0.9 * height, color=colour)
            axes.plot([low * 100, high * 100], [place] * 2, color=INK, linewidth=1.2)
            axes.text(min(high * 100 + 1.5, 101), place, f"{estimate:.0%}", va="center", fontsize=8, color=INK)
    axes.set_yticks(range(len(rows)), [f"{row['category'].replace('_', ' ')} (n = {row['n']})" for row in rows])
    axes.set_xlim(0, 108)
    axes.set_xlabel("cases solved, % with 95 % interval", color=INK, fontsize=9)
    axes.invert_yaxis()
    return as_svg(figure)


def loss_curve(log: Sequence[dict[str, Any]]) -> str:
    """Loss by step, supervised stage and preference stage beside each other; validation loss where there is one."""
    stages = [stage for stage in ("SFT", "DPO") if any(entry["stage"] == stage for entry in log)]
    figure = empty_figure(WIDTH, 2.2)
    all_axes = figure.subplots(
        1, len(stages), squeeze=False, width_ratios=[3 if stage == "SFT" else 1 for stage in stages]
    )[0]
    for axes, stage in zip(all_axes, stages, strict=True):
        for validation, colour, label in ((False, GOOD, "training rows"), (True, INK, "rows kept out")):
            entries = [entry for entry in log if (entry["stage"], entry["validation"]) == (stage, validation)]
            if entries:
                steps, losses = zip(*((entry["step"], entry["loss"]) for entry in entries), strict=True)
                axes.plot(steps, losses, color=colour, marker=".", linewidth=1.4, label=label)
        if any(entry["validation"] for entry in log if entry["stage"] == stage):
            axes.legend(frameon=False, fontsize=8, labelcolor=INK)
        axes.set_title(stage, color=INK, fontsize=10)
        axes.set_xlabel("step", color=INK, fontsize=9)
        axes.tick_params(colors=INK, labelsize=8)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    return as_svg(figure)
