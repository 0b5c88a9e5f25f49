"""One week's datasets from beginning to end: candidates brought up to date, the mix chosen, the poisoning guard, the tables' rows.

What goes here: the order of the steps, and reading what they need from the lake. What does not: each step's rule, which has its
own file.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import polars as pl

from flywheel.benchmark.leaks import Leak, Registry, find_leaks, leaks_in, read_registry, refuse_leaks, row_candidate
from flywheel.datasets.conflicts import conflicts, settlements
from flywheel.datasets.foreign import foreign_traces
from flywheel.datasets.mix import Mix, Row, select
from flywheel.datasets.poisoning import Suspicion, passed_before, suspicions
from flywheel.datasets.preference import preference_rows
from flywheel.datasets.ration import row_budget
from flywheel.datasets.refresh import Workshop, refresh
from flywheel.datasets.splits import held_out_row, known_groups, newly_held_out
from flywheel.datasets.withdrawals import withdrawn_sources
from flywheel.lake import TABLES
from flywheel.lake.dataset_tables import BEFORE_ALL_WEEKS
from flywheel.similarity.incremental import groups_of

# Read for the rows that are taken, never for all of history; the rest is what choosing needs.
_PAYLOAD = ("tools", "tools_sha256", "messages", "target", "rejected", "pair", "prompt_tokens", "target_tokens", "rejected_tokens",
            "elided_messages", "verified_by", "annotator_kind", "qa_mode")  # fmt: skip
_SFT = [name for name in TABLES["sft_dataset"].polars_schema() if name not in ("week", "workflow", "from_week")]
# Listed row by row, because somebody may want to act on them; budget and repeats are counted only.
_LISTED = ("benchmark", "held_out", "conflict", "overruled", "too_long", "tool_gone", "invalid_today", "withdrawn", "cap_principal", "cap_tenant",
           "cap_near_duplicate_group", "cap_template", "incomplete_trajectory")  # fmt: skip


class Build(NamedTuple):
    """What a build made.

    Attributes:
        sft, pairs: rows of both datasets, without partition columns.
        mix: which candidates were kept and why the others were not.
        conflicts, left_out: DATASET_CONFLICTS and DATASET_LEFT_OUT rows.
        suspicions: strings in new targets that a person must look at; not yet released ones block the build.
        computed: weeks whose candidates were computed anew.
        held_out: rows held out so far.
    """

    sft: list[dict[str, Any]]
    pairs: list[dict[str, Any]]
    mix: Mix
    conflicts: list[dict[str, Any]]
    left_out: list[dict[str, Any]]
    suspicions: list[Suspicion]
    computed: list[str]
    held_out: int


def build(shop: Workshop, week: str) -> Build:
    """Both datasets of one week. Nothing is written but the caches of candidates and texts, and the rows newly held out.

    Raises FlywheelError when a chosen row touches the benchmark after all.
    """
    lake, workflow, allowed = shop.lake, shop.pack.name, shop.pack.settings.datasets
    settings = allowed.model_copy(update={"row_budget": row_budget(shop.pack.settings)})
    computed = refresh(shop, week)
    rows = read_candidates(shop, week)
    _hold_out(shop, rows, week)
    registry = Registry(read_registry(lake, workflow))
    held_out = lake.read_columns("held_out", ("row_id",), workflow=workflow)["row_id"]

    whole: dict[str, dict[str, Any]] = {}  # what the leak search read is not read again

    def leaks_of(chosen: Sequence[Row]) -> list[Leak]:
        whole.update((row["row_id"], row) for row in with_payload(shop, chosen))
        return find_leaks(registry, [row_candidate(whole[row["row_id"]]) for row in chosen])

    mix = select(
        rows, leaks_of, settings, week=week, withdrawn=withdrawn_sources(lake, workflow), held_out=frozenset(held_out),
        settled=settlements(lake, workflow, week),
    )  # fmt: skip
    if settings.replay and shop.replay is None:
        mix.notes.append("no replay, so nothing holds the base model's other skills: sample it once with "
                         f"`flywheel dataset replay --workflow {workflow}`")  # fmt: skip
    if settings.row_budget < allowed.row_budget and "budget" in mix.reasons():
        mix.notes.append(f"the row budget is {settings.row_budget}: `training.sft_presentations` shows so many rows once, fewer than the "
                         f"{allowed.row_budget} of `datasets.row_budget`")  # fmt: skip
    if not (rows["week"] == week).any():
        mix.notes.append("this week brought nothing new: the dataset of the weeks before is carried forward")
    kept = [whole[row["row_id"]] for row in mix.kept]
    sft = [{**{name: row[name] for name in _SFT}, "from_week": _week_of(row)} for row in kept]
    foreign = foreign_traces(lake, workflow, shop.base_sha256)
    pairs = preference_rows(kept, foreign=foreign)
    if dropped := len(preference_rows(kept)) - len(pairs):
        mix.notes.append(
            f"{dropped} pairs left out: their wrong answers are another base model's; their right ones still train"
        )
    for name, made in (("sft_dataset", sft), ("preference_dataset", pairs)):
        if made:
            refuse_leaks(leaks_in(pl.DataFrame(made, infer_schema_length=None), registry), name)
    disputed = mix.left_out.filter(reason="conflict").to_dicts()
    found = conflicts([{**row, "from_week": _week_of(row)} for row in with_payload(shop, disputed)])
    told = (
        "row_id",
        "source",
        "source_id",
        "message_index",
        "trace_id",
        "conversation_id",
        "principal_ref",
        "reason",
        "detail",
    )
    left_out = mix.left_out.filter(pl.col("reason").is_in(_LISTED)).select(told).to_dicts()
    gone = set(mix.left_out.filter(reason="withdrawn")["row_id"])
    suspicious = suspicions(kept, shop.pack, passed_before(lake, workflow, week), withdrawn=gone)
    return Build(sft, pairs, mix, found, left_out, suspicious, computed, len(held_out))


def read_candidates(shop: Workshop, week: str) -> pl.DataFrame:
    """All candidates up to a week with their near-duplicate group, as far as choosing among them needs it."""
    light = [
        name for name in TABLES["training_steps"].polars_schema() if name not in (*_PAYLOAD, "workflow", "tools_sha256")
    ]
    upto = pl.col("week") <= week
    steps = shop.lake.read_columns("training_steps", light, workflow=shop.pack.name, where=upto)
    links = shop.lake.read_columns(
        "near_duplicate_texts", ("week", "text_id", "near"), workflow=shop.pack.name, where=upto
    )
    return steps.join(groups_of(links.drop("week")), on="text_id", how="left", maintain_order="left")


def with_payload(shop: Workshop, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows with tools, messages, target and rejected message, read for these rows only; order kept."""
    if not rows:
        return []
    weeks, ids = sorted({row["week"] for row in rows}), sorted({row["row_id"] for row in rows})
    wanted = pl.col("week").is_in(weeks) & pl.col("row_id").is_in(ids)
    columns = ("week", "source_id", "message_index", *_PAYLOAD)
    found = shop.lake.read_columns("training_steps", columns, workflow=shop.pack.name, where=wanted)
    by_key = {(row["week"], row["source_id"], row["message_index"]): row for row in found.iter_rows(named=True)}
    return [{**row, **by_key[row["week"], row["source_id"], row["message_index"]]} for row in rows]


def _week_of(row: Row) -> str | None:
    return None if row["week"] == BEFORE_ALL_WEEKS else row["week"]


def _hold_out(shop: Workshop, rows: pl.DataFrame, week: str) -> None:
    """Register the groups of this week that the pack's share holds out; one commit, before any dataset is written."""
    share = shop.pack.settings.datasets.held_out
    if not share:
        return
    able = rows.filter(source="correction", kept_out="")
    trained = shop.lake.read_columns("sft_dataset", ("row_id", "near_duplicate_group"), workflow=shop.pack.name)
    groups = newly_held_out(
        able.select("week", "near_duplicate_group", "bucket", "tool").iter_rows(named=True), share, week,
        known_groups(rows, trained, week),
    )  # fmt: skip
    chosen = able.filter(pl.col("near_duplicate_group").is_in(sorted(groups))).to_dicts()
    made = {
        row["row_id"]: held_out_row(row, week, groups[row["near_duplicate_group"]])
        for row in with_payload(shop, chosen)
    }
    if made:
        shop.lake.append_new("held_out", list(made.values()), workflow=shop.pack.name, run_id=shop.run_id)
