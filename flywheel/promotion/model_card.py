"""The model card of an adapter: what it stands on, what it learned from, how it was judged, and what nobody knows about it.

Markdown, from the tables alone. It lies beside the adapter (`checkpoints/WORKFLOW/ADAPTER.md`: the adapter's own folder holds what
vLLM loads and nothing else), in the metadata of `promotion`, and in every bundle.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
from deltalake.exceptions import DeltaError

from flywheel.chat.families import find_family
from flywheel.chat.visible import in_markdown
from flywheel.lake import Lake
from flywheel.lake.store import NO_WEEK
from flywheel.promotion.gate import ADVISORY_BELOW
from flywheel.settings import Settings
from flywheel.workflows.base_model import BaseModel
from flywheel.workflows.pack import Pack


def model_card(lake: Lake, pack: Pack, base: BaseModel, adapter_id: str, *, with_log: bool = True) -> str | None:
    """The card; None for an adapter that no checkpoint row knows, and for the base model.

    Args:
        with_log: also who released it and when; without it the card of an adapter stays the same.
    """
    where = pl.col("adapter_id") == adapter_id
    every = list(lake.empty("checkpoint").columns)
    trained = lake.read_columns("checkpoint", every, workflow=pack.name, where=where)
    if not trained.height:
        return None
    checkpoint = trained.sort("week").row(-1, named=True)
    week = checkpoint["week"]
    decided = _decision(lake, pack.name, week, adapter_id)
    log = lake.read_weeks("promotion_log", workflow=pack.name).filter(pl.col("candidate_adapter_id") == adapter_id)
    parts = [
        f"# {adapter_id}",
        f"LoRA adapter of the workflow `{pack.name}`, week of {week}, owner {pack.settings.owner}. {pack.settings.description}".strip(),
        "## Base", _base(checkpoint, base, pack),
        "## Data", _data(lake, pack.name, week),
        "## Training", _training(checkpoint),
        "## Evaluation", _evaluation(decided),
        "## Decision", _reasons(decided),
        *(["## Released", _released(log)] if with_log else []),
        "## Limits", _limits(checkpoint, decided, lake, pack),
        "## Lineage", _lineage(lake, pack.name, checkpoint, decided),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def write_card(settings: Settings, lake: Lake, pack: Pack, base: BaseModel, adapter_id: str) -> Path | None:
    """Write the card beside the adapter, whole; None where there is none to write."""
    card = model_card(lake, pack, base, adapter_id)
    folder = settings.checkpoints(pack.name)
    if card is None or not folder.is_dir():
        return None
    file = folder / f"{adapter_id}.md"
    partial = file.with_name(f"{file.name}.partial")
    partial.write_text(card, encoding="utf-8")
    partial.replace(file)
    return file


def _decision(lake: Lake, workflow: str, week: str, adapter_id: str) -> dict[str, Any] | None:
    if not lake.has_partition("promotion", workflow=workflow, week=week):
        return None
    rows = lake.read_partition("promotion", workflow=workflow, week=week).filter(candidate_adapter_id=adapter_id)
    return rows.row(0, named=True) if rows.height else None


def _base(checkpoint: dict[str, Any], base: BaseModel, pack: Pack) -> str:
    family = find_family(pack.settings.model_family)
    same = checkpoint["base_model_sha256"] == base.sha256
    name = base.name if same else "another base model than today's"
    return (
        f"{name}, weights `{checkpoint['base_model_sha256']}`; family `{family.name}`, template `{checkpoint['chat_template_sha256']}`. "
        f"At full size: {family.full_size_runs}."
    )


def _data(lake: Lake, workflow: str, week: str) -> str:
    """Counts of the rows it learned from; the dataset's own card stands on the page of `sft_dataset`."""
    rows = _learned(lake, "sft_dataset", workflow, week)
    pairs = _learned(lake, "preference_dataset", workflow, week).height
    corrections = rows.filter(source="correction")
    weeks = sorted(set(corrections["from_week"].drop_nulls()))
    lines = [f"{rows.height} supervised rows and {pairs} preference pairs; {corrections['source_id'].n_unique()} corrections"
             + (f" of the weeks {weeks[0]} to {weeks[-1]}." if weeks else "."),
             f"- by source: {_counts(rows['source'], rows.height)}",
             f"- QA mode: {_counts(rows['qa_mode'], rows.height)}",
             f"- written by: {_counts(rows['annotator_kind'], rows.height)}",
             f"- data card: asset `sft_dataset`, partition `{week}|{workflow}`, metadata `card`"]  # fmt: skip
    return "\n".join(lines)


