"""Lineage of one row, both ways, answered from the lake.

    back    row -> correction -> failure -> run -> inbox file, record and byte offset
    forth   row -> dataset version -> checkpoint -> evaluation -> verdict -> what serves

What goes here: finding the links. What does not: how a checkpoint is explained (`why.py`), printing (`cli/lineage.py`).
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import polars as pl

from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel.settings import Settings
from flywheel.traces.records import Inbox
from flywheel.workflows.pack import Pack


class Link(NamedTuple):
    """One thing in a lineage: what it is, its id, and what is said about it, in the order a person reads it."""

    kind: str
    name: str
    facts: dict[str, Any]


class Lineage(NamedTuple):
    """What leads to an id and what follows from it."""

    back: list[Link]
    forth: list[Link]


def trace_id_lineage(lake: Lake, settings: Settings, pack: Pack, wanted: str) -> Lineage:
    """The lineage of a dataset row, pair, correction, batch item, failure, demonstration or production run, by its id.

    Raises FlywheelError when no table has the id.
    """
    origin = _origin(lake, pack.name, wanted)
    if origin is None:
        raise FlywheelError(f"no row, pair, correction, item, failure, demonstration or run has the id {wanted!r}",
                            where=f"workflow {pack.name}", remedy="take an id from a table in the UI; say --workflow for another pack")  # fmt: skip
    column, value = origin
    return Lineage(_back(lake, settings, pack, column, value), _forth(lake, pack.name, column, value, wanted))


def _origin(lake: Lake, workflow: str, wanted: str) -> tuple[str, str] | None:
    """(column, value) that name the source: trace_id where a run is behind it, else source_id."""
    for table, key in (("production_traces", "trace_id"), ("production_traces", "source_id"), ("production_failures", "failure_id"),
                       ("correction_batch", "item_id"), ("corrected_traces", "correction_id"), ("sft_dataset", "row_id"),
                       ("preference_dataset", "row_id"), ("training_steps", "row_id"), ("training_steps", "source_id")):  # fmt: skip
        carried = "source_id" if table in ("sft_dataset", "preference_dataset", "training_steps") else "trace_id"
        found = lake.read_columns(
            table, list({key, "trace_id", carried}), workflow=workflow, where=pl.col(key) == wanted
        )
        if found.height:
            row = found.row(0, named=True)
            return ("trace_id", row["trace_id"]) if row["trace_id"] else ("source_id", row[carried])
    return None


def _demonstrations(rows: pl.DataFrame) -> list[Link]:
    facts = rows.select("annotator", "annotator_kind", "reviewer", "qa_mode", "source_file").to_dicts()
    return [Link("demonstration", key, told) for key, told in zip(rows["demonstration_id"], facts, strict=True)]


def _back(lake: Lake, settings: Settings, pack: Pack, column: str, value: str) -> list[Link]:
    workflow = pack.name
    demonstrations = lake.read_weeks("demonstrations", workflow=workflow)
    if column == "source_id":
        shown = _demonstrations(demonstrations.filter(demonstration_id=value))
        return shown or [Link("replay", value, {"source": "the pack's replay/"})]
    links = _demonstrations(demonstrations.filter(trace_id=value))  # old runs of week zero
    for row in _rows(lake, "corrected_traces", workflow, value):
        links.append(
            Link("correction", row["correction_id"], {
                "week": row["week"], "bucket": row["bucket"], "cluster": row["failure_cluster"], "annotator": row["annotator"],
                "reviewer": row["reviewer"], "adjudicator": row["adjudicator"], "auditor": row["auditor"], "qa_mode": row["qa_mode"],
                "batch": row["batch_version"], "accepted_at": str(row["accepted_at"]),
            })
        )  # fmt: skip
    for row in _rows(lake, "production_failures", workflow, value):
        evidence = json.loads(row["evidence"] or "[]")
        facts = {
            "week": row["week"],
            "bucket": row["bucket"],
            "severity": row["severity"],
            "message": row["message_index"],
        }
        links.append(Link("failure", row["failure_id"], {**facts, "evidence": evidence[0] if evidence else ""}))
    for row in _rows(lake, "production_traces", workflow, value):
        facts = {
            "week": row["week"],
            "source": f"{row['source_system']} {row['source_id']}",
            "adapter": row["adapter_id"],
        }
        links.append(Link("run", row["trace_id"], {**facts, "started_at": str(row["started_at"])}))
        links.append(Link("inbox file", row["source_file"] or "?", _place(settings, pack, row)))
    return links


def _place(settings: Settings, pack: Pack, row: Mapping[str, Any]) -> dict[str, Any]:
    """Record and byte offset of a run in its inbox file; the file is read to count."""
    inbox = Inbox(pack.settings.traces.inbox or str(settings.inbox(pack.name)))
    number = row["source_line"]
    for file in inbox.files():
        if file.name == row["source_file"]:
            offset = next((record.offset for record in inbox.records(file) if record.number == number), None)
            if offset is not None:
                return {"record": number, "byte offset": offset}
    return {"record": number, "byte offset": "unknown: the file is no longer in the inbox as it was read"}


def _forth(lake: Lake, workflow: str, column: str, value: str, wanted: str) -> list[Link]:
    links: list[Link] = []
    where = pl.col("source_id").is_in(_sources(lake, workflow, column, value))
    columns = ("week", "row_id", "source", "source_id", "bucket", "from_week")
    rows = lake.read_columns("sft_dataset", columns, workflow=workflow, where=where)
    pairs = lake.read_columns("preference_dataset", ("week", "row_id", "source_id"), workflow=workflow, where=where)
    out = lake.read_columns(
        "dataset_left_out",
        ("week", "row_id", "source_id", "message_index", "reason", "detail"),
        workflow=workflow,
        where=where,
    )
    if wanted in set(rows["row_id"]) | set(pairs["row_id"]):
        rows, pairs = rows.filter(row_id=wanted), pairs.filter(row_id=wanted)
    for week in sorted({*rows["week"], *pairs["week"], *out["week"]}):
        mine, paired, refused = (frame.filter(week=week) for frame in (rows, pairs, out))
        for row in refused.iter_rows(named=True):
            links.append(
                Link("left out", row["row_id"], {"week": week, "reason": row["reason"], "detail": row["detail"]})
            )
        if not mine.height and not paired.height:
            continue
        known = lake.lineage("sft_dataset", workflow=workflow, week=week)
        ids = [*mine["row_id"], *paired["row_id"]]
        facts = {
            "week": week,
            "delta version": known.version if known else "?",
            "rows": mine.height,
            "pairs": paired.height,
        }
        links.append(Link("dataset", ", ".join(ids[:4]) + (" ..." if len(ids) > 4 else ""), facts))
        links += checkpoint_links(lake, workflow, week, set(mine["row_id"]))
    return links or [Link("dataset", "none", {"reason": "no dataset has it (yet)"})]


def checkpoint_links(lake: Lake, workflow: str, week: str, row_ids: set[str]) -> list[Link]:
    """What became of a week's dataset: checkpoint, evaluation, verdict."""
    trained = lake.read_columns(
        "checkpoint",
        ("week", "adapter_id", "sft_rows", "preference_rows", "start_adapter_id"),
        workflow=workflow,
        where=pl.col("week") == week,
    )
    if not trained.height:
        return [Link("checkpoint", "none", {"week": week, "reason": "nothing was trained on it"})]
    row = trained.row(0, named=True)
    known = lake.lineage("checkpoint", workflow=workflow, week=week)
    version = json.loads(known.inputs).get(f"sft_dataset/{week}") if known else None
    facts = {"week": week, "rows": row["sft_rows"], "pairs": row["preference_rows"], "trained on version": version}
    if row["start_adapter_id"]:
        facts["went on from"] = row["start_adapter_id"]
    if row_ids and version is not None:
        facts["row is in that version"] = _trained_on(lake, workflow, week, version, row_ids)
    links = [Link("checkpoint", row["adapter_id"], facts)]
    results = lake.read_columns(
        "eval_results", ("week", "arm", "success", "case_id"), workflow=workflow, where=pl.col("week") == week
    )
    for arm in ("candidate", "incumbent"):
        own = results.filter(arm=arm)
        if own.height:
            links.append(
                Link(
                    "evaluation",
                    arm,
                    {"rows": own.height, "success": f"{int(own['success'].sum() or 0)} of {own['success'].count()}"},
                )
            )
    for verdict in lake.read_weeks("promotion", workflow=workflow).filter(week=week).iter_rows(named=True):
        reasons = json.loads(verdict["reasons"])
        links.append(Link("verdict", verdict["verdict"], {"decision": verdict["decision_id"], "reason": reasons[0] if reasons else "",
                                                          "serves after it": verdict["served_adapter_id"]}))  # fmt: skip
    return links


def _trained_on(lake: Lake, workflow: str, week: str, version: int, row_ids: set[str]) -> str:
    """Whether the rows stand in the very version of the dataset that was trained on, by reading that version."""
    try:
        then = set(lake.read_partition("sft_dataset", workflow=workflow, week=week, version=version)["row_id"])
    except Exception:  # an erasure gives old versions up
        return "unknown: that version was given up by an erasure"
    return f"{len(row_ids & then)} of {len(row_ids)}"


def _sources(lake: Lake, workflow: str, column: str, value: str) -> list[str]:
    found = lake.read_columns("training_steps", ("source_id",), workflow=workflow, where=pl.col(column) == value)
    return found["source_id"].unique().sort().to_list()


def _rows(lake: Lake, table: str, workflow: str, trace_id: str) -> list[dict[str, Any]]:
    every = [name for name in lake.empty(table).columns if name not in ("messages", "tools")]
    return lake.read_columns(table, every, workflow=workflow, where=pl.col("trace_id") == trace_id).to_dicts()
