"""`flywheel audit`: who did what with authority, when and why, joined from the places that record it. Nothing is stored here.

    promote, rollback, override    promotion_log, a table of the lake
    erase                          tombstones in the vault: a pseudonym, counts and a reason
    role                           qa/role_changes.jsonl
    close, export, reopen          events of the correction store
    withdraw, release              dataset_withdrawals, dataset_releases
    question, answer, amend,
    recall, statement              qa/handoff: what a partner asked, signed letters and statements
    job, checkpoint                acts.jsonl: training exported to a machine elsewhere, and its adapter taken in

Names are what people typed (`--by`), or the account of this machine; the log says what was done, not that a name is true.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from flywheel.corrections import log
from flywheel.corrections.events import EventStore
from flywheel.corrections.stores import has_store, open_store
from flywheel.corrections.workbench.people import People
from flywheel.corrections.workbench.role_log import roles_after
from flywheel.lake import Lake
from flywheel.operations.act_log import NAME, Act, ActLog, moment
from flywheel.operations.audit_partners import partners_acts
from flywheel.privacy.vault import Vault
from flywheel.settings import Settings
from flywheel.workflows.loader import known_workflows

ACTS = (
    "promote", "rollback", "override", "erase", "role", "close", "export", "reopen", "withdraw", "release",
    "question", "answer", "amend", "recall", "statement", "job", "checkpoint",
)  # fmt: skip
_BATCH_KINDS = {"close": "close", "export": "export", "reopen_lot": "reopen"}


class AuditLog(NamedTuple):
    """The acts, oldest first; which chains and signatures were proved, a sentence each; and what nobody recorded."""

    acts: list[Act]
    chains: list[str]
    unrecorded: list[str]


def audit_log(settings: Settings) -> AuditLog:
    """Everything the installation recorded; raises FlywheelError where a chain of hashes or a signature does not hold."""
    lake, acts, chains = Lake(settings.lake()), [], []
    for workflow in known_workflows(settings.workflows()):
        acts += [*_pointer(lake, workflow), *_datasets(lake, workflow)]
    for store in _stores(settings):
        chains.append(f"{store.verify_chain()} correction events: the chain holds")
        acts += _batches(store.database)
    people = People(settings.home / "qa" / "people.json")
    changes = people.log.changes()
    chains.append(f"{len(changes)} role changes: the chain holds")
    acts += [Act(moment(one.at), one.by, "role", "", one.sentence(), one.reason, "qa/role_changes.jsonl") for one in changes]  # fmt: skip
    acts += _erasures(settings)
    lines = ActLog(settings).lines()
    chains.append(f"{len(lines)} acts of {NAME}: the chain holds")
    acts += [Act(moment(one["at"]), one["by"], one["act"], one["workflow"], one["what"], "", NAME) for one in lines if one["act"] != "statement"]  # fmt: skip
    said = partners_acts(settings, lines)
    acts += said.acts
    chains += said.proved
    recorded = roles_after(changes)
    unrecorded = [
        f"{name} has the roles {', '.join(roles)} in people.json, and the log says {', '.join(recorded.get(name, ())) or 'nothing'}: "
        "given before there was a log, or by hand"
        for name, roles in sorted(people.names().items())
        if recorded.get(name) != tuple(roles)
    ]
    return AuditLog(sorted(acts), chains, [*unrecorded, *said.unrecorded])


def _stores(settings: Settings) -> list[EventStore]:
    """Each correction store once: the database that all workflows share, else a file a workflow."""
    names = [name for name in known_workflows(settings.workflows()) if has_store(settings, name)]
    return [open_store(settings, name) for name in (names[:1] if settings.qa_store_url else names)]


def _pointer(lake: Lake, workflow: str) -> Iterator[Act]:
    for row in lake.read_weeks("promotion_log", workflow=workflow).iter_rows(named=True):
        kind = row["kind"] or "decision"
        if kind == "decision" and row["served_adapter_id"] == row["previous_adapter_id"]:
            continue  # it moved nothing: the weekly page has it
        act = kind if kind in ACTS else "promote"
        what = f"{row['previous_adapter_id']} -> {row['served_adapter_id']} ({kind}, week {row['week'] or 'none'})"
        yield Act(row["decided_at"], row["by"] or "flywheel", act, workflow, what, row["reason"] or "", "promotion_log")


def _datasets(lake: Lake, workflow: str) -> Iterator[Act]:
    for row in lake.read_weeks("dataset_withdrawals", workflow=workflow).iter_rows(named=True):
        yield Act(row["withdrawn_at"], row["withdrawn_by"], "withdraw", workflow, f"{row['kind']} {row['value']}", row["reason"], "dataset_withdrawals")  # fmt: skip
    for row in lake.read_weeks("dataset_releases", workflow=workflow).iter_rows(named=True):
        what = f"the string {row['token']!r} in week {row['released_week']}"
        yield Act(row["released_at"], row["released_by"], "release", workflow, what, "", "dataset_releases")


def _batches(database: Any) -> Iterator[Act]:
    """Acts on whole batches; what people did with single items is the weekly page's and the lead's."""
    kinds = ", ".join(f"'{kind}'" for kind in _BATCH_KINDS)
    with database.read() as connection:
        found = log.recorded(connection, f"item_id = '' AND kind IN ({kinds})", ())
    for one in found:
        event, week = one.event, one.batch.split("|")[0]
        told = str(event.payload.get("reason") or event.payload.get("manifest_sha256") or "")
        yield Act(moment(event.at), event.actor, _BATCH_KINDS[event.kind], log.workflow_of(one.batch), f"batch of week {week}", told, "correction events")  # fmt: skip


def _erasures(settings: Settings) -> Iterator[Act]:
    if not (settings.vault() / "vault.sqlite").is_file():
        return
    for tombstone in Vault(settings.vault()).tombstones():
        what = f"person {tombstone.principal_ref}, rows {tombstone.counts}"
        yield Act(moment(tombstone.at), tombstone.by or "not recorded", "erase", "", what, tombstone.reason, "vault")
