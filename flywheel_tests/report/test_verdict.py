"""The top of the page: one sentence that is true for each way a week can end."""

import json
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from flywheel.lake import TABLES
from flywheel.report.verdict import plain_verdict

WEEK, LATER = "2026-01-05", "2026-01-12"


def decision(verdict: str, served: str, cases: int = 40) -> dict[str, Any]:
    return {"verdict": verdict, "candidate_adapter_id": "new", "incumbent_adapter_id": "old", "served_adapter_id": served,
            "cases": cases, "difference_upper": -0.1, "reasons": json.dumps(["because"])}  # fmt: skip


def log(*entries: dict[str, Any]) -> pl.DataFrame:
    rows = [
        {"week": WEEK, "decided_at": datetime(2026, 1, 12 + n, tzinfo=UTC), **entry} for n, entry in enumerate(entries)
    ]
    schema = {**TABLES["promotion_log"].polars_schema(), "kind": pl.String, "by": pl.String, "reason": pl.String}
    return pl.DataFrame(rows, schema=schema)


@pytest.mark.parametrize(
    ("verdict", "served", "cases", "said"),
    [
        ("PROMOTE", "new", 40, "Adapter new did better and serves now, in place of adapter old."),
        ("PROMOTE", "old", 40, "Adapter new passed the gate and does not serve: a person has not released it."),
        ("REJECT", "old", 40, "Adapter new is worse than adapter old, and does not serve."),
        ("INCONCLUSIVE", "old", 40, "The evidence does not carry adapter new over adapter old; it does not serve."),
        ("INCONCLUSIVE", "old", 0, "Nothing was trained this week, so there was nothing to judge; adapter old is carried forward."),
        ("INVALID", "old", 0, "Adapter new and adapter old could not be compared, so nothing is known of adapter new; it does not serve."),
    ],
)  # fmt: skip
def test_each_verdict_has_its_sentence(verdict: str, served: str, cases: int, said: str):
    told = plain_verdict(decision(verdict, served, cases), log(), WEEK, served, [])
    assert told.headline == said and told.reasons == ["because"]


def test_a_refusal_that_is_no_loss_is_not_called_one():
    told = plain_verdict({**decision("REJECT", "old"), "difference_upper": 0.1}, log(), WEEK, "old", [])
    assert told.headline == "Adapter new breaks a rule of the gate, and does not serve."


def test_since_when_it_serves_survives_decisions_that_moved_nothing():
    entries = log({"served_adapter_id": "new"}, {"week": LATER, "served_adapter_id": "new"})
    assert plain_verdict(None, entries, LATER, "new", []).serves == "Adapter new serves since 12 January 2026, by the decision of week 2026-01-05."  # fmt: skip
    assert plain_verdict(None, log(), WEEK, "base", []).serves == "The base model serves, as it has from the beginning."
    assert plain_verdict(None, entries, LATER, "new", []).headline.startswith("Learn did not run: the correction batch")


def test_what_people_did_afterwards_is_told_with_their_reason():
    back = {"served_adapter_id": "old", "kind": "rollback", "by": "ann", "reason": "refunds went wrong"}
    told = plain_verdict(decision("PROMOTE", "new"), log({"served_adapter_id": "new"}, back), WEEK, "old", [])
    assert told.headline == "Adapter new passed the gate and does not serve: people have moved the pointer since."
    assert told.acts == ["13 January 2026, rolled back to adapter old by ann: refunds went wrong"]
    assert told.serves == "Adapter old serves since 13 January 2026, by rollback of ann."
