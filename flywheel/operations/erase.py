"""`flywheel erase --principal`: a person out of every table, event, batch, inbox file, report and Dagster record, with proof.

Checkpoints that were trained on their rows are listed, not removed: whether to retire or retrain is a person's decision, and
the next week's fresh adapter is trained without the rows in any case.
"""

import gzip
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import dagster as dg

from flywheel.benchmark.forget import bury, forget_cases
from flywheel.corrections.handoff.recall import Recall, recalls
from flywheel.corrections.stores import has_store, open_store
from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel.partitions import partition_key
from flywheel.privacy.erasure import Erased, Hit, compact, erase_rows, person_rows, search
from flywheel.privacy.vault import Vault
from flywheel.settings import Settings
from flywheel.workflows.loader import find_pack, known_workflows


class Erasure(NamedTuple):
    """What an erasure did.

    Attributes:
        principal_ref: the pseudonym; it stays in the vault's tombstone so that later records are refused.
        erased: workflow -> what left the lake.
        events, inbox_lines, case_lines, reports, runs: correction events blanked; inbox lines, lines of the packs' benchmarks, report
            pages and Dagster runs removed.
        needles, searched: how many strings were looked for afterwards, in how many files.
        left: files that still hold one of them.
        recalled: batches that left the house with items of the person; their partners have to delete those.
    """

    principal_ref: str
    erased: dict[str, Erased]
    events: int
    inbox_lines: int
    case_lines: int
    reports: int
    runs: int
    needles: int
    searched: int
    left: list[Path]
    recalled: list[Recall]


def erase(settings: Settings, principal: str, *, reason: str, on: dg.DagsterInstance | None = None) -> Erasure:
    """Erase a person from every workflow of the installation. A second time does no harm and finds nothing.

    Args:
        principal: the id production logs, as it stands in the traces' source.
        on: the Dagster instance whose runs of the touched partitions are removed; None leaves Dagster alone.
    """
    lake, vault = Lake(settings.lake()), Vault(settings.vault())
    reference = vault.principal_ref(principal)
    originals = vault.originals(reference)
    erased: dict[str, Erased] = {}
    recalled: list[Recall] = []
    events = lines = case_lines = reports = runs = 0
    for workflow in known_workflows(settings.workflows()):
        places = person_rows(lake, workflow, reference)
        benchmark, tools = settings.workflows() / workflow / "benchmark", _tools_sha256(settings, workflow)
        cases = forget_cases(lake, workflow, benchmark, set(places["trace_id"]), tools)
        found = erase_rows(lake, workflow, reference, cases.case_ids)
        bury(lake, workflow, cases, tools, reason=reason, at=datetime.now(UTC))
        case_lines += cases.lines
        lines += _erase_inbox(settings.inbox(workflow), principal, set(places["source_file"]))
        if not found.rows and not found.trace_ids:
            continue
        erased[workflow] = found
        if has_store(settings, workflow):
            store = open_store(settings, workflow)
            recalled += recalls(store, found.item_ids)  # before the payloads that name what was planted are blanked
            events += store.erase_items(found.item_ids)
        for week in found.weeks:
            page = settings.report(workflow, week)
            reports += page.is_file()
            page.unlink(missing_ok=True)
            runs += _erase_runs(on, workflow, week) if on else 0
    counts = json.dumps({workflow: one.rows for workflow, one in erased.items()})
    vault.destroy(reference, at=datetime.now(UTC).isoformat(), reason=reason, counts=counts)
    ids = [trace_id for one in erased.values() for trace_id in one.trace_ids]
    needles = list(
        dict.fromkeys(
            [principal, reference, *ids, *(one.value for one in originals), *(one.surrogate for one in originals)]
        )
    )
    roots = [
        settings.home,
        *([Path(os.environ["DAGSTER_HOME"]) / ".dagster"] if on and "DAGSTER_HOME" in os.environ else []),
    ]
    hits, searched = search(roots, needles)
    left = sorted({hit.file for hit in hits if not _tombstone(hit, settings, needles, reference)})
    return Erasure(reference, erased, events, lines, case_lines, reports, runs, len(needles), searched, left, recalled)


def _tools_sha256(settings: Settings, workflow: str) -> str:
    """Hash of the pack's tools, a part of the benchmark's version; empty where the pack is broken: that does not keep a person here."""
    try:
        return find_pack(settings.workflows(), workflow).tools_sha256
    except FlywheelError:
        return ""


def _tombstone(hit: Hit, settings: Settings, needles: list[str], reference: str) -> bool:
    """The vault remembers the pseudonym, and nothing but it, so that the person's later records are refused."""
    return settings.vault() in hit.file.parents and needles[hit.needle] == reference


def _erase_inbox(inbox: Path, principal: str, files: set[str]) -> int:
    """Take the lines that name the person out of JSON-lines files; other files are named by the search afterwards."""
    removed = 0
    quoted = json.dumps(principal).encode()
    for file in sorted(inbox.rglob("*.jsonl*")) if inbox.is_dir() else []:
        packed = file.suffix == ".gz"
        if not packed and file.suffix != ".jsonl":
            continue
        try:
            text = gzip.decompress(file.read_bytes()) if packed else file.read_bytes()
        except (OSError, EOFError):
            continue
        lines = text.split(b"\n")
        kept = [line for line in lines if quoted not in line]
        if len(kept) == len(lines):
            continue
        removed += len(lines) - len(kept)
        partial = file.with_name(file.name + ".partial")
        partial.write_bytes(gzip.compress(b"\n".join(kept)) if packed else b"\n".join(kept))
        partial.replace(file)
    return removed


def _erase_runs(on: dg.DagsterInstance, workflow: str, week: str) -> int:
    """Remove the runs of a partition with their events, say so in their place, and free the pages that held them."""
    key = partition_key(week, workflow)
    records = on.get_run_records(dg.RunsFilter(tags={"dagster/partition": str(key)}))
    materialized = {
        entry.dagster_event.asset_key
        for record in records
        for entry in on.all_logs(record.dagster_run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
        if entry.dagster_event and entry.dagster_event.asset_key
    }
    for record in records:
        on.delete_run(record.dagster_run.run_id)
    for asset_key in sorted(materialized):
        # Dagster also keeps the newest event of every asset by itself; a new one takes its place.
        note = "rows of a person were erased, and with them the runs that showed them"
        on.report_runless_asset_event(dg.AssetMaterialization(asset_key, partition=key, metadata={"note": note}))
    if records:
        for file in Path(on.root_directory).rglob("*.db"):
            compact(file)
    return len(records)
