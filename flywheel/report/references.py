"""The frontier comparison: the candidate beside reference models on the same cases, and what a difference is made of.

Every reference was run on this very benchmark under this very scorer, or is left out and named. Cases that one side has no score of
(errors, not sent, not in an imported file) are left out on both sides, and n says what is left.
"""

from collections.abc import Mapping
from typing import NamedTuple

import polars as pl

from flywheel.report.text import escaped, table
from flywheel.statistics.format_and_behaviour import Side, Split, right_if_valid, split
from flywheel.statistics.paired import Interval, PairedDifference, clustered_rate, paired_difference

REFERENCE_COLUMNS = (
    "reference", "case_id", "epoch", "case_cluster", "success", "calls", "schema_valid_calls", "expects_call", "failure_tags",
    "benchmark_version", "scorer_version",
)  # fmt: skip
# Arms of every week: a reference of such a name would stand in their place. The base model is one where it is neither of them.
ARMS = ("candidate", "incumbent")
_BASE = "base"
_CASE = ("case_id", "case_cluster", "valid", "right", "both")


class Model(NamedTuple):
    """One model on the benchmark: success with interval, share of cases whose calls are all valid, and of those the right ones."""

    name: str
    success: Interval
    valid: float
    right_if_valid: float | None


class Against(NamedTuple):
    """The candidate minus one other, on the cases both have."""

    name: str
    difference: PairedDifference
    parts: Split


class Comparison(NamedTuple):
    """All models, the candidate's differences to each, and references left out, with why."""

    models: list[Model]
    against: list[Against]
    left_out: list[str]


def compare_with_references(results: pl.DataFrame, references: pl.DataFrame) -> Comparison | None:
    """Of EVAL_RESULTS rows of a week and REFERENCE_RESULTS rows; None where no candidate was evaluated."""
    candidate = results.filter(arm="candidate")
    if not candidate.height:
        return None
    version, scorer = candidate.select("benchmark_version", "scorer_version").row(0)
    arms = [*ARMS, *({_BASE} & set(results["arm"]))]
    sides = {arm: by_case(results.filter(arm=arm)) for arm in arms}
    left_out = []
    for name in sorted(set(references["reference"])):
        if name in arms:
            left_out.append(f"{name}: named like an arm of the week; run or import it again under another name")
            continue
        own = references.filter(reference=name)
        same = own.filter(benchmark_version=version, scorer_version=scorer)
        if same.height:
            sides[name] = by_case(same)
        else:
            left_out.append(f"{name}: run on other cases or under another scorer; run it again")
    sides = {name: cases for name, cases in sides.items() if cases.height}
    models = [_model(name, cases) for name, cases in sides.items()]
    against = [_against(name, sides["candidate"], cases) for name, cases in sides.items() if name != "candidate"] if "candidate" in sides else []  # fmt: skip
    return Comparison(models, [one for one in against if one], left_out)


def by_case(rows: pl.DataFrame) -> pl.DataFrame:
    """One row a case with a score: its cluster, and valid, right and both as means over epochs.

    Valid: all its calls match their schemas, nothing that was meant as a call could not be read, and where a call is due there is
    one: a model that only talks there has not shown the form, whether it could not or would not.
    """
    unread = pl.col("failure_tags").fill_null("[]").str.contains("schema_violation", literal=True)
    silent = pl.col("expects_call").fill_null(False) & (pl.col("calls") == 0)
    valid = (pl.col("calls") == pl.col("schema_valid_calls")) & ~unread & ~silent
    scored = rows.filter(pl.col("success").is_not_null()).with_columns(valid=valid, right=pl.col("success"))
    means = [pl.col(name).cast(pl.Float64).mean() for name in ("valid", "right")]
    both = (pl.col("valid") & pl.col("right")).cast(pl.Float64).mean().alias("both")
    return scored.group_by("case_id").agg(pl.col("case_cluster").first(), *means, both).select(_CASE).sort("case_id")


def comparison_lines(found: Comparison) -> list[str]:
    """For a terminal: a line a model, a line a difference."""
    rows = [f"{row[0]:<24}{row[1]:>22}{row[2]:>10}{row[3]:>12}{row[4]:>7}" for row in (_MODELS, *_model_rows(found))]
    for name, points, parts in _against_rows(found):
        rows.append(f"candidate minus {name}: {points}")
        rows.append(f"    {parts}")
    return [*rows, *(f"left out: {reason}" for reason in found.left_out)]


def references_section(tables: Mapping[str, pl.DataFrame]) -> str:
    """The section of the weekly page; empty without a candidate, and without the base model's arm and any reference."""
    references = tables["reference_results"]
    beside = references.height or tables["eval_results"].filter(arm=_BASE).height
    found = compare_with_references(tables["eval_results"], references) if beside else None
    if found is None:
        return ""
    lead = (
        "Valid: all calls of the case match their schemas, and where a call is due there is one. A difference is what is written better (format), what is done better when it is "
        "written validly (behaviour), and what came right in spite of an invalid call; the three add up."
    )
    lost = "".join(f"<p>left out: {escaped(reason)}</p>" for reason in found.left_out)
    return (
        f"<h2>Beside other models</h2>{table(list(_MODELS), _model_rows(found), 1)}<p>{escaped(lead)}</p>"
        f"{table(['candidate minus', 'points (95 % interval)', 'made of'], [list(row) for row in _against_rows(found)])}{lost}"
    )


_MODELS = ("model", "solved (95 % interval)", "valid", "right if so", "cases")


def _model_rows(found: Comparison) -> list[list[str]]:
    return [
        [one.name, f"{one.success.estimate:.1%} ({one.success.low:.0%} to {one.success.high:.0%})", f"{one.valid:.1%}",
         "unknown" if one.right_if_valid is None else f"{one.right_if_valid:.1%}", str(one.success.n)]
        for one in found.models
    ]  # fmt: skip


def _against_rows(found: Comparison) -> list[tuple[str, str, str]]:
    rows = []
    for one in found.against:
        gap = one.difference
        points = f"{_points(gap.mean)} ({_points(gap.lower)} to {_points(gap.upper)}), n = {gap.n}"
        parts = ", ".join(f"{name} {_points(part.value)} ({_points(part.low)} to {_points(part.high)})" for name, part in one.parts._asdict().items())  # fmt: skip
        rows.append((one.name, points, parts))
    return rows


def _points(value: float) -> str:
    return f"{100 * value:+.1f}"


def _side(cases: pl.DataFrame) -> Side:
    return Side(*(cases[name].to_list() for name in ("valid", "right", "both")))


def _model(name: str, cases: pl.DataFrame) -> Model:
    rate = clustered_rate(cases["right"].to_list(), cases["case_cluster"].to_list())
    return Model(name, rate, float(cases["valid"].to_numpy().mean()), right_if_valid(_side(cases)))


def _against(name: str, candidate: pl.DataFrame, other: pl.DataFrame) -> Against | None:
    shared = candidate.join(other.select("case_id"), on="case_id").sort("case_id")
    if not shared.height:
        return None
    theirs = other.join(shared.select("case_id"), on="case_id").sort("case_id")
    clusters = shared["case_cluster"].to_list()
    gap = paired_difference(shared["right"].to_list(), theirs["right"].to_list(), clusters)
    return Against(name, gap, split(_side(shared), _side(theirs), clusters))
