"""Stored outputs that can be scored again: what this evaluation would generate is there already, so nothing is generated."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from flywheel.benchmark.cases import Case
from flywheel.benchmark.row_digest import tampered
from flywheel.evaluation.base_arm import BASE_ARM
from flywheel.evaluation.runner import Benchmark
from flywheel.evaluation.scoring import Scorer


def rescored(
    stored: pl.DataFrame, benchmark: Benchmark, cases: Mapping[str, Sequence[Case]]
) -> list[dict[str, Any]] | None:
    """The stored rows under today's scorers and metrics; None where they are not what this evaluation would generate.

    They are when all of them carry its `generation_sha256`, every arm has every case in every epoch, and no row was changed. Weeks of
    before the base model was an arm lack that one alone, and are scored again without it.

    Args:
        stored: the `eval_results` partition as it is.
        cases: arm -> the cases it has to have, in every epoch.
    """
    epochs = range(benchmark.pack.settings.evaluation.epochs)
    due = {arm: its for arm, its in cases.items() if arm != BASE_ARM or BASE_ARM in set(stored["arm"])}
    wanted = {(arm, case.id, epoch) for arm, its in due.items() for case in its for epoch in epochs}
    if not wanted or set(stored.select("arm", "case_id", "epoch").iter_rows()) != wanted:
        return None
    if set(stored["generation_sha256"]) != {benchmark.generation_sha256} or tampered(stored):
        return None
    scorer = Scorer(benchmark.pack, benchmark.cases)
    return [scorer.row(row) for row in stored.drop("week", "workflow").iter_rows(named=True)]
