"""Tables of the people who check the program's scores: what they said, how far they agree, and where they do not."""

import polars as pl

from flywheel.lake.table import Time, by_workflow, weekly

EVALUATION_RATINGS = by_workflow(
    "evaluation_ratings",
    "One person's judgement of one evaluated output, given without knowing arm, adapter or score; append-only.",
    ("rating_id",),
    ("rating_id", pl.String, "Hash of the output and the person."),
    ("output_id", pl.String, "Hash of case, epoch and what the model wrote; says nothing of the arm."),
    ("case_id", pl.String, "Benchmark case."),
    ("epoch", pl.Int32, "0-based repetition."),
    ("sampled_week", pl.String, "Week whose sample it was drawn for."),
    ("verdict", pl.String, "pass, fail or unsure; unsure decides nothing."),
    ("comment", pl.String, "Why, in the person's words; empty where nothing was said."),
    ("saw_expectation", pl.Boolean, "Whether the person looked at what the case expects before judging."),
    ("rater", pl.String, "Who looked at the output, by name."),
    ("rated_at", Time, "When it was judged, by the person's clock, UTC; null where the sheet does not say."),
    ("imported_at", Time, "When it was imported, UTC."),
)

EVALUATION_REVIEW = weekly(
    "evaluation_review",
    "One measure of a week's human review: how much was judged, how far people agree with the program and with each other.",
    ("figure",),
    ("figure", pl.String, "What is measured, e.g. reviewed, agreement, kappa, alpha_between_raters."),
    ("value", pl.Float64, "Its value; null where it cannot be known, never a perfect score instead."),
    ("low", pl.Float64, "Lower bound of the 95 % interval; null without one."),
    ("high", pl.Float64, "Upper bound of the 95 % interval; null without one."),
    ("n", pl.Int64, "On how many outputs it stands."),
    ("note", pl.String, "How it is to be read."),
)

EVALUATION_DISAGREEMENTS = weekly(
    "evaluation_disagreements",
    "One output on which people and the program check disagree: the grader is suspected, the score stays until the case is mended.",
    ("output_id",),
    ("output_id", pl.String, "Hash of case, epoch and what the model wrote."),
    ("case_id", pl.String, "Benchmark case."),
    ("epoch", pl.Int32, "0-based repetition."),
    ("category", pl.String, "tool_calling, multi_step, refusal or recovery."),
    ("fault", pl.String, "grader: the failure is put down to the check, not to the agent."),
    ("program_success", pl.Boolean, "What the program check says."),
    ("failure_reason", pl.String, "Why the program failed it; null where it passed."),
    ("human_success", pl.Boolean, "What the people say."),
    ("raters", pl.String, "Who said so, comma-separated."),
    ("comments", pl.String, "What they wrote, one line each."),
)
