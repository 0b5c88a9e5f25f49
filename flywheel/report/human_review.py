"""The weekly page's section on the people who check the scores: how far they are, and whether the program can be believed."""

from collections.abc import Mapping

import polars as pl

from flywheel.report.text import escaped, table

_TITLES = {
    "reviewed": ("sampled outputs reviewed", "{:.0%}"),
    "agreement": ("people and program check agree", "{:.0%}"),
    "kappa": ("the same beyond chance (Cohen's kappa)", "{:.2f}"),
    "alpha_between_raters": ("people among themselves (Krippendorff's alpha)", "{:.2f}"),
    "false_passes": ("passed by the program, failed by people", "{:.0%}"),
    "false_failures": ("failed by the program, passed by people", "{:.0%}"),
}
_SHOWN = 12


def human_review_section(tables: Mapping[str, pl.DataFrame]) -> str:
    """Figures with intervals and the outputs in dispute; empty where nobody has judged anything."""
    figures = {row["figure"]: row for row in tables["evaluation_review"].iter_rows(named=True)}
    if not figures:
        return ""
    rows = []
    for name, (title, style) in _TITLES.items():
        if row := figures.get(name):
            value = "unknown" if row["value"] is None else style.format(row["value"])
            if row["low"] is not None:
                value += f" ({style.format(row['low'])} to {style.format(row['high'])})"
            rows.append([title, value, row["n"], row["note"]])
    disputes = tables["evaluation_disagreements"]
    said = {True: "pass", False: "fail"}
    listed = [
        [row["case_id"], said[row["program_success"]], said[row["human_success"]], row["raters"], row["comments"] or ""]
        for row in disputes.head(_SHOWN).iter_rows(named=True)
    ]
    columns = ["case", "program", "people", "who", "why"]
    note = (
        f"{disputes.height} outputs where people and program disagree: the grader is suspected, no score was changed."
    )
    disputed = f"<p>{escaped(note)}</p>{table(columns, listed)}" if listed else ""
    return f"<h2>Human review of the scores</h2>{table(['measure', 'value', 'n', 'note'], rows)}{disputed}"
