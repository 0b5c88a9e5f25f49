"""What there is to erase: everything that names a person is looked for before the first row of theirs goes."""

import polars as pl

from flywheel.benchmark.forget import find_cases
from flywheel.corrections.erasing import items_of
from flywheel.corrections.handoff.recall import recalls
from flywheel.corrections.stores import has_store, open_store
from flywheel.errors import FlywheelError
from flywheel.failures.selection import item_id
from flywheel.lake import Lake
from flywheel.privacy.erasure import items_in, person_rows
from flywheel.privacy.pending import Found
from flywheel.settings import Settings
from flywheel.workflows.loader import find_pack


def look(settings: Settings, lake: Lake, workflow: str, principal_ref: str, found: Found) -> None:
    """Add to `found` what lake, pack and store know of a person in a workflow. Nothing else is changed.

    Items are found three ways: by the rows that name them, by what their ids are derived from (a run and its content, also where no
    batch holds it now), and by what was planted in the store, in batches that were replaced, too.
    """
    places = person_rows(lake, workflow, principal_ref)
    found.trace_ids |= set(places["trace_id"])
    found.conversation_ids |= set(places["conversation_id"].drop_nulls())
    found.source_files |= set(places["source_file"].drop_nulls())
    found.weeks |= set(places["week"])
    cases = find_cases(
        lake, workflow, settings.workflows() / workflow / "benchmark", found.trace_ids, contract_sha256(settings, workflow)
    )  # fmt: skip
    found.case_ids |= set(cases.case_ids)
    if cases.contents and not found.contents:
        found.version_before = cases.version_before
    found.contents |= set(cases.contents)
    found.item_ids |= items_in(lake, workflow, principal_ref, found)
    theirs = pl.col("principal_ref") == principal_ref
    runs = lake.read_columns("production_traces", ("trace_id", "content_sha256"), workflow=workflow, where=theirs)
    found.item_ids |= {item_id(trace_id, content) for trace_id, content in runs.rows()}
    if has_store(settings, workflow):
        store = open_store(settings, workflow)
        found.item_ids |= items_of(
            store, principal_ref=principal_ref, trace_ids=found.trace_ids, conversation_ids=found.conversation_ids,
            context_ids=_contexts(lake, workflow, principal_ref, found),
        )  # fmt: skip
        for one in recalls(store, found.item_ids):
            known = found.handed_out.get(one.batch, ([], []))
            both = tuple(sorted({*old, *new}) for old, new in zip(known, (one.manifests, one.item_ids), strict=True))
            found.handed_out[one.batch] = (both[0], both[1])


def contract_sha256(settings: Settings, workflow: str) -> str:
    """Hash of the pack's tools and response schemas, a part of the benchmark's version; empty where the pack is broken: that does not keep a person here."""
    try:
        return find_pack(settings.workflows(), workflow).contract_sha256
    except FlywheelError:
        return ""


def _contexts(lake: Lake, workflow: str, principal_ref: str, found: Found) -> set[str]:
    """Contexts in conflict to which an answer comes from their runs."""
    theirs = pl.col("principal_ref") == principal_ref
    theirs |= pl.col("trace_id").is_in(sorted(found.trace_ids))
    theirs |= pl.col("conversation_id").is_in(sorted(found.conversation_ids))
    return set(lake.read_columns("dataset_conflicts", ("context_id",), workflow=workflow, where=theirs)["context_id"])