def _learned(lake: Lake, table: str, workflow: str, week: str) -> pl.DataFrame:
    """The dataset as the week's checkpoint read it, whatever a withdrawal made of it since; today's where that version is gone (an erasure)."""
    known = lake.lineage("checkpoint", workflow=workflow, week=week)
    version = json.loads(known.inputs or "{}").get(f"{table}/{week}") if known else None
    if not lake.has_partition(table, workflow=workflow, week=week):
        return lake.empty(table)
    try:
        return lake.read_partition(table, workflow=workflow, week=week, version=version)
    except (DeltaError, OSError, pl.exceptions.PolarsError):
        return lake.read_partition(table, workflow=workflow, week=week)


def _counts(values: pl.Series, of: int) -> str:
    counted = Counter(value or "not said" for value in values)
    return ", ".join(f"{name} {count} of {of}" for name, count in sorted(counted.items())) or "no rows"


def _training(checkpoint: dict[str, Any]) -> str:
    elsewhere = json.loads(checkpoint["trained_elsewhere"] or "null")
    spec = json.loads(checkpoint["spec"] or "{}")
    shown = ("lora_rank", "lora_alpha", "sft_learning_rate", "dpo_learning_rate", "rows_per_step", "seed")
    lines = [
        f"- {_whole(checkpoint['sft_rows'])} rows, {_whole(checkpoint['sft_presentations'])} presentations; loss a token "
        f"{_number(checkpoint['sft_first_loss'])} at the first step, {_number(checkpoint['sft_last_loss'])} at the last",
        f"- {_whole(checkpoint['preference_rows'])} preference pairs; chosen side likelier in {_share(checkpoint['preference_accuracy'])}",
        f"- forgotten: {_nats(checkpoint, 'forgetting')} on general texts; {_nats(checkpoint, 'tool_regression')} on tools nobody corrected",
        "- settings: " + (", ".join(f"{name} {spec[name]}" for name in shown if name in spec) or "not recorded"),
    ]  # fmt: skip
    if checkpoint["start_adapter_id"]:
        lines.append(
            f"- went on from the weights of `{checkpoint['start_adapter_id']}`: what that learned from, this did too"
        )
    if elsewhere:
        told = ", ".join(f"{name} {value}" for name, value in elsewhere["machine"].items())
        lines.append(f"- trained on a machine elsewhere ({told}), job `{elsewhere['job_sha256'][:16]}`")
    return "\n".join(lines)


def _evaluation(decided: dict[str, Any] | None) -> str:
    if decided is None:
        return "Not judged yet."
    lines = ["| arm | adapter | success | 95 % interval |", "|---|---|---|---|"]
    for arm in ("candidate", "incumbent"):
        low, high = decided[f"{arm}_low"], decided[f"{arm}_high"]
        lines.append(
            f"| {arm} | `{decided[f'{arm}_adapter_id']}` | {_share(decided[f'{arm}_success'])} | {_share(low)} to {_share(high)} |"
        )
    difference = (
        f"Difference {_points(decided['difference'])}, 95 % interval {_points(decided['difference_lower'])} to "
        f"{_points(decided['difference_upper'])}, on {_whole(decided['cases'])} cases; margin {_points(decided['margin'])}; smallest "
        f"difference that these cases resolve {_points(decided['minimum_detectable_effect'])}."
    )
    return "\n".join(lines) + "\n\n" + difference


