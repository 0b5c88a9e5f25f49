"""Tables between what people wrote and what trains: candidate steps, near-duplicate texts, and what was kept out and why."""

import polars as pl

from flywheel.lake.table import Json, Time, by_workflow, weekly

# Demonstrations and replay stand before every week.
BEFORE_ALL_WEEKS = "0001-01-01"

TRAINING_STEPS = weekly(
    "training_steps",
    "One step that may train, tokenised once in its own week; week 0001-01-01 holds demonstrations and replay.",
    ("source_id", "message_index"),
    ("row_id", pl.String, "Hash of tools, history and target."),
    ("source", pl.String, "correction, demonstration, verified or replay."),
    ("source_id", pl.String, "Id of the source row."),
    ("trace_id", pl.String, "Production run; null for replay, and for demonstrations that are no old run."),
    ("conversation_id", pl.String, "Conversation the step comes from."),
    ("principal_ref", pl.String, "Pseudonym of the person served; null where unknown."),
    ("tenant_id", pl.String, "Customer organisation; null where unknown."),
    ("batch_version", pl.String, "Correction batch; null where there was none."),
    ("annotator", pl.String, "Who wrote the target."),
    ("source_file", pl.String, "Inbox or pack file the source came from; null where unknown."),
    ("bucket", pl.String, "Bucket of the failure corrected; null where there was none."),
    ("failure_cluster", pl.String, "Cluster of the failure corrected; null where there was none."),
    ("tool", pl.String, "First tool that the target calls; null for a reply in words."),
    ("remedy", pl.String, "steps or trajectory."),
    ("message_index", pl.Int32, "Index of the target in its source messages."),
    ("tools", Json, "JSON list of tools."),
    ("tools_sha256", pl.String, "Hash of the tools."),
    ("messages", Json, "JSON list: the history, shortened where it had to be."),
    ("target", Json, "JSON of the assistant message to learn."),
    ("rejected", Json, "JSON of what the model did instead; null where no pair can be made of the step."),
    ("pair", pl.Boolean, "Whether the remedy table asks for a preference pair."),
    ("context_id", pl.String, "Hash of tools and history in canonical form; equal contexts must have equal targets."),
    ("answer_id", pl.String, "Hash of the target in canonical form."),
    ("shape_id", pl.String, "Hash of all but the users' words: what tells steps of one request apart."),
    ("template_id", pl.String, "Hash of the last request with ids masked, and of the tools called."),
    ("text_id", pl.String, "Hash of what the users say, case and punctuation ignored; see near_duplicate_texts."),
    ("prompt_tokens", pl.Int32, "Tokens of history and generation prompt."),
    ("target_tokens", pl.Int32, "Tokens that carry loss."),
    ("rejected_tokens", pl.Int32, "Tokens of the rejected message; null without one."),
    ("elided_messages", pl.Int32, "Messages of the history that were shortened."),
    ("kept_out", pl.String, "too_long, tool_gone or invalid_today; empty where the step may train."),
    ("detail", pl.String, "Why it is kept out, one sentence; empty where it may train."),
    ("verified_by", pl.String, "Why the target may be believed."),
    ("annotator_kind", pl.String, "human, model or simulated."),
    ("qa_mode", pl.String, "QA mode under which the target was accepted."),
)

NEAR_DUPLICATE_TEXTS = weekly(
    "near_duplicate_texts",
    "One text that users said, in the week that first brought it: its MinHash bands and the earlier texts it is near.",
    ("text_id",),
    ("text_id", pl.String, "Hash of the words, case and punctuation ignored."),
    ("minhash_version", pl.Int32, "Version of the MinHash constants behind the bands."),
    ("conversation_id", pl.String, "Conversation that brought it."),
    ("principal_ref", pl.String, "Pseudonym of the person who said it; null where unknown."),
    ("text", pl.String, "The words: candidates are confirmed by their true Jaccard similarity."),
    *((f"band_{n:02d}", pl.Int32, f"Key of band {n}; null for a text without words.") for n in range(12)),
    ("near", Json, "JSON list of text ids, earlier or of this week, with Jaccard >= 0.8 over word 5-grams."),
)

