"""Tables of what serves: who moved the pointer and why, and who was told."""

import polars as pl

from flywheel.lake.table import Json, Time, by_workflow

PROMOTION_LOG = by_workflow(
    "promotion_log",
    "Append-only: every decision and every act of a person about the served-model pointer, whether it moved or not.",
    ("entry_id",),
    ("entry_id", pl.String, "Hash of week, decision and pointer; of a person's act, of its place in the log too."),
    ("week", pl.String, "Newest decided week at the time; empty before the first decision."),
    ("decision_id", pl.String, "The decision behind it; null where a person moved without one."),
    ("verdict", pl.String, "Its verdict; null without a decision."),
    (
        "candidate_adapter_id",
        pl.String,
        "Adapter that was judged, or that a person asked for; null in the oldest entries.",
    ),
    ("previous_adapter_id", pl.String, "Adapter that served before."),
    ("served_adapter_id", pl.String, "Adapter that serves from here on."),
    ("kind", pl.String, "decision, approval, override or rollback; null in the oldest entries: decision."),
    ("by", pl.String, "Who acted, as they named themselves; flywheel for a decision."),
    ("reason", pl.String, "Why, in their words; of a decision, its first reason."),
    ("tools_sha256", pl.String, "Hash of the pack's tools at the time."),
    (
        "configuration",
        Json,
        "JSON object: the whole configuration, but for the adapter, that a decision's arms ran with; null elsewhere, and "
        "where the pack was edited between evaluation and decision.",
    ),
    ("decided_at", Time, "When, UTC; always later than the entry before."),
)

RELEASE_HOOKS = by_workflow(
    "release_hooks",
    "Append-only: one attempt to tell somebody that the pointer moved (on_promote, on_rollback in workflow.yaml).",
    ("entry_id", "attempt"),
    ("entry_id", pl.String, "The entry of the promotion log that was told."),
    ("attempt", pl.Int32, "1 for the first."),
    ("event", pl.String, "promote or rollback."),
    ("told", pl.String, "The command's program, or the webhook's host."),
    ("bundle_sha256", pl.String, "Digest of the serving bundle that was named; null where none could be made."),
    ("succeeded", pl.Boolean, "Exit code 0, or an answer from 200 to 299, within the time limit."),
    ("answer", pl.String, "Exit code or status, and the last line it said, cut at 300 characters."),
    ("seconds", pl.Float64, "How long it took."),
    ("at", Time, "When, UTC."),
)
