"""Stage 1: `production_traces`, with every inbox line accounted for; refused lines go to `quarantined_records`."""

from collections import Counter
from typing import Any

import dagster as dg
import polars as pl

from flywheel.defs.metadata import COLLECTED, asset_options, markdown_table
from flywheel.defs.resources import House
from flywheel.defs.retries import says_why
from flywheel.defs.stage import Stage, partition_of, passed
from flywheel.partitions import last_week_same_workflow, week_before, week_bounds, week_by_workflow
from flywheel.privacy.redaction import policy_of
from flywheel.privacy.vault import Vault
from flywheel.promotion.production import unevaluated
from flywheel.traces.accounting import COUNTED
from flywheel.traces.failures import error_results
from flywheel.traces.inbox import InboxReading, read_inbox, reader_version, survey
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
    code_version="4",
    freshness_policy=COLLECTED,
    **asset_options("production_traces", "traces"),
)
@says_why
def production_traces(context: dg.AssetExecutionContext, house: House) -> dg.MaterializeResult:
    """Agent runs of the week as production logged them, in canonical form and redacted, from the workflow's inbox.

    Grain: one run. Refused records are in `quarantined_records`, the account of every file in `inbox_ledger`, the tools in
    `toolsets`, exact and near duplicates in `near_duplicates`.
    """
    stage = Stage.begin(context, house, "production_traces", "4")
    pack = house.pack(stage.workflow)  # a broken pack is said before any work
    week_before(stage.weekly)
    settings, own = house.settings(), pack.settings
    inbox = Inbox(own.traces.inbox or str(settings.inbox(stage.workflow)))
    version = reader_version(own.traces.routes)
    ledger = stage.lake.read_weeks("inbox_ledger", workflow=stage.workflow)
    found = survey(inbox, week=stage.weekly, ledger=ledger, version=version)
    policy = policy_of(pack.tools, own.privacy.redact, own.privacy.detector)
    vault = Vault(settings.vault())
    failing = error_results(pack.tools)
    decides = {
        "files": found.fingerprint(), "reader": version, "tools": pack.tools_sha256, "policy": list(policy),
        "format": own.traces.format, "shards": own.traces.shards, "erased": sorted(vault.erased()),
        **({"error_results": list(failing)} if failing else {}),
    }  # fmt: skip
    if done := stage.unchanged(decides):
        return done
    with read_inbox(
        inbox, found, week=stage.weekly, week_start=lambda week: week_bounds(week)[0], workflow=stage.workflow, policy=policy,
        vault=settings.vault(), scratch=settings.staging(), time_zone=settings.time_zone, trace_format=own.traces.format,
        shards=own.traces.shards, workers=settings.workers(own.traces.workers), routes=own.traces.routes, error_results=failing,
        tools=toolset(pack.tools),
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


_ACCOUNT = ("source_file", "format", "read", *COUNTED, "traces")


def _quarantine(rows: list[dict[str, Any]]) -> dg.MetadataValue:
    return markdown_table(
        [{k: row[k] for k in ("source_file", "source_line", "reason_code", "remedy")} for row in rows]
    )


@dg.asset_check(asset="production_traces", blocking=True, partitions_def=week_by_workflow)
def every_line_is_accounted_for(context: dg.AssetCheckExecutionContext, house: House) -> dg.AssetCheckResult:
    """For every inbox file: records read = accepted + duplicate + quarantined + those of other workflows."""
    workflow, _ = partition_of(context.partition_key)
    ledger = house.lake().read_partition("inbox_ledger", workflow=workflow)
    counted = pl.sum_horizontal(pl.col(name).fill_null(0) for name in COUNTED)
    wrong = ledger.filter(pl.col("read") != counted)
    sums = [f"{int(ledger[name].sum())} {name.replace('_', ' ')}" for name in COUNTED]
    sentence = f"{int(ledger['read'].sum())} records read = {' + '.join(sums)}"
    return passed(wrong.height == 0, sentence if not wrong.height else f"wrong: {', '.join(wrong['source_file'])}")


@dg.asset_check(asset="production_traces", partitions_def=week_by_workflow)
def unevaluated_configuration_in_production(
    context: dg.AssetCheckExecutionContext, house: House
) -> dg.AssetCheckResult:
    """The week's runs carry only system prompts, tools and adapters that a decision or a promoted comparison ran with."""
    workflow, week = partition_of(context.partition_key)
    found = unevaluated(house.lake(), house.pack(workflow), week or "")
    said = "; ".join(one.sentence() for one in found) or "nothing unevaluated is seen"
    return passed(not found, said, severity=dg.AssetCheckSeverity.WARN)