DATASET_CONFLICTS = weekly(
    "dataset_conflicts",
    "One answer to a context that was answered differently elsewhere: held out until people agree.",
    ("context_id", "source_id", "message_index"),
    ("context_id", pl.String, "Hash of tools and history in canonical form."),
    ("row_id", pl.String, "The training row that it would have been."),
    ("source", pl.String, "correction or demonstration."),
    ("source_id", pl.String, "correction_id or demonstration_id."),
    ("message_index", pl.Int32, "Index of the target in its source messages."),
    ("from_week", pl.String, "Week of the correction; null for demonstrations."),
    ("trace_id", pl.String, "Production run; null for demonstrations that are no old run."),
    ("conversation_id", pl.String, "Conversation it comes from."),
    ("principal_ref", pl.String, "Pseudonym of the person served; null where unknown."),
    ("annotator", pl.String, "Who gave this answer."),
    ("answer_id", pl.String, "Hash of the answer; a context has at least two."),
    ("target", Json, "JSON of the answer."),
)

CONFLICT_DECISIONS = weekly(
    "conflict_decisions",
    "One conflict that a closed batch handed to an adjudicator, and what became of it.",
    ("item_id",),
    ("item_id", pl.String, "The batch item."),
    ("context_id", pl.String, "Hash of tools and history in canonical form."),
    ("decision", pl.String, "settled, dropped (no answer trains), or open (it comes again)."),
    ("correction_id", pl.String, "The correction that holds from now on; null unless settled."),
    ("adjudicator", pl.String, "Who decided; null while open."),
    ("answers", Json, "JSON list of the answer ids that were shown: those it overrules."),
)

DATASET_LEFT_OUT = weekly(
    "dataset_left_out",
    "One step that did not enter the week's dataset for a reason a person may want to act on.",
    ("source_id", "message_index"),
    ("row_id", pl.String, "The training row that it would have been."),
    ("source", pl.String, "correction, demonstration, verified or replay."),
    ("source_id", pl.String, "Id of the source row."),
    ("message_index", pl.Int32, "Index of the target in its source messages."),
    ("trace_id", pl.String, "Production run; null where there is none."),
    ("conversation_id", pl.String, "Conversation it comes from."),
    ("principal_ref", pl.String, "Pseudonym of the person served; null where unknown."),
    (
        "reason",
        pl.String,
        "benchmark, held_out, conflict, overruled, too_long, tool_gone, invalid_today, withdrawn, cap_principal, ...",
    ),
    ("detail", pl.String, "The case, the other answer, or the rule concerned."),
)

DATASET_WITHDRAWALS = by_workflow(
    "dataset_withdrawals",
    "One source that may not train any more; append-only.",
    ("withdrawal_id",),
    ("withdrawal_id", pl.String, "Hash of kind and value."),
    ("kind", pl.String, "principal_ref, batch_version, trace_id, source_id, annotator or source_file."),
    ("value", pl.String, "Which one."),
    ("reason", pl.String, "Why, as the person said."),
    ("withdrawn_by", pl.String, "Who withdrew it."),
    ("withdrawn_at", Time, "When, UTC."),
)

DATASET_RELEASES = by_workflow(
    "dataset_releases",
    "One suspicious string that a named person looked at and released; append-only.",
    ("release_id",),
    ("release_id", pl.String, "Hash of week and string."),
    ("released_week", pl.String, "Week of the build that was blocked."),
    ("token", pl.String, "The string that was new and suddenly frequent."),
    ("rows_shown", Json, "JSON list of the row ids that were shown."),
    ("released_by", pl.String, "Who released it."),
    ("released_at", Time, "When, UTC."),
)
