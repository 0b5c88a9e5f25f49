"""Stage 1: `production_traces`, with every inbox line accounted for; refused lines go to `quarantined_records`."""

from collections import Counter
from typing import Any

import dagster as dg
import polars as pl

from flywheel.defs.metadata import asset_options, markdown_table
from flywheel.defs.resources import House
from flywheel.defs.stage import Stage, partition_of, passed
from flywheel.partitions import last_week_same_workflow, week_before, week_bounds, week_by_workflow
from flywheel.privacy.redaction import policy_of
from flywheel.privacy.vault import Vault
from flywheel.traces.inbox import READER_VERSION, InboxReading, read_inbox, survey
from flywheel.traces.records import Inbox
from flywheel.traces.trace import toolset

quarantined_records = dg.AssetSpec(
    "quarantined_records",
    partitions_def=week_by_workflow,
    deps=["production_traces"],
    description="Inbox lines that were refused, each with file, offset, reason and remedy; written by production_traces. "
    "Grain: one line.",
    **asset_options("quarantined_records", "traces"),
)


@dg.asset(
    partitions_def=week_by_workflow,
    deps=[dg.AssetDep("served_model", partition_mapping=last_week_same_workflow)],
    code_version="2",
    **asset_options("production_traces", "traces"),
)
def production_traces(context: dg.AssetExecutionContext, house: House) -> dg.MaterializeResult:
    """Agent runs of the week as production logged them, in canonical form and redacted, from the workflow's inbox.

    Grain: one run. Refused records are in `quarantined_records`, the account of every file in `inbox_ledger`, the tools in
    `toolsets`, exact and near duplicates in `near_duplicates`.
    """
    stage = Stage.begin(context, house, "production_traces", "2")
    pack = house.pack(stage.workflow)  # a broken pack is said before any work
    week_before(stage.weekly)
    settings, own = house.settings(), pack.settings
    inbox = Inbox(own.traces.inbox or str(settings.inbox(stage.workflow)))
    found = survey(inbox, week=stage.weekly, ledger=stage.lake.read_weeks("inbox_ledger", workflow=stage.workflow))
    policy = policy_of(pack.tools, own.privacy.redact, own.privacy.detector)
    vault = Vault(settings.vault())
    decides = {
        "files": found.fingerprint(), "reader": READER_VERSION, "tools": pack.tools_sha256, "policy": list(policy),
        "format": own.traces.format, "shards": own.traces.shards, "erased": sorted(vault.erased()),
    }  # fmt: skip
    if done := stage.unchanged(decides):
        return done
    with read_inbox(
        inbox, found, week=stage.weekly, week_start=lambda week: week_bounds(week)[0], workflow=stage.workflow, policy=policy,
        vault=settings.vault(), scratch=settings.lake() / "_staging", time_zone=settings.time_zone, trace_format=own.traces.format,
        shards=own.traces.shards, workers=own.traces.workers, tools=toolset(pack.tools),
        known_elsewhere=lambda: stage.lake.read_weeks("near_duplicates", workflow=stage.workflow),
    ) as reading:  # fmt: skip
        stage.lake.append_new("toolsets", reading.toolsets, workflow=stage.workflow, run_id=context.run_id)
        stage.lake.replace_partition("inbox_ledger", reading.ledger, workflow=stage.workflow, run_id=context.run_id)
        also = {"quarantined_records": reading.quarantined, "near_duplicates": reading.near_duplicates}
        result = stage.write(reading.files, decides, metadata=_facts(reading, stage.weekly), also=also)
    counted = {"dagster/partition_row_count": len(reading.quarantined), "preview": _quarantine(reading.quarantined)}
    context.log_event(dg.AssetMaterialization("quarantined_records", partition=context.partition_key, metadata=counted))
    return result


def _facts(reading: InboxReading, week: str) -> dict[str, Any]:
    """What an analyst reads of the reading: the account by file, refusals by reason, how much repeats, a few runs."""
    near = reading.near_duplicates
    shown = ("trace_id", "source_format", "adapter_id", "assistant_steps", "tool_calls", "outcome_status")
    repeated = near.height - near["request_sha256"].n_unique() if near.height else 0
    reasons = Counter((row["reason_code"], row["remedy"]) for row in reading.quarantined)
    late = {other: count for other, count in reading.weeks.items() if other < week}
    return {
        "quarantined": len(reading.quarantined),
        "quarantine_reasons": markdown_table(
            [
                {"reason": reason, "records": count, "remedy": remedy}
                for (reason, remedy), count in reasons.most_common()
            ]
        ),
        "quarantine": _quarantine(reading.quarantined),
        "inbox": markdown_table([{name: row[name] for name in _ACCOUNT} for row in reading.ledger]),
        "exact_repeats": f"{repeated} of {near.height} runs ask word for word what another asked",
        "near_duplicate_groups": near["near_duplicate_group"].n_unique() if near.height else 0,
        "late_traces": ", ".join(f"{other}: {count}" for other, count in late.items()) or "none",
        "other_weeks_seen": ", ".join(other for other in reading.weeks if other != week) or "none",
        "preview": markdown_table(reading.preview.select(shown).to_dicts() if reading.preview.width else []),
    }


_ACCOUNT = ("source_file", "format", "read", "accepted", "duplicate", "quarantined", "traces")


def _quarantine(rows: list[dict[str, Any]]) -> dg.MetadataValue:
    return markdown_table(
        [{k: row[k] for k in ("source_file", "source_line", "reason_code", "remedy")} for row in rows]
    )


@dg.asset_check(asset="production_traces", blocking=True, partitions_def=week_by_workflow)
def every_line_is_accounted_for(context: dg.AssetCheckExecutionContext, house: House) -> dg.AssetCheckResult:
    """For every inbox file: records read = accepted + duplicate + quarantined."""
    workflow, _ = partition_of(context.partition_key)
    ledger = house.lake().read_partition("inbox_ledger", workflow=workflow)
    wrong = ledger.filter(pl.col("read") != pl.col("accepted") + pl.col("duplicate") + pl.col("quarantined"))
    sums = {name: int(ledger[name].sum()) for name in ("read", "accepted", "duplicate", "quarantined")}
    sentence = f"{sums['read']} records read = {sums['accepted']} accepted + {sums['duplicate']} duplicate + {sums['quarantined']} quarantined"
    return passed(wrong.height == 0, sentence if not wrong.height else f"wrong: {', '.join(wrong['source_file'])}")
