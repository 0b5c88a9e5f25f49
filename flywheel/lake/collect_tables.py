"""Tables of the first half of the week: what production left behind and what people are asked."""

import polars as pl

from flywheel.lake.table import Json, Time, by_workflow, weekly

PRODUCTION_TRACES = weekly(
    "production_traces",
    "One agent run as production logged it, in canonical form.",
    ("trace_id",),
    ("trace_id", pl.String, "Hash of source system and source id."),
    ("source_id", pl.String, "The id the source system gave the run."),
    ("content_sha256", pl.String, "Hash of tools and messages: what the run said and did."),
    (
        "conversation_id",
        pl.String,
        "Conversation the run belongs to; a conversation is never split over train and benchmark.",
    ),
    ("principal_ref", pl.String, "Pseudonym of the person served; null where the source names none."),
    ("adapter_id", pl.String, "LoRA adapter that served the run; 'base' where none did."),
    ("request_model", pl.String, "Model name the client asked for."),
    ("started_at", Time, "First message, UTC."),
    ("ended_at", Time, "Last message, UTC; null where unknown."),
    ("tools", Json, "JSON list of OpenAI function tools offered to the model."),
    ("tools_sha256", pl.String, "Hash of the canonical tools."),
    ("messages", Json, "JSON list of OpenAI messages, the system prompt included."),
    ("assistant_steps", pl.Int32, "Number of assistant messages."),
    ("tool_calls", pl.Int32, "Number of tool calls in all assistant messages."),
    ("tool_errors", pl.Int32, "Number of tool results that report an error."),
    ("outcome_status", pl.String, "success, failure, abandoned or unknown, as the source said."),
    (
        "feedback_score",
        pl.Float64,
        "End-user feedback from -1 (down) to 1 (up); null without feedback. Selects, never labels.",
    ),
    ("feedback_comment", pl.String, "End-user comment; null without one."),
    ("environment", pl.String, "production, or simulated for the demo's customers."),
    ("source_file", pl.String, "Inbox file the run came from, relative to the inbox."),
    ("source_line", pl.Int64, "1-based line in that file."),
    ("metadata", Json, "JSON object with the source fields that have no column of their own."),
)

QUARANTINED_RECORDS = weekly(
    "quarantined_records",
    "One inbox line that was refused, with its reason and remedy.",
    ("source_file", "source_line"),
    ("source_file", pl.String, "Inbox file, relative to the inbox."),
    ("source_line", pl.Int64, "1-based line."),
    ("byte_offset", pl.Int64, "Offset of the line's first byte."),
    ("reason_code", pl.String, "Machine-readable reason, e.g. invalid_json, missing_messages."),
    ("detail", pl.String, "What exactly was wrong."),
    ("remedy", pl.String, "What to do so that the line is accepted."),
    ("line", pl.String, "The line as read, cut at 2,000 characters, invalid UTF-8 replaced."),
)

INBOX_LEDGER = by_workflow(
    "inbox_ledger",
    "One inbox file as it was last read: read = accepted + duplicate + quarantined.",
    ("source_file",),
    ("source_file", pl.String, "Inbox file, relative to the inbox."),
    ("file_sha256", pl.String, "Hash of the file's bytes when read."),
    ("bytes", pl.Int64, "Size of the file when read."),
    ("first_read_week", pl.String, "Week of the run that first read the file; undated lines belong to it."),
    ("weeks", Json, "JSON object: week to number of accepted runs of that week."),
    ("read", pl.Int64, "Lines read (blank lines are not lines)."),
    ("accepted", pl.Int64, "Lines that became a trace."),
    ("duplicate", pl.Int64, "Lines whose trace an earlier line already gave."),
    ("quarantined", pl.Int64, "Lines refused."),
)

PRODUCTION_FAILURES = weekly(
    "production_failures",
    "One failing step of one run: what went wrong, whose fault, on what evidence.",
    ("failure_id",),
    ("failure_id", pl.String, "Hash of trace, step and bucket."),
    ("trace_id", pl.String, "The run."),
    ("message_index", pl.Int32, "Index in messages of the assistant step that went wrong first."),
    ("bucket", pl.String, "schema_violation, wrong_tool_selection, wrong_arguments, bad_recovery, refusal_error, ..."),
    ("sub_kind", pl.String, "Finer name inside the bucket, e.g. unknown_tool, missing_call."),
    ("fault", pl.String, "agent, user, environment, grader or inconclusive; only agent may enter training."),
    ("severity", pl.String, "critical, major or minor."),
    ("tool", pl.String, "Tool concerned; null where no call was made."),
    ("first_error", pl.String, "First error in a normalised form, the cluster's third part."),
    ("failure_cluster", pl.String, "Readable name of tool, bucket and first error together."),
    ("evidence", Json, "JSON list of sentences: what the detectors saw."),
    ("tags", Json, "JSON list of all buckets any detector raised on the run."),
    ("adapter_id", pl.String, "Adapter that served the run."),
    ("principal_ref", pl.String, "Pseudonym of the person served; null where unknown."),
)

CORRECTION_BATCH = weekly(
    "correction_batch",
    "One item handed to people, with why it was picked. A version handed out never changes.",
    ("item_id",),
    ("item_id", pl.String, "Hash of trace and step."),
    ("batch_version", pl.String, "Hash of the batch's items."),
    ("position", pl.Int32, "Place in the queue, 0 first."),
    ("trace_id", pl.String, "The run."),
    ("failure_id", pl.String, "The failure; null for the random slice of unflagged runs."),
    ("failure_cluster", pl.String, "The failure's cluster; 'unflagged' for the random slice."),
    ("bucket", pl.String, "The failure's bucket; 'unflagged' for the random slice."),
    ("severity", pl.String, "critical, major or minor."),
    ("message_index", pl.Int32, "Assistant step that is suspected; the expert may choose another."),
    ("picked_because", pl.String, "One sentence: size, severity and novelty, or the random slice."),
    ("priority", pl.Float64, "Cluster size x severity x novelty."),
    ("near_duplicate_group", pl.String, "Smallest trace id of the run's near-duplicates."),
    ("conversation_id", pl.String, "Conversation of the run."),
    ("principal_ref", pl.String, "Pseudonym of the person served; null where unknown."),
    ("tools", Json, "JSON list of tools the run was offered."),
    ("messages", Json, "JSON list of the run's messages."),
)
