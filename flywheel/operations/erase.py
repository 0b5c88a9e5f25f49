"""`flywheel erase --principal`: a person out of every table, event, batch, inbox file, report and Dagster record, with proof.

Checkpoints that were trained on their rows are listed, not removed: whether to retire or retrain is a person's decision, and
the next week's adapter is trained without the rows in any case, and goes on from none that knew them (`training.start`).
"""

import gzip
import json
import os
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import dagster as dg

from flywheel.benchmark.forget import Forgotten, bury, forget_cases, forget_names
from flywheel.corrections.handoff.recall import Recall
from flywheel.corrections.stores import has_store, open_store
from flywheel.datasets.week_zero.ledger import forget, ledger_of
from flywheel.datasets.week_zero.prompts import OF_A_RUN, prompt_id
from flywheel.lake import Lake
from flywheel.lake.place import as_folder
from flywheel.operations.alone import alone
from flywheel.operations.backup import known_backups
from flywheel.operations.erase_scope import contract_sha256, look
from flywheel.partitions import partition_key
from flywheel.privacy.erasure import Erased, Hit, compact, erase_rows, scrub_tables, search
from flywheel.privacy.escapes import forms
from flywheel.privacy.pending import Found, Pending
from flywheel.privacy.vault import Vault
from flywheel.settings import Settings
from flywheel.workflows.loader import known_workflows

_TELLING = 8


class Erasure(NamedTuple):
    """What an erasure did.

    Attributes:
        principal_ref: the pseudonym; it stays in the vault's tombstone so that later records are refused.
        erased: workflow -> what left the lake.
        events, inbox_lines, case_lines, reports, runs: correction events blanked; inbox lines, lines of the packs' benchmarks, report
            pages and Dagster runs removed. Of this run alone where it finished one that was killed; `erased` and `recalled` are of both.
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

    One that was killed is finished by the same command: what was found is written down before anything goes (`privacy/pending.py`).

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
    originals, before = vault.originals(reference), reference in vault.erased()
    pending = Pending(vault.folder, reference)
    pending.surrogates.update(one.surrogate for one in originals)
    everywhere = {workflow: pending.of(workflow) for workflow in known_workflows(settings.workflows())}
    for workflow, found in everywhere.items():
        look(settings, lake, workflow, reference, found)
    pending.save()
    counts: Counter[str] = Counter()
    for workflow, found in everywhere.items():
        counts += _take_out(settings, lake, workflow, principal, reference, pending, reason, on)
        # Their rows may have left a table before: then only its old files hold them, and nothing that is current says so.
        scrub_tables(lake, workflow, every=found.anything() or before or bool(originals))
    erased = {workflow: _told(found) for workflow, found in everywhere.items() if found.anything()}
    if not any(one.principal_ref == reference and one.at >= pending.begun_at for one in vault.tombstones()):
        told = json.dumps({workflow: one.rows for workflow, one in erased.items()})
        vault.destroy(reference, at=datetime.now(UTC).isoformat(), reason=reason, by=by, counts=told)
    ids = [trace_id for one in erased.values() for trace_id in one.trace_ids]
    conversations = {one for found in everywhere.values() for one in found.conversation_ids}
    needles = list(
        dict.fromkeys(
            [
                principal,
                reference,
                *ids,
                *_telling(conversations),
                *(form for one in originals for form in forms(one.value)),
                *sorted(pending.surrogates),
            ]
        )
    )
    left, searched = _search(settings, needles, reference, {pending.file}, on)
    if not left:  # else the next run, after these files were seen to, has to know what to search for
        pending.done()
    recalled = [
        Recall(batch, *told) for found in everywhere.values() for batch, told in sorted(found.handed_out.items())
    ]
    return Erasure(
        reference, erased, counts["events"], counts["inbox"], counts["cases"], counts["named"], counts["reports"], counts["runs"],
        len(needles), searched, left, recalled, [entry["folder"] for entry in known_backups(settings)], counts["demonstrations"],
    )  # fmt: skip


def _take_out(
    settings: Settings, lake: Lake, workflow: str, principal: str, reference: str, pending: Pending, reason: str,
    on: dg.DagsterInstance | None,
) -> Counter[str]:  # fmt: skip
    """Take a person out of one workflow; each step may be done a second time. The store comes first: the lake's rows say what is theirs in it."""
    found, counts = pending.of(workflow), Counter[str]()
    if found.anything() and has_store(settings, workflow):
        drafts = {prompt_id(f"{OF_A_RUN}{trace_id}") for trace_id in found.trace_ids}
        counts["events"] = open_store(settings, workflow).erase_items(sorted(found.item_ids | drafts))
    benchmark, tools = settings.workflows() / workflow / "benchmark", contract_sha256(settings, workflow)
    counts["cases"] = forget_cases(lake, workflow, benchmark, found.trace_ids, tools).lines
    counts["named"] = forget_names(lake, workflow, benchmark, found.trace_ids, found.conversation_ids)
    erase_rows(lake, workflow, reference, found, pending.save)
    gone = Forgotten(sorted(found.case_ids), sorted(found.contents), found.version_before, 0)
    bury(lake, workflow, gone, tools, reason=reason, at=datetime.now(UTC))
    counts["inbox"] = _erase_inbox(settings.inbox(workflow), principal)
    ledger = ledger_of(settings.bootstrap(), settings.workflows() / workflow)
    counts["demonstrations"] = forget(ledger, reference, sorted(found.trace_ids))
    for week in sorted(found.weeks):
        page = settings.report(workflow, week)
        counts["reports"] += page.is_file()
        page.unlink(missing_ok=True)
        counts["runs"] += _erase_runs(on, workflow, week) if on else 0
    return counts


def _told(found: Found) -> Erased:
    return Erased(
        found.rows_by_table(), sorted(found.trace_ids), sorted(found.item_ids), sorted(found.weeks), sorted(found.adapters)
    )  # fmt: skip


def _search(
    settings: Settings, needles: list[str], reference: str, but: set[Path], on: dg.DagsterInstance | None
) -> tuple[list[Path], int]:
    """Files that still hold one of the strings, and how many were searched.

    Args:
        but: files that go when the search is over.
    """
    roots = [
        settings.home,
        *([Path(os.environ["DAGSTER_HOME"]) / ".dagster"] if on and "DAGSTER_HOME" in os.environ else []),
    ]
    with as_folder(settings.lake()) as tables:
        hits, searched = search([*roots, tables], needles)
        found = {hit.file for hit in hits if not _tombstone(hit, settings, needles, reference)} - but
        return sorted(_named(file, tables, settings) for file in found), searched


def _named(file: Path, tables: Path, settings: Settings) -> Path:
    """A file of the lake by the address of the lake, which a bucket's copies do not carry."""
    return Path(str(settings.lake())) / file.relative_to(tables) if tables in file.parents else file


def _telling(conversations: set[str]) -> list[str]:
    """Conversation ids worth a search of bytes: production may call one `1`, which stands everywhere."""
    return sorted(one for one in conversations if len(one) >= _TELLING)


def _tombstone(hit: Hit, settings: Settings, needles: list[str], reference: str) -> bool:
    """The vault remembers the pseudonym, and nothing but it, so that the person's later records are refused."""
    return settings.vault() in hit.file.parents and needles[hit.needle] == reference


def _erase_inbox(inbox: Path, principal: str) -> int:
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
