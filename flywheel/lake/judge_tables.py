"""Tables of the checkpoint, its evaluation, the decision, and the benchmark they rest on."""

import polars as pl

from flywheel.lake.table import Json, Time, by_workflow, weekly

CHECKPOINT = weekly(
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
    (
        "preference_accuracy",
        pl.Float64,
        "Share of pairs whose chosen side is likelier after DPO, against the SFT policy; null without pairs.",
    ),
    (
        "chosen_logps_change",
        pl.Float64,
        "Mean change of the chosen side's log-probability over DPO, in nats; null without pairs.",
    ),
    ("seconds", pl.Float64, "Wall seconds of the training child."),
    ("log", Json, "JSON list of training log entries: stage, step, loss, seconds."),
)

EVAL_RESULTS = weekly(
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

PROMOTION = weekly(
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

PROMOTION_LOG = by_workflow(
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

FINGERPRINTS = (
    ("fingerprint_version", pl.String, "Version of the fingerprints and of the MinHash constants behind the bands."),
    ("user_text", pl.String, "What the customer says, one line a message: candidates are confirmed on it."),
    ("conversations", Json, "JSON list of conversation ids that never train."),
    ("exact", pl.String, "Hash of the text with ids and numbers masked; empty for an empty text."),
    ("shingles", Json, "JSON list of hashes of its masked word 3-grams."),
    ("bands", Json, "JSON list of its MinHash band keys."),
    ("user_ngrams", Json, "JSON list of hashes of its word 8-grams."),
    ("call_ngrams", Json, "JSON list of hashes of the word 8-grams of its canonical (tool, arguments)."),
)

BENCHMARK = by_workflow(
    "benchmark",
    "One frozen case with its fingerprints, one commit; versioned, append-only. Retired cases stay, and stay barred.",
    ("case_id",),
    ("case_id", pl.String, "Id from the pack."),
    ("case_cluster", pl.String, "Cluster for statistics."),
    ("category", pl.String, "tool_calling, multi_step, refusal or recovery."),
    ("content_sha256", pl.String, "Hash of the case; a frozen case never changes."),
    ("tools_sha256", pl.String, "Hash of the tools it was frozen with."),
    ("case", Json, "JSON of the whole case."),
    ("origin_trace_id", pl.String, "Production run the case was promoted from; null for a written case."),
    ("retired", pl.Boolean, "The pack no longer lists it: not evaluated any more, still barred from training."),
    *FINGERPRINTS,
)

BENCHMARK_TOMBSTONES = by_workflow(
    "benchmark_tombstones",
    "One frozen case that left the benchmark because a person was erased; append-only, nothing of the case is kept.",
    ("tombstone_id",),
    ("tombstone_id", pl.String, "Hash of the erased content's hash."),
    ("content_sha256", pl.String, "Hash of the case as it was frozen."),
    ("version_before", pl.String, "Benchmark version with the case, and with those erased beside it."),
    ("version_after", pl.String, "Benchmark version without them."),
    ("reason", pl.String, "Why, as it was given."),
    ("erased_at", Time, "When, UTC."),
)

HELD_OUT = by_workflow(
    "held_out",
    "One training step held out of every dataset for ever, with its fingerprints; append-only.",
    ("row_id",),
    ("row_id", pl.String, "Hash of tools, history and target."),
    ("source_id", pl.String, "Correction it comes from."),
    ("held_out_week", pl.String, "Week whose build held it out."),
    ("conversation_id", pl.String, "Conversation it comes from."),
    ("principal_ref", pl.String, "Pseudonym of the person served; null where unknown."),
    ("near_duplicate_group", pl.String, "Group that was held out as a whole."),
    ("stratum", pl.String, "Failure bucket and tool it stands for."),
    ("tools", Json, "JSON list of tools."),
    ("messages", Json, "JSON list: the history."),
    ("target", Json, "JSON of the assistant message."),
    *FINGERPRINTS,
)

WEEKLY_REPORT = weekly(
    "weekly_report",
    "One self-contained HTML page a week.",
    ("week_of",),
    ("week_of", pl.String, "The week, again: one row a partition."),
    ("path", pl.String, "HTML page, relative to FLYWHEEL_HOME."),
    ("html_sha256", pl.String, "Hash of the page."),
    ("learn_ran", pl.Boolean, "Whether the learn job had run when the page was made."),
    ("note", pl.String, "Why learn did not run, or what it decided."),
)
