"""One declared schema per Delta table: columns, types, descriptions, partition columns and key.

What goes here: every table of the week (asset key = table name) and the plain tables behind them.
What does not: how rows are written (`store.py`) and what the stages compute.

Messages, tools and arguments are canonical JSON *strings* everywhere (column type `Json`): Arrow structs and
`datasets` JSON features silently change values (design.md, contract 4).
"""

from dataclasses import dataclass

import polars as pl

Json = pl.String
Time = pl.Datetime("us", "UTC")


@dataclass(frozen=True)
class Column:
    """One column: name, polars type and the sentence an analyst reads in the Dagster UI."""

    name: str
    dtype: pl.DataType | type[pl.DataType]
    description: str


@dataclass(frozen=True)
class Table:
    """One Delta table.

    Attributes:
        name: table and asset name.
        description: its grain, one sentence.
        columns: all columns, partition columns first.
        partitions: the partition columns, `("week", "workflow")` or `("workflow",)`.
        key: columns that identify a row inside a partition; writes are refused when it repeats.
    """

    name: str
    description: str
    columns: tuple[Column, ...]
    partitions: tuple[str, ...]
    key: tuple[str, ...]

    def polars_schema(self) -> dict[str, pl.DataType | type[pl.DataType]]:
        """Column name to polars type, in declared order."""
        return {column.name: column.dtype for column in self.columns}


WEEK = Column("week", pl.String, "Week the row belongs to: the Monday it starts on, YYYY-MM-DD.")
WORKFLOW = Column("workflow", pl.String, "Workflow pack the row belongs to.")


def _weekly(name: str, description: str, key: tuple[str, ...], *columns: tuple[str, object, str]) -> Table:
    declared = tuple(Column(*column) for column in columns)  # type: ignore[arg-type]
    return Table(name, description, (WEEK, WORKFLOW, *declared), ("week", "workflow"), key)


def _by_workflow(name: str, description: str, key: tuple[str, ...], *columns: tuple[str, object, str]) -> Table:
    declared = tuple(Column(*column) for column in columns)  # type: ignore[arg-type]
    return Table(name, description, (WORKFLOW, *declared), ("workflow",), key)


PRODUCTION_TRACES = _weekly(
    "production_traces",
    "One agent run as production logged it, in canonical form.",
    ("trace_id",),
    ("trace_id", pl.String, "Hash of source system and source id."),
    ("source_id", pl.String, "The id the source system gave the run."),
    ("content_sha256", pl.String, "Hash of tools and messages: what the run said and did."),
    ("conversation_id", pl.String, "Conversation the run belongs to; a conversation is never split over train and benchmark."),
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
    ("feedback_score", pl.Float64, "End-user feedback from -1 (down) to 1 (up); null without feedback. Selects, never labels."),
    ("feedback_comment", pl.String, "End-user comment; null without one."),
    ("environment", pl.String, "production, or simulated for the demo's customers."),
    ("source_file", pl.String, "Inbox file the run came from, relative to the inbox."),
    ("source_line", pl.Int64, "1-based line in that file."),
    ("metadata", Json, "JSON object with the source fields that have no column of their own."),
)

