"""Under which conditions each week was measured, and the marks where two weeks are not the same measure (design.md 8.19).

A condition that nobody recorded in a week is None and breaks nothing; the next recorded one is compared with the last.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any, NamedTuple

import polars as pl

from flywheel.lake import TABLES, Lake
from flywheel.workflows.serving_settings import is_endpoint

WEEKLY_TABLES = ("production_traces", "eval_results", "promotion")
# What a line of a plot depends on: of production's failures, of the benchmark, of what corrections came from.
FAILURES = ("detectors", "tools")
BENCHMARK = (
    "core",
    "cases",
    "benchmark",
    "pack_tools",
    "scorer",
    "decoding",
    "qa_mode",
    "base_model",
    "template",
    "incumbent",
)
_MEASURED = (
    "week", "case_id", "case_cluster", "category", "slice", "arm", "epoch", "adapter_id", "success", "infra_error",
    "benchmark_version", "scorer_version", "decoding",
)  # fmt: skip


class Conditions(NamedTuple):
    """One week's conditions, None where not recorded.

    Attributes:
        detectors: version of the failure detectors.
        tools: hash of the tools that most runs were offered.
        pack_tools: hash of the pack's tools when the week was decided; the benchmark runs on them.
        core, cases: ids of the benchmark's core cases and of all; a frozen case never changes, so ids are enough.
        benchmark: version of the whole benchmark: all cases of all slices, and the pack's tools.
        scorer, decoding: as in `eval_results`.
        qa_mode: of the corrections behind the candidate.
        base_model, template: hashes of what the week's candidate was trained on. The measure stays the same, what is measured is another.
        incumbent: the endpoint that the candidate was compared with, or `ours`.
    """

    detectors: str | None = None
    tools: str | None = None
    pack_tools: str | None = None
    core: str | None = None
    cases: str | None = None
    benchmark: str | None = None
    scorer: str | None = None
    decoding: str | None = None
    qa_mode: str | None = None
    base_model: str | None = None
    template: str | None = None
    incumbent: str | None = None


def weeks_of(lake: Lake, workflow: str, until: str | None = None) -> list[str]:
    """Every Monday from the first week that has traces, an evaluation or a decision to the last, those without any included."""
    known = lake.all_lineage(workflow=workflow, tables=WEEKLY_TABLES)["week"].unique().sort().to_list()
    known = [week for week in known if until is None or week <= until]
    if not known:
        return []
    first, last = date.fromisoformat(known[0]), date.fromisoformat(until or known[-1])
    return [(first + timedelta(days=7 * n)).isoformat() for n in range((last - first).days // 7 + 1)]


def measured(lake: Lake, workflow: str, until: str | None = None) -> pl.DataFrame:
    """Scores of all weeks without the raw outputs: EVAL_RESULTS rows cut to what curves need."""
    declared = TABLES["eval_results"].polars_schema()
    columns = [name for name in _MEASURED if name in declared]
    where = None if until is None else pl.col("week") <= until
    return lake.read_columns("eval_results", columns, workflow=workflow, where=where)


def core(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of the benchmark's core, the part that stays; all rows where the table knows no slices."""
    if "slice" not in rows.columns:
        return rows
    return rows.filter(pl.col("slice").is_null() | (pl.col("slice") == "core"))


def conditions(lake: Lake, workflow: str, weeks: Sequence[str], results: pl.DataFrame) -> dict[str, Conditions]:
    """The conditions of each week; `results` are the rows of `measured`."""
    detectors = _last_of(lake.all_lineage(workflow=workflow, tables=["production_failures"]), "code_version")
    offered = lake.read_columns("production_traces", ("week", "tools_sha256"), workflow=workflow)
    offered = offered.filter(pl.col("tools_sha256").is_not_null() & (pl.col("tools_sha256") != ""))
    often = offered.group_by("week", "tools_sha256").len().sort("week", "len", "tools_sha256")
    qa_modes = _last_of(lake.read_columns("promotion", ("week", "qa_mode"), workflow=workflow), "qa_mode")
    log = lake.read_columns("promotion_log", ("week", "kind", "tools_sha256", "decided_at"), workflow=workflow)
    decided = log.filter(pl.col("kind").fill_null("decision") == "decision").sort("decided_at")
    pack_tools = _last_of(decided, "tools_sha256")
    cores, cases = _case_ids(core(results)), _case_ids(results)
    trained = lake.read_columns("checkpoint", ("week", "base_model_sha256", "chat_template_sha256"), workflow=workflow)
    bases, templates = _last_of(trained, "base_model_sha256"), _last_of(trained, "chat_template_sha256")
    incumbents = {
        week: adapter if is_endpoint(adapter) else "ours"
        for week, adapter in _last_of(results.filter(arm="incumbent"), "adapter_id").items()
    }
    return {
        week: Conditions(
            detectors.get(week), _last_of(often, "tools_sha256").get(week), pack_tools.get(week), cores.get(week), cases.get(week),
            _last_of(results, "benchmark_version").get(week), _last_of(results, "scorer_version").get(week),
            _last_of(results, "decoding").get(week), qa_modes.get(week), bases.get(week), templates.get(week),
            incumbents.get(week),
        )
        for week in weeks
    }  # fmt: skip


def marks(known: Mapping[str, Conditions], names: Iterable[str]) -> dict[str, list[str]]:
    """Week -> what changed since the last week that recorded it, in words; weeks without a change have an empty list."""
    last: dict[str, Any] = {}
    found: dict[str, list[str]] = {}
    for week in sorted(known):
        changed = set()
        for name in names:
            value = getattr(known[week], name)
            if value is not None and last.setdefault(name, value) != value:
                changed.add(name)
                last[name] = value
        found[week] = _words(changed)
    return found


def breaks(labels: Sequence[str]) -> bool:
    """Whether a line ends at a week with these marks: all do that but those of cases added outside the core, of another candidate and of another incumbent."""
    return any(label not in _UNBROKEN for label in labels)


_ADDED = "cases added, core unchanged"
_UNBROKEN = (_ADDED, "other base model", "other template", "other kind of incumbent")
_NAMES = {
    "detectors": "other detectors", "tools": "other tools", "pack_tools": "other tools", "core": "other benchmark", "scorer": "other scorer",
    "decoding": "other decoding", "qa_mode": "other QA mode", "base_model": "other base model", "template": "other template",
    "incumbent": "other kind of incumbent",
}  # fmt: skip


def _words(changed: set[str]) -> list[str]:
    """A new version of the whole benchmark means other tools, unless other cases explain it: the log of old weeks names none."""
    if "benchmark" in changed and not changed & {"core", "cases"}:
        changed = changed | {"pack_tools"}
    words = list(dict.fromkeys(text for name, text in _NAMES.items() if name in changed))
    return [*words, _ADDED] if "cases" in changed and "core" not in changed else words


def _case_ids(results: pl.DataFrame) -> dict[str, str]:
    by_week = results.group_by("week").agg(pl.col("case_id").unique().sort().str.join("/"))
    return _last_of(by_week, "case_id")


def _last_of(frame: pl.DataFrame, column: str) -> dict[str, str]:
    return dict(frame.select("week", column).iter_rows())
