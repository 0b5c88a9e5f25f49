"""A figure of a page: title with its n, picture, words for those who do not see it, and the table behind it."""

from typing import Any

from flywheel.report.text import escaped, table


def figure(title: str, svg: str, words: str, header: list[str], rows: list[list[Any]], numbers: int = 0) -> str:
    """HTML of one figure; `words` stand for the picture where it cannot be seen, and the table folds out below it."""
    picture = svg.replace("<svg", f'<svg role="img" aria-label="{escaped(words)}"', 1)
    behind = f"<details><summary>The table behind it</summary>{table(header, rows, numbers)}</details>"
    return f"<figure><figcaption>{escaped(title)}</figcaption>{picture}{behind}</figure>"


def percent(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """A rate from 0 to 1 as people read it, with its interval where there is one; a dash where it is not known."""
    if value is None:
        return "–"
    return f"{value:.1%}" if low is None or high is None else f"{value:.1%} ({low:.1%} to {high:.1%})"


def number(value: float | None, style: str = "{:,.1f}") -> str:
    """A number as a cell shows it; a dash where it is not known."""
    return "–" if value is None else style.format(value)
