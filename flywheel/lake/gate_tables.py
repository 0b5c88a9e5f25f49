"""Tables that stand around the gate: what a verdict asks the next week for, and comparisons outside the weeks."""

import polars as pl

from flywheel.lake.judge_tables import EVAL_RESULTS
from flywheel.lake.table import Json, Time, by_workflow, weekly

NEXT_ASKS = weekly(
    "next_asks",
    "One failure bucket and tool that the week's candidate failed benchmark cases of, and what to do about it. Never trains.",
    ("bucket", "tool"),
    ("bucket", pl.String, "Bucket that triage's taxonomy gave the failed runs."),
    ("tool", pl.String, "Tool the cases are about; 'no tool' where they name and expect none."),
    ("confused_with", Json, "JSON list of the tools that were called instead, alphabetical."),
    ("failed", pl.Int64, "Cases the candidate failed."),
    ("cases", pl.Int64, "Cases of this bucket and tool that it ran."),
    ("regressed", pl.Int64, "Of the failed ones, cases the incumbent solved."),
    ("corrected", pl.Int64, "Corrections of this bucket and tool accepted this week: the candidate trained on them."),
    (
        "remedy",
        pl.String,
        "steps, pair, trajectory, joined by +: how a correction trains; mend_schema where none can help.",
    ),
    (
        "items_wanted",
        pl.Int64,
        "Corrections wanted; next week's batch gives so many failures of this kind more weight.",
    ),
    ("example_case_id", pl.String, "One failed case."),
    ("example_reason", pl.String, "Why it failed."),
    ("candidate_adapter_id", pl.String, "Adapter that failed."),
    ("verdict", pl.String, "Verdict of the week; an INVALID one asks for nothing."),
)

CONFIGURATION_VERDICTS = by_workflow(
    "configuration_verdicts",
    "Append-only: two whole configurations compared on the frozen benchmark, outside the weeks (flywheel evaluate --gate).",
    ("comparison_id",),
    ("comparison_id", pl.String, "Hash of the verdict and its moment."),
    ("baseline_name", pl.String, "Name of the configuration that was the baseline; pack for the pack as it was."),
    ("baseline_sha256", pl.String, "Hash of it."),
    (
        "baseline",
        Json,
        "JSON object of all its parts: model, adapter, quantisation, prompt, tools, template, decoding, vLLM.",
    ),
    ("candidate_name", pl.String, "Name of the one that was compared with it."),
    ("candidate_sha256", pl.String, "Hash of it."),
    ("candidate", Json, "JSON object of all its parts."),
    (
        "verdict",
        pl.String,
        "PROMOTE, REJECT, INCONCLUSIVE or INVALID. It moves nothing; after a PROMOTE the candidate counts as evaluated.",
    ),
    ("reasons", Json, "JSON list of sentences, the decisive one first."),
    ("advisory", pl.Boolean, "Too few cases to decide."),
    ("cases", pl.Int64, "Cases both completed."),
    ("baseline_success", pl.Float64, "Success rate of the baseline, 0 to 1."),
    ("candidate_success", pl.Float64, "Success rate of the candidate, 0 to 1."),
    ("difference", pl.Float64, "Candidate minus baseline, mean over cases."),
    ("difference_lower", pl.Float64, "One-sided 97.5 % clustered lower bound of the difference."),
    ("difference_upper", pl.Float64, "One-sided 97.5 % clustered upper bound of the difference."),
    ("benchmark_version", pl.String, "Hash of the frozen cases."),
    ("scorer_version", pl.String, "Version of the scorers."),
    ("decided_at", Time, "When, UTC."),
)

_RESULT = tuple(
    (column.name, column.dtype, column.description)
    for column in EVAL_RESULTS.columns
    if column.name not in EVAL_RESULTS.partitions
)

COMPARISON_RESULTS = by_workflow(
    "comparison_results",
    "One case x arm x epoch of a comparison of configurations; of the newest ten comparisons.",
    ("comparison_id", "arm", "case_id", "epoch"),
    ("comparison_id", pl.String, "The comparison, in configuration_verdicts."),
    *_RESULT,
)

REFERENCE_RESULTS = by_workflow(
    "reference_results",
    "One case x epoch of a reference model on the frozen benchmark: run here, asked elsewhere, or imported. Never judged by the gate.",
    ("reference", "benchmark_version", "case_id", "epoch"),
    ("reference", pl.String, "What it is called."),
    ("configuration", Json, "JSON object of all its parts, or the imported file's name."),
    ("ran_at", Time, "When it was run or imported, UTC."),
    *_RESULT,
)
