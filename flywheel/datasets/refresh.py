"""Candidates and near-duplicate texts, week by week: what a week brought is computed once and never again while nothing changed.

training_steps         depends on that week's sources and the rules only
near_duplicate_texts   depends on the texts of that week and of all weeks before it; history is looked up, not recomputed
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from flywheel.chat.render import Renderer
from flywheel.datasets.candidates import Rules, candidate_row
from flywheel.datasets.replay import ReplaySet, read_replay
from flywheel.datasets.steps import Step, steps_of_correction, steps_of_demonstration, user_text
from flywheel.datasets.verified import verified_steps
from flywheel.lake import TABLES, Lake
from flywheel.lake.dataset_tables import BEFORE_ALL_WEEKS
from flywheel.similarity.incremental import BAND_COLUMNS, band_columns, near_links, normalised
from flywheel.similarity.minhash import VERSION as MINHASH_VERSION
from flywheel.toolcalls.arguments import sha256_of
from flywheel.workflows.pack import Pack

STEPS_VERSION, TEXTS_VERSION = "2", "1"
_SOURCES = ("corrected_traces", "production_traces", "production_failures")
_CACHES = ("training_steps", "near_duplicate_texts")


class Workshop(NamedTuple):
    """Where candidates are made: the lake, the pack, its renderer, the hash of the base model behind it, and what that replays."""

    lake: Lake
    pack: Pack
    renderer: Renderer
    base_sha256: str
    run_id: str = ""
    replay: ReplaySet | None = None


def rules_of(pack: Pack) -> Rules:
    """The pack's rules for candidates."""
    settings = pack.settings.datasets
    return Rules(
        pack.settings.training.max_prompt_tokens,
        settings.context_policy,
        settings.remedies,
        pack.tools,
        settings.tool_migrations,
        pack.responses,
    )


def refresh(shop: Workshop, until: str) -> list[str]:
    """Bring both tables up to date for all weeks up to `until`; returns the weeks whose candidates were computed anew."""
    written = shop.lake.read_columns(
        "lineage", ("table_name", "week", "fingerprint", "content_sha256"), workflow=shop.pack.name,
        where=pl.col("table_name").is_in((*_SOURCES, "demonstrations", *_CACHES)),
    )  # fmt: skip
    known = {(row["table_name"], row["week"]): row for row in written.iter_rows(named=True)}
    weeks = sorted({week for (table, week) in known if table == "corrected_traces" and week <= until})
    anew: list[str] = []
    chain, decisive = TEXTS_VERSION, _decisive(shop)
    for week in (BEFORE_ALL_WEEKS, *weeks):
        sources = _fingerprint(shop, week, known, decisive)
        own = known.get(("training_steps", week))
        texts = known.get(("near_duplicate_texts", week))
        chain = sha256_of([chain, sources])
        if own is None or own["fingerprint"] != sources:
            rows = [candidate_row(step, shop.renderer, rules_of(shop.pack)) for step in _steps(shop, week)]
            said = _texts(rows)
            _replace(shop, "training_steps", week, [_without_text(row) for row in rows], sources)
            anew.append(week)
        elif texts is None or texts["fingerprint"] != chain:
            steps = shop.lake.read_columns("training_steps", ("text_id", "conversation_id", "principal_ref", "messages"),
                                           workflow=shop.pack.name, where=pl.col("week") == week)  # fmt: skip
            said = _texts([{**row, "text": _said(row["messages"])} for row in steps.iter_rows(named=True)])
        else:
            continue
        if texts is None or texts["fingerprint"] != chain:
            _replace(shop, "near_duplicate_texts", week, _linked(shop, week, said), chain)
    return anew


def _decisive(shop: Workshop) -> str:
    """Hash of what decides the candidates of every week: versions, base model, template and the pack's rules."""
    rules = rules_of(shop.pack).values()
    return sha256_of([STEPS_VERSION, MINHASH_VERSION, shop.base_sha256, shop.renderer.template_sha256, rules])


def _fingerprint(shop: Workshop, week: str, known: Mapping[tuple[str, str], Mapping[str, Any]], decisive: str) -> str:
    """Hash of everything that decides a week's candidates."""
    if week == BEFORE_ALL_WEEKS:
        shown = known.get(("demonstrations", "-"))
        replay = [step.source_id for step in read_replay(shop.replay)]
        return sha256_of([decisive, shown["content_sha256"] if shown else "", replay])
    verifiers = shop.pack.settings.verifiers
    tables = _SOURCES if verifiers else ("corrected_traces",)
    return sha256_of(
        [
            decisive,
            list(verifiers),
            [known[table, week]["content_sha256"] for table in tables if (table, week) in known],
        ]
    )


