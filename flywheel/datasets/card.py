"""The dataset card: what a week's rows are made of, what was kept out, and what is missing; Markdown for the asset's page.

Every number has its denominator. The card says what was simulated and under which QA mode people worked.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from flywheel.chat.visible import in_markdown
from flywheel.datasets.build import Build
from flywheel.datasets.conflicts import sentence
from flywheel.datasets.coverage import covered, proposal, thin
from flywheel.datasets.ration import row_budget
from flywheel.datasets.refresh import Workshop
from flywheel.lake import TABLES
from flywheel.lake.content import content_of
from flywheel.statistics.paired import rate

_MEANS = {
    "repeated": "the same request, context and answer stand in the mix already",
    "conflict": "people answered the same context differently",
    "overruled": "an adjudicator chose another answer to the same context",
    "benchmark": "near a case that judges the model",
    "held_out": "near a row of the held-out split",
    "too_long": "does not fit, and the context policy does not make it fit",
    "tool_gone": "calls a tool that is not among today's",
    "invalid_today": "no longer valid under today's schema",
    "withdrawn": "its source was withdrawn",
    "budget": "over the row budget",
    "incomplete_trajectory": "another step of the same recovery does not train, and half of one teaches none",
    "tool_is_corrected": "a verified step of a tool that corrections teach already",
}


def card(shop: Workshop, made: Build, week: str) -> str:
    """The card of one build."""
    settings = shop.pack.settings
    simulated = sum(row["annotator_kind"] == "simulated" for row in made.sft)
    parts = [
        f"# Dataset of {shop.pack.name}, week of {week}",
        f"{len(made.sft)} supervised rows and {len(made.pairs)} preference pairs, of {sum(c[0] for c in made.mix.counts.values())} candidate "
        f"steps; row budget {row_budget(settings)}. " + (f"**{simulated} rows are simulated.**" if simulated else ""),
        "## Sources", _sources(made),
        "## Left out", _left_out(made),
        "## Quality of the corrections", _quality(shop, made, week),
        "## Kinds of failure repaired", _buckets(made),
        "## Lengths", _lengths(made),
        "## Conflicts", in_markdown(sentence(made.conflicts, shop.lake.read_weeks("conflict_decisions", workflow=shop.pack.name, until=week))) + ".",
        "## Withdrawals", _withdrawals(shop),
        "## Known gaps", _gaps(shop, made),
        "## Hashes", _hashes(made),
    ]  # fmt: skip
    return "\n\n".join(parts)


def _sources(made: Build) -> str:
    lines = ["| source | candidates | in the dataset |", "|---|---|---|"]
    lines += [f"| {source} | {before} | {after} of {before} |" for source, (before, after) in made.mix.counts.items()]
    return "\n".join(lines) + "".join(f"\n\n{note}." for note in made.mix.notes)


def _left_out(made: Build) -> str:
    reasons = made.mix.reasons()
    if not reasons:
        return "Nothing."
    total = sum(reasons.values())
    lines = ["| reason | steps | means |", "|---|---|---|"]
    return "\n".join(
        lines
        + [
            f"| {reason} | {count} of {total} | {_MEANS.get(reason, 'cap or share in the pack')} |"
            for reason, count in reasons.items()
        ]
    )


def _quality(shop: Workshop, made: Build, week: str) -> str:
    """QA mode and how often people had to come back to a correction, over the corrections in the dataset."""
    ids = sorted({row["source_id"] for row in made.sft if row["source"] == "correction"})
    if not ids:
        return "There are no corrections in this dataset."
    columns = ("week", "correction_id", "qa_mode", "returns", "adjudicator", "auditor")
    rows = shop.lake.read_columns("corrected_traces", columns, workflow=shop.pack.name,
                                  where=(pl.col("week") <= week) & pl.col("correction_id").is_in(ids))  # fmt: skip
    modes = ", ".join(f"{mode} ({count})" for mode, count in sorted(Counter(rows["qa_mode"]).items()))
    first = int((rows["returns"].fill_null(0) == 0).sum())
    told = (
        f"{rows.height} corrections under QA mode {modes}. Accepted at first review: {rate(first, rows.height)}; "
        f"settled by an adjudicator: {rows['adjudicator'].count()} of {rows.height}; audited: {rows['auditor'].count()} of {rows.height}."
    )
    return told + _agreement(shop, week)


def _agreement(shop: Workshop, week: str) -> str:
    """The week's figures of `correction_quality`, where the installation measures them."""
    if "correction_quality" not in TABLES:
        return ""
    wanted = (pl.col("week") == week) & pl.col("value").is_not_null()
    figures = shop.lake.read_columns(
        "correction_quality", ("figure", "value", "n"), workflow=shop.pack.name, where=wanted
    )
    lines = [f"\n- {row['figure']}: {row['value']:.3g} (n = {row['n']})" for row in figures.iter_rows(named=True)]
    return "\n" + "".join(lines) if lines else ""


def _buckets(made: Build) -> str:
    counts = Counter(row["bucket"] or "none (shown, verified or replayed)" for row in made.sft)
    pairs = Counter(row["bucket"] for row in made.pairs)
    lines = ["| bucket | rows | pairs |", "|---|---|---|"]
    return "\n".join(lines + [f"| {bucket} | {count} | {pairs[bucket]} |" for bucket, count in counts.most_common()])


def _lengths(made: Build) -> str:
    if not made.sft:
        return "No rows."
    tokens = pl.Series([row["prompt_tokens"] + row["target_tokens"] for row in made.sft])
    elided = sum(row["elided_messages"] > 0 for row in made.sft)
    return f"Tokens a row: median {tokens.median():.0f}, 95 % {tokens.quantile(0.95):.0f}, longest {tokens.max()}; {elided} of {tokens.len()} rows shortened."


def _withdrawals(shop: Workshop) -> str:
    rows = shop.lake.read_weeks("dataset_withdrawals", workflow=shop.pack.name)
    if not rows.height:
        return "None."
    return "\n".join(
        f"- {row['kind']} by {in_markdown(row['withdrawn_by'])}: {in_markdown(row['reason'])}"
        for row in rows.iter_rows(named=True)
    )


def _gaps(shop: Workshop, made: Build) -> str:
    wanted = shop.pack.settings.datasets.examples_per_branch
    found = covered(shop.pack.tools, (row["target"] for row in made.sft))
    missing = thin(found, wanted)
    lines = [
        f"{len(found) - len(missing)} of {len(found)} branches of the tools' schemas have {wanted} examples or more."
    ]
    return "\n".join(lines + [f"- {in_markdown(proposal(one, wanted))}" for one in missing[:12]])


def _hashes(made: Build) -> str:
    def digest(rows: Sequence[Mapping[str, Any]]) -> str:
        return content_of(bytes.fromhex(row["row_id"]) for row in rows)[:16]

    return f"supervised rows `{digest(made.sft)}`, preference pairs `{digest(made.pairs)}` (of their row ids)."
