"""`flywheel erase --principal`: a person out of every table, event, batch, inbox file, report and Dagster record, with proof.

Checkpoints that were trained on their rows are listed, not removed: whether to retire or retrain is a person's decision, and
the next week's adapter is trained without the rows in any case, and goes on from none that knew them (`training.start`).
"""

import gzip
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import dagster as dg

from flywheel.benchmark.forget import bury, forget_cases, forget_names
from flywheel.corrections.handoff.recall import Recall, recalls
from flywheel.corrections.stores import has_store, open_store
from flywheel.datasets.week_zero.ledger import forget, ledger_of
from flywheel.datasets.week_zero.prompts import OF_A_RUN, prompt_id
from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel.lake.place import as_folder
from flywheel.operations.alone import alone
from flywheel.operations.backup import known_backups
from flywheel.partitions import partition_key
from flywheel.privacy.erasure import Erased, Hit, compact, erase_rows, person_rows, search
from flywheel.privacy.vault import Vault
from flywheel.settings import Settings
from flywheel.workflows.loader import find_pack, known_workflows

_TELLING = 8


class Erasure(NamedTuple):
    """What an erasure did.

    Attributes:
        principal_ref: the pseudonym; it stays in the vault's tombstone so that later records are refused.
        erased: workflow -> what left the lake.
        events, inbox_lines, case_lines, reports, runs: correction events blanked; inbox lines, lines of the packs' benchmarks, report
            pages and Dagster runs removed.
        cases_named: benchmark cases of others that named their runs or conversations, and forgot them.
        needles, searched: how many strings were looked for afterwards, in how many files.
        left: files that still hold one of them.
        recalled: batches that left the house with items of the person; their partners have to delete those.
        backups: folders of backups that were made before and are still there: they hold the person as the house did.
        demonstrations: lines of week zero's ledger and of the pack's demonstrations that were runs of the person.
    """

    principal_ref: str
    erased: dict[str, Erased]
    events: int
    inbox_lines: int
    case_lines: int
    cases_named: int
    reports: int
    runs: int
    needles: int
    searched: int
    left: list[Path]
    recalled: list[Recall]
    backups: list[str]
    demonstrations: int = 0


def erase(settings: Settings, principal: str, *, reason: str, by: str, on: dg.DagsterInstance | None = None) -> Erasure:
    """Erase a person from every workflow of the installation. A second time does no harm and finds nothing.

    Args:
        principal: the id production logs, as it stands in the traces' source.
        reason, by: why and by whom, for the tombstone.
        on: the Dagster instance whose runs of the touched partitions are removed; None leaves Dagster alone.

    Raises FlywheelError while a backup or a prune is running.
    """
    with alone(settings, "an erasure"):
        return _erase(settings, principal, reason, by, on)


def _erase(settings: Settings, principal: str, reason: str, by: str, on: dg.DagsterInstance | None) -> Erasure:
    lake, vault = Lake(settings.lake()), Vault(settings.vault())
    reference = vault.principal_ref(principal)
    originals = vault.originals(reference)
    erased: dict[str, Erased] = {}
    recalled: list[Recall] = []
    conversations: set[str] = set()
    events = lines = case_lines = named = reports = runs = shown = 0
    for workflow in known_workflows(settings.workflows()):
        places = person_rows(lake, workflow, reference)
        benchmark, tools = settings.workflows() / workflow / "benchmark", _contract_sha256(settings, workflow)
        cases = forget_cases(lake, workflow, benchmark, set(places["trace_id"]), tools)
        theirs = set(places["conversation_id"].drop_nulls())
        named += forget_names(lake, workflow, benchmark, set(places["trace_id"]), theirs)
        conversations |= theirs
        found = erase_rows(lake, workflow, reference, cases.case_ids)
        bury(lake, workflow, cases, tools, reason=reason, at=datetime.now(UTC))
        case_lines += cases.lines
        lines += _erase_inbox(settings.inbox(workflow), principal, set(places["source_file"]))
        ledger = ledger_of(settings.bootstrap(), settings.workflows() / workflow)
        shown += forget(ledger, reference, places["trace_id"].to_list())
        if not found.rows and not found.trace_ids:
            continue
        erased[workflow] = found
        if has_store(settings, workflow):
            store = open_store(settings, workflow)
            recalled += recalls(store, found.item_ids)  # before the payloads that name what was planted are blanked
            drafts = [prompt_id(f"{OF_A_RUN}{trace_id}") for trace_id in found.trace_ids]
            events += store.erase_items([*found.item_ids, *drafts])
        for week in found.weeks:
            page = settings.report(workflow, week)
            reports += page.is_file()
            page.unlink(missing_ok=True)
            runs += _erase_runs(on, workflow, week) if on else 0
    counts = json.dumps({workflow: one.rows for workflow, one in erased.items()})
    vault.destroy(reference, at=datetime.now(UTC).isoformat(), reason=reason, by=by, counts=counts)
    ids = [trace_id for one in erased.values() for trace_id in one.trace_ids]
    needles = list(
        dict.fromkeys(
            [
                principal,
                reference,
                *ids,
                *_telling(conversations),
                *(one.value for one in originals),
                *(one.surrogate for one in originals),
            ]
        )
    )
    roots = [
        settings.home,
        *([Path(os.environ["DAGSTER_HOME"]) / ".dagster"] if on and "DAGSTER_HOME" in os.environ else []),
    ]
    with as_folder(settings.lake()) as tables:
        hits, searched = search([*roots, tables], needles)
        left = sorted(
            {_named(hit.file, tables, settings) for hit in hits if not _tombstone(hit, settings, needles, reference)}
        )
    return Erasure(
        reference, erased, events, lines, case_lines, named, reports, runs, len(needles), searched, left, recalled,
        [entry["folder"] for entry in known_backups(settings)], shown,
    )  # fmt: skip


def _named(file: Path, tables: Path, settings: Settings) -> Path:
    """A file of the lake by the address of the lake, which a bucket's copies do not carry."""
    return Path(str(settings.lake())) / file.relative_to(tables) if tables in file.parents else file


def _telling(conversations: set[str]) -> list[str]:
    """Conversation ids worth a search of bytes: production may call one `1`, which stands everywhere."""
    return sorted(one for one in conversations if len(one) >= _TELLING)


def _contract_sha256(settings: Settings, workflow: str) -> str:
    """Hash of the pack's tools and response schemas, a part of the benchmark's version; empty where the pack is broken: that does not keep a person here."""
    try:
        return find_pack(settings.workflows(), workflow).contract_sha256
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