QUARANTINED_RECORDS = _weekly(
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

INBOX_LEDGER = _by_workflow(
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

PRODUCTION_FAILURES = _weekly(
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

CORRECTION_BATCH = _weekly(
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

CORRECTED_TRACES = _weekly(
    "corrected_traces",
    "One accepted correction, schema-valid, with its QA history.",
    ("correction_id",),
    ("correction_id", pl.String, "Hash of item and resulting messages."),
    ("item_id", pl.String, "The batch item."),
    ("batch_version", pl.String, "The batch it was part of."),
    ("trace_id", pl.String, "The run corrected."),
    ("conversation_id", pl.String, "Conversation of the run; bars it from the benchmark's neighbourhood."),
    ("near_duplicate_group", pl.String, "Near-duplicate group of the run."),
    ("principal_ref", pl.String, "Pseudonym of the person served; null where unknown."),
    ("failure_cluster", pl.String, "Cluster of the failure corrected."),
    ("bucket", pl.String, "Bucket of the failure corrected."),
    ("first_bad_message_index", pl.Int32, "Index of the first wrong assistant step, as the expert marked it."),
    ("suffix_mode", pl.String, "truncated, reexecuted, rolled_forward or hand_written."),
    ("tools", Json, "JSON list of tools."),
    ("messages", Json, "JSON list: the model's own prefix, the corrected step, what follows it."),
    ("trainable_indices", Json, "JSON list of message indices a person wrote or accepted: these steps may train."),
    ("rejected_message", Json, "JSON of the model's own wrong step, the rejected side of a preference pair."),
    ("qa_mode", pl.String, "three, two or solo; never reads three when it was not."),
    ("annotator_kind", pl.String, "human, or simulated for the demo's experts."),
    ("annotator", pl.String, "Who corrected (pass 1)."),
    ("reviewer", pl.String, "Who reviewed (pass 2)."),
    ("adjudicator", pl.String, "Who adjudicated (pass 3); null where no dispute was."),
    ("auditor", pl.String, "Who audited the item; null where it was not drawn."),
    ("returns", pl.Int32, "How often review sent it back."),
    ("verified_by", pl.String, "What makes the step good: qa_three, qa_two, qa_solo or a named verifier."),
    ("accepted_at", Time, "When QA accepted it, UTC."),
)

DEMONSTRATIONS = _by_workflow(
    "demonstrations",
    "One run of the workflow done right by a person or teacher, accepted under the QA mode.",
    ("demonstration_id",),
    ("demonstration_id", pl.String, "Hash of tools and messages."),
    ("conversation_id", pl.String, "Conversation id, its own where the source gives none."),
    ("tools", Json, "JSON list of tools."),
    ("messages", Json, "JSON list of messages; every assistant step may train."),
    ("annotator_kind", pl.String, "human, model or simulated."),
    ("annotator", pl.String, "Who wrote it."),
    ("reviewer", pl.String, "Who accepted it."),
    ("qa_mode", pl.String, "QA mode under which it was accepted."),
    ("source_file", pl.String, "File it came from."),
)

SFT_DATASET = _weekly(
    "sft_dataset",
    "One supervised training row: history -> next assistant message, with provenance.",
    ("row_id",),
    ("row_id", pl.String, "Hash of tools, history and target."),
    ("source", pl.String, "correction or demonstration."),
    ("source_id", pl.String, "correction_id or demonstration_id."),
    ("from_week", pl.String, "Week whose corrections gave the row; null for demonstrations."),
    ("conversation_id", pl.String, "Conversation the row comes from."),
    ("failure_cluster", pl.String, "Cluster the row repairs; null for demonstrations."),
    ("message_index", pl.Int32, "Index of the target in its source messages."),
    ("tools", Json, "JSON list of tools."),
    ("tools_sha256", pl.String, "Hash of the tools."),
    ("messages", Json, "JSON list: the history."),
    ("target", Json, "JSON of the assistant message to learn; loss falls on it alone."),
    ("prompt_tokens", pl.Int32, "Tokens of history and generation prompt."),
    ("target_tokens", pl.Int32, "Tokens that carry loss, end-of-turn included."),
    ("verified_by", pl.String, "Why the target may be believed."),
    ("annotator_kind", pl.String, "human, model or simulated."),
    ("qa_mode", pl.String, "QA mode under which the target was accepted."),
)

PREFERENCE_DATASET = _weekly(
    "preference_dataset",
    "One preference pair with the same history: the corrected step over the model's own wrong one.",
    ("row_id",),
    ("row_id", pl.String, "Hash of tools, history, chosen and rejected."),
    ("source_id", pl.String, "correction_id."),
    ("from_week", pl.String, "Week whose corrections gave the pair."),
    ("conversation_id", pl.String, "Conversation the pair comes from."),
    ("failure_cluster", pl.String, "Cluster the pair repairs."),
    ("tools", Json, "JSON list of tools."),
    ("tools_sha256", pl.String, "Hash of the tools."),
    ("messages", Json, "JSON list: the shared history."),
    ("chosen", Json, "JSON of the corrected assistant message."),
    ("rejected", Json, "JSON of the model's own assistant message."),
    ("prompt_tokens", pl.Int32, "Tokens of history and generation prompt."),
    ("chosen_tokens", pl.Int32, "Tokens of the chosen message."),
    ("rejected_tokens", pl.Int32, "Tokens of the rejected message."),
    ("verified_by", pl.String, "Why the chosen side may be believed."),
    ("annotator_kind", pl.String, "human, model or simulated."),
    ("qa_mode", pl.String, "QA mode under which the chosen side was accepted."),
)

CHECKPOINT = _weekly(
    "checkpoint",
    "One LoRA adapter and what made it.",
    ("adapter_id",),
    ("adapter_id", pl.String, "Content hash of the adapter's files, shortened; the name it is served under."),
    ("adapter_path", pl.String, "Folder of the adapter, relative to FLYWHEEL_HOME."),
    ("base_model_sha256", pl.String, "Hash of the base model's weights."),
    ("chat_template_sha256", pl.String, "Hash of the chat template used for training and serving."),
    ("spec", Json, "JSON of the training spec: every setting."),
    ("sft_rows", pl.Int64, "Distinct supervised rows."),
    ("preference_rows", pl.Int64, "Distinct preference pairs."),
    ("sft_presentations", pl.Int64, "Row presentations over all epochs."),
    ("sft_first_loss", pl.Float64, "Mean loss per supervised token, first optimizer step."),
    ("sft_last_loss", pl.Float64, "Mean loss per supervised token, last optimizer step."),
    ("preference_accuracy", pl.Float64, "Share of pairs whose chosen side is likelier after DPO, against the SFT policy; null without pairs."),
    ("chosen_logps_change", pl.Float64, "Mean change of the chosen side's log-probability over DPO, in nats; null without pairs."),
    ("seconds", pl.Float64, "Wall seconds of the training child."),
    ("log", Json, "JSON list of training log entries: stage, step, loss, seconds."),
)

EVAL_RESULTS = _weekly(
    "eval_results",
    "One case x arm x epoch: every score and the raw output.",
    ("case_id", "arm", "epoch"),
    ("case_id", pl.String, "Benchmark case."),
    ("case_cluster", pl.String, "Cases of one cluster are not independent; statistics are clustered on it."),
    ("category", pl.String, "tool_calling, multi_step, refusal or recovery."),
    ("arm", pl.String, "candidate, incumbent or incumbent_again (the A/A run)."),
    ("epoch", pl.Int32, "0-based repetition."),
    ("adapter_id", pl.String, "Adapter of the arm; 'base' for the base model."),
    ("success", pl.Boolean, "Did the case succeed as a whole; null after an infrastructure error."),
    ("failure_reason", pl.String, "First reason it did not succeed; null on success."),
    ("schema_valid_calls", pl.Int32, "Calls that match their tool's schema."),
    ("calls", pl.Int32, "Calls the model made."),
    ("tool_selection", pl.Boolean, "Right tools in the right number; null where none is expected."),
    ("arguments_match", pl.Boolean, "Right arguments too; null where no call is expected."),
    ("forbidden_calls", pl.Int32, "Writes made where the case allows none."),
    ("infra_error", pl.String, "Server or network error; such a case is excluded and counted, never scored 0."),
    ("transcript", Json, "JSON list of the messages after the system prompt, model and environment."),
    ("raw_outputs", Json, "JSON list: the text each step generated, special tokens included."),
    ("finish_reasons", Json, "JSON list of vLLM finish reasons."),
    ("model_steps", pl.Int32, "Requests made."),
    ("prompt_tokens", pl.Int64, "Prompt tokens over all steps."),
    ("completion_tokens", pl.Int64, "Generated tokens over all steps."),
    ("seconds", pl.Float64, "Wall seconds of the case."),
    ("benchmark_version", pl.String, "Hash of the frozen cases."),
    ("scorer_version", pl.String, "Version of the scorers."),
    ("decoding", pl.String, "How tokens were chosen, e.g. greedy_auto."),
    ("server", Json, "JSON: vLLM version and arguments."),
)

PROMOTION = _weekly(
    "promotion",
    "One decision: PROMOTE, REJECT, INCONCLUSIVE or INVALID, with its reasons.",
    ("decision_id",),
    ("decision_id", pl.String, "Hash of the evidence and the verdict."),
    ("verdict", pl.String, "PROMOTE, REJECT, INCONCLUSIVE or INVALID."),
    ("reasons", Json, "JSON list of sentences, the decisive one first."),
    ("candidate_adapter_id", pl.String, "Adapter that was judged."),
    ("incumbent_adapter_id", pl.String, "Adapter it was judged against; 'base' in the first week."),
    ("served_adapter_id", pl.String, "Adapter that serves after the decision."),
    ("cases", pl.Int64, "Cases both arms completed."),
    ("candidate_success", pl.Float64, "Candidate's success rate, 0 to 1."),
    ("candidate_low", pl.Float64, "Lower end of its 95 % interval."),
    ("candidate_high", pl.Float64, "Upper end of its 95 % interval."),
    ("incumbent_success", pl.Float64, "Incumbent's success rate, 0 to 1."),
    ("incumbent_low", pl.Float64, "Lower end of its 95 % interval."),
    ("incumbent_high", pl.Float64, "Upper end of its 95 % interval."),
    ("difference", pl.Float64, "Candidate minus incumbent, mean over cases."),
    ("difference_lower", pl.Float64, "One-sided 95 % clustered lower bound of the difference."),
    ("difference_upper", pl.Float64, "One-sided 95 % clustered upper bound of the difference."),
    ("p_value", pl.Float64, "Exact one-sided McNemar p-value for candidate better; null with more than one epoch."),
    ("margin", pl.Float64, "Non-inferiority margin in force."),
    ("minimum_detectable_effect", pl.Float64, "Smallest difference these cases resolve at power 0.8."),
    ("qa_mode", pl.String, "QA mode of the corrections behind the candidate."),
    ("release", pl.String, "automatic, or approval: a person releases."),
    ("benchmark_version", pl.String, "Hash of the frozen cases."),
    ("evidence", Json, "JSON object: per category, floors, A/A run, discordant cases."),
)

PROMOTION_LOG = _by_workflow(
    "promotion_log",
    "Append-only: every movement of the served-model pointer.",
    ("entry_id",),
    ("entry_id", pl.String, "Hash of week, decision and pointer."),
    ("week", pl.String, "Week of the decision."),
    ("decision_id", pl.String, "The decision behind it."),
    ("verdict", pl.String, "Its verdict."),
    ("previous_adapter_id", pl.String, "Adapter that served before."),
    ("served_adapter_id", pl.String, "Adapter that serves from here on."),
    ("decided_at", Time, "When, UTC."),
)

BENCHMARK = _by_workflow(
    "benchmark",
    "One frozen case; versioned, append-only.",
    ("case_id",),
    ("case_id", pl.String, "Id from the pack."),
    ("case_cluster", pl.String, "Cluster for statistics."),
    ("category", pl.String, "tool_calling, multi_step, refusal or recovery."),
    ("content_sha256", pl.String, "Hash of the case; a frozen case never changes."),
    ("tools_sha256", pl.String, "Hash of the tools it was frozen with."),
    ("case", Json, "JSON of the whole case."),
)

BENCHMARK_FINGERPRINTS = _by_workflow(
    "benchmark_fingerprints",
    "Append-only registry of what must never train: exact, shingle and conversation fingerprints of every case ever frozen.",
    ("fingerprint_id",),
    ("fingerprint_id", pl.String, "Hash of case, kind and value."),
    ("case_id", pl.String, "Case it protects."),
    ("kind", pl.String, "exact, shingles or conversation."),
    ("value", pl.String, "Hash, JSON list of shingle hashes, or conversation id."),
)

WEEKLY_REPORT = _weekly(
    "weekly_report",
    "One self-contained HTML page a week.",
    ("week_of",),
    ("week_of", pl.String, "The week, again: one row a partition."),
    ("path", pl.String, "HTML page, relative to FLYWHEEL_HOME."),
    ("html_sha256", pl.String, "Hash of the page."),
    ("learn_ran", pl.Boolean, "Whether the learn job had run when the page was made."),
    ("note", pl.String, "Why learn did not run, or what it decided."),
)

LINEAGE = Table(
    "lineage",
    "One row per partition ever written: which version, from which inputs, by which run.",
    (
        Column("table_name", pl.String, "Table written."),
        WORKFLOW,
        Column("week", pl.String, "Week, or '-' for tables without weeks."),
        Column("version", pl.Int64, "Delta version of that write."),
        Column("fingerprint", pl.String, "Hash of inputs, settings and code version; equal means nothing to do."),
        Column("content_sha256", pl.String, "Hash of the rows written."),
        Column("rows", pl.Int64, "Rows written."),
        Column("inputs", Json, "JSON object: input partition to the Delta version read."),
        Column("code_version", pl.String, "Code version of the stage."),
        Column("run_id", pl.String, "Dagster run that wrote it; empty outside Dagster."),
        Column("seconds", pl.Float64, "Wall seconds of the stage."),
        Column("written_at", Time, "When, UTC."),
    ),
    ("table_name", "workflow", "week"),
    ("table_name", "workflow", "week"),
)

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        PRODUCTION_TRACES, QUARANTINED_RECORDS, INBOX_LEDGER, PRODUCTION_FAILURES, CORRECTION_BATCH, CORRECTED_TRACES,
        DEMONSTRATIONS, SFT_DATASET, PREFERENCE_DATASET, CHECKPOINT, EVAL_RESULTS, PROMOTION, PROMOTION_LOG, BENCHMARK,
        BENCHMARK_FINGERPRINTS, WEEKLY_REPORT, LINEAGE,
    )
}  # fmt: skip