def _steps(shop: Workshop, week: str) -> list[Step]:
    lake, workflow = shop.lake, shop.pack.name
    if week == BEFORE_ALL_WEEKS:
        shown = lake.read_weeks("demonstrations", workflow=workflow)
        steps = [step for row in shown.iter_rows(named=True) for step in steps_of_demonstration(row)]
        return steps + read_replay(shop.replay)
    corrections = lake.read_partition("corrected_traces", workflow=workflow, week=week)
    ids = corrections["trace_id"].drop_nulls().to_list()
    runs = lake.read_columns("production_traces", ("trace_id", "tenant_id", "source_file"), workflow=workflow,
                             where=pl.col("trace_id").is_in(ids))  # fmt: skip
    by_trace = {run["trace_id"]: run for run in runs.iter_rows(named=True)}
    steps = [
        step
        for row in corrections.iter_rows(named=True)
        for step in steps_of_correction(row, by_trace.get(row["trace_id"]))
    ]
    if shop.pack.settings.verifiers and lake.has_partition("production_traces", workflow=workflow, week=week):
        traces = lake.read_partition("production_traces", workflow=workflow, week=week)
        failed = lake.read_columns(
            "production_failures", ("trace_id",), workflow=workflow, where=pl.col("week") == week
        )
        tools = dict(lake.read_weeks("toolsets", workflow=workflow).select("tools_sha256", "tools").rows())
        steps += verified_steps(
            traces.iter_rows(named=True), tools, shop.pack.settings.verifiers, set(failed["trace_id"])
        )
    return steps


def _linked(shop: Workshop, week: str, said: pl.DataFrame) -> pl.DataFrame:
    """NEAR_DUPLICATE_TEXTS rows of the texts that this week is the first to bring."""
    lake, workflow = shop.lake, shop.pack.name
    history = lake.read_columns("near_duplicate_texts", ("week", "text_id", *BAND_COLUMNS), workflow=workflow,
                                where=pl.col("week") < week).drop("week")  # fmt: skip
    new = said.join(history.select("text_id"), on="text_id", how="anti").sort("text_id")
    new = pl.concat([new, band_columns(new["text"])], how="horizontal") if new.height else new.with_columns(
        [pl.lit(None, pl.Int32).alias(name) for name in BAND_COLUMNS]
    )  # fmt: skip

    def texts_of(ids: Sequence[str]) -> Mapping[str, str]:
        if not ids:
            return {}  # no file of a year of weeks is opened for nothing
        found = lake.read_columns("near_duplicate_texts", ("text_id", "text"), workflow=workflow,
                                  where=(pl.col("week") < week) & pl.col("text_id").is_in(list(ids)))  # fmt: skip
        return dict(found.select("text_id", "text").rows())

    near = near_links(new, history, texts_of)
    links = [json.dumps(near.get(key, [])) for key in new["text_id"]]
    return new.with_columns(
        pl.lit(MINHASH_VERSION, pl.Int32).alias("minhash_version"), pl.Series("near", links, dtype=pl.String)
    )


def _texts(rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """text_id, conversation_id, principal_ref and normalised text of distinct texts; the smallest conversation stands for them."""
    schema = {"text_id": pl.String, "conversation_id": pl.String, "principal_ref": pl.String, "text": pl.String}
    found = [(row["text_id"], row["conversation_id"], row["principal_ref"], normalised(row["text"])) for row in rows]
    frame = pl.DataFrame(found, schema=schema, orient="row")
    return frame.sort("text_id", "conversation_id", "principal_ref").unique(
        "text_id", keep="first", maintain_order=True
    )


def _said(messages: str) -> str:
    return user_text(json.loads(messages))


def _without_text(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "text"}


def _replace(
    shop: Workshop, table: str, week: str, rows: Sequence[Mapping[str, Any]] | pl.DataFrame, fingerprint: str
) -> None:
    if not len(rows):
        rows = pl.DataFrame(
            schema={k: v for k, v in TABLES[table].polars_schema().items() if k not in ("week", "workflow")}
        )
    shop.lake.replace_partition(table, rows, workflow=shop.pack.name, week=week, fingerprint=fingerprint,
                                code_version=STEPS_VERSION, run_id=shop.run_id)  # fmt: skip
