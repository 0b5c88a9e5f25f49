"""The week, as Dagster sees it.

    production_traces -> production_failures -> correction_batch                    job collect, on the weekly schedule
        (people correct: claim, review, adjudicate, audit)                          days
    corrected_traces -> prequential_results (last week's adapter on them, before they train)
        -> sft_dataset, preference_dataset -> checkpoint
        -> eval_results -> promotion -> weekly_report                               job learn, when a batch is complete
    served_model (external): what promotion decided in week N serves the traces and is the incumbent of week N+1

Every asset is partitioned by week x workflow; `benchmark` and `demonstrations` by workflow only. The stages lie in
`defs/`, one thin file each.
"""

from pathlib import Path

import dagster as dg

import flywheel.partitions  # noqa: F401  (first: it silences Dagster's beta warnings, once)

defs = dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
