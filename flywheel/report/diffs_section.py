"""The weekly page's section on single cases: regressed ones first, each with what was expected, what both wrote, and the difference."""

from collections import Counter
from collections.abc import Sequence

from flywheel.report.diffs import SHOWN, CaseDiff, change_line, discordant
from flywheel.report.text import escaped

CHANGES, WIDTH = 6, 400


def diffs_section(diffs: Sequence[CaseDiff], workflow: str, week: str) -> str:
    """HTML; empty where nothing was evaluated."""
    if not diffs:
        return ""
    counts = Counter(one.outcome for one in diffs)
    shown = discordant(diffs)
    told = ", ".join(f"{counts[name]} {name}" for name in counts)
    rest = counts["regressed"] + counts["fixed"] - len(shown)
    more = f" Up to {SHOWN} of each are shown; all: flywheel diff --workflow {workflow} --week {week}" if rest else ""
    lead = f"Of {len(diffs)} cases under both arms: {told}.{more}"
    return f"<h2>Cases that changed</h2><p>{escaped(lead)}</p>{''.join(map(_case, shown))}"


def _case(one: CaseDiff) -> str:
    rows = [
        ("asked", [one.asked]), ("expected", one.expected), ("incumbent wrote", one.incumbent), ("candidate wrote", one.candidate),
        ("difference", [change_line(change) for change in one.changes[:CHANGES]] + _rest(len(one.changes))),
        ("why it failed", [one.reason]),
    ]  # fmt: skip
    cells = "".join(
        f"<tr><th>{name}</th><td>{'<br>'.join(_short(text) for text in texts)}</td></tr>"
        for name, texts in rows
        if any(texts)
    )
    head = f"<strong>{escaped(one.outcome)}</strong> {escaped(one.case_id)}, {escaped(one.category.replace('_', ' '))}"
    return f'<div class="case {one.outcome}"><p>{head}</p><table>{cells}</table></div>'


def _rest(changes: int) -> list[str]:
    return [f"and {changes - CHANGES} more"] if changes > CHANGES else []


def _short(text: str) -> str:
    return escaped(text if len(text) <= WIDTH else text[: WIDTH - 1] + "…")