def _reasons(decided: dict[str, Any] | None) -> str:
    if decided is None:
        return "None yet."
    reasons = "\n".join(f"- {in_markdown(reason)}" for reason in json.loads(decided["reasons"]))
    return (
        f"**{decided['verdict']}** under QA mode `{decided['qa_mode']}`, release `{decided['release']}`.\n\n{reasons}"
    )


def _released(log: pl.DataFrame) -> str:
    rows = log.sort("week", "decided_at").to_dicts()
    lines = [f"- {row['decided_at']:%Y-%m-%d %H:%M} UTC, {row['kind'] or 'decision'} by {in_markdown(row['by'] or 'flywheel')}: serves "
             f"`{row['served_adapter_id']}`, before `{row['previous_adapter_id']}`. {in_markdown(row['reason'] or '')}".rstrip() for row in rows]  # fmt: skip
    return "\n".join(lines) or "Never."


def _limits(checkpoint: dict[str, Any], decided: dict[str, Any] | None, lake: Lake, pack: Pack) -> str:
    """What the evidence does not carry."""
    week = checkpoint["week"]
    kinds = _learned(lake, "sft_dataset", pack.name, week)["annotator_kind"]
    simulated = int((kinds == "simulated").sum())
    limits = [
        f"It knows the tools of `{pack.name}` as they were (`{checkpoint['tools_sha256'] or 'not recorded'}`), and no others."
    ]
    if simulated:
        limits.append(
            f"{simulated} of {len(kinds)} training rows are simulated: this is a demonstration, not a product."
        )
    cases = decided["cases"] if decided else 0
    if not cases:
        limits.append("No comparison with what served before stands behind it.")
    elif cases < ADVISORY_BELOW:
        limits.append(f"It was judged on {cases} cases, fewer than {ADVISORY_BELOW}: the verdict is advisory.")
    limits.append(
        "Judged on the benchmark alone; what it does in production is compared after the switch (`flywheel status`)."
    )
    if decided and decided["qa_mode"] != "three":
        limits.append(f"The corrections went through QA mode `{decided['qa_mode']}`, not through three people.")
    if checkpoint["tool_regression_nats"] is None:
        limits.append("What it lost on tools that nobody corrected was not measured: there are no such steps.")
    return "\n".join(f"- {limit}" for limit in limits)


def _lineage(lake: Lake, workflow: str, checkpoint: dict[str, Any], decided: dict[str, Any] | None) -> str:
    week = checkpoint["week"]
    lines = [f"- adapter `{checkpoint['adapter_id']}`, tools `{checkpoint['tools_sha256'] or 'not recorded'}`"]
    if decided:
        lines.append(f"- decision `{decided['decision_id']}`, benchmark `{decided['benchmark_version']}`")
    known = lake.all_lineage(
        workflow=workflow, tables=["checkpoint", "eval_results", "sft_dataset", "preference_dataset", "benchmark"]
    )
    for row in known.filter(pl.col("week").is_in([week, NO_WEEK])).sort("table_name").iter_rows(named=True):
        lines.append(
            f"- {row['table_name']}: Delta version {row['version']}, content `{row['content_sha256'][:16]}`, run `{row['run_id']}`"
        )
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "not known" if value is None else f"{value:.3f}"


def _whole(value: int | None) -> str:
    return "not known" if value is None else f"{value:,}"


def _share(value: float | None) -> str:
    return "not known" if value is None else f"{value:.1%}"


def _points(value: float | None) -> str:
    return "not known" if value is None else f"{100 * value:+.1f} points"


def _nats(checkpoint: dict[str, Any], name: str) -> str:
    value, low, high = (checkpoint[f"{name}_{part}"] for part in ("nats", "low", "high"))
    return "not measured" if value is None else f"{value:+.3f} nats a token ({_number(low)} to {_number(high)})"
