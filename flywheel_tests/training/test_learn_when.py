"""When a week trains: enough was accepted, enough time went by, something grave was corrected, or the base is another."""

from pathlib import Path
from typing import Any

import pytest

from flywheel.lake import Lake
from flywheel.training.learn_when import Pending, pending, why_banked
from flywheel.workflows.learn_settings import LearnWhen
from flywheel_tests.promotion.house import blank

WEEKS = ("2026-01-05", "2026-01-12", "2026-01-19", "2026-01-26", "2026-02-02")
RULE = LearnWhen(min_accepted=8, weeks=4, critical=3)


def accept(lake: Lake, week: str, count: int, cluster: str = "c", severity: str = "major") -> None:
    """So many accepted corrections of a week, all of one cluster."""
    rows = [{"correction_id": f"{week}{n}", "item_id": f"{week}{n}", "failure_cluster": cluster} for n in range(count)]
    lake.replace_partition(
        "corrected_traces", [blank("corrected_traces", **row) for row in rows], workflow="door", week=week
    )
    items = [blank("correction_batch", item_id=row["item_id"], severity=severity) for row in rows]
    lake.replace_partition("correction_batch", items, workflow="door", week=week)


def train(lake: Lake, week: str, **more: Any) -> None:
    """A week's checkpoint."""
    row = {"adapter_id": week, "base_model_sha256": "base", "chat_template_sha256": "template", **more}
    lake.replace_partition("checkpoint", [blank("checkpoint", **row)], workflow="door", week=week)


def found(lake: Lake, week: str, base: str = "base") -> Pending:
    return pending(lake, "door", week, base_sha256=base, template_sha256="template")


def test_small_weeks_are_pooled_until_they_are_worth_a_training(lake: Lake):
    for week, count in zip(WEEKS[:3], (3, 3, 3), strict=True):
        accept(lake, week, count)
    assert [found(lake, week).accepted for week in WEEKS[:3]] == [3, 6, 9]
    assert [bool(why_banked(found(lake, week), 10, RULE)) for week in WEEKS[:3]] == [True, True, False]
    train(lake, WEEKS[2])
    accept(lake, WEEKS[3], 2)
    assert (found(lake, WEEKS[3]).accepted, found(lake, WEEKS[2]).accepted) == (2, 9), (
        "a week run again counts as it did"
    )


def test_nothing_waits_longer_than_the_pack_says_and_nothing_trains_on_nothing_new(lake: Lake):
    train(lake, WEEKS[0])
    for week in WEEKS[1:]:
        accept(lake, week, 0)
    assert "banked: 0 accepted corrections" in str(why_banked(found(lake, WEEKS[4]), 10, RULE))
    accept(lake, WEEKS[2], 1)
    assert why_banked(found(lake, WEEKS[3]), 10, RULE) and not why_banked(found(lake, WEEKS[4]), 10, RULE)


def test_before_the_first_training_weeks_count_from_the_first_correction(lake: Lake):
    accept(lake, WEEKS[1], 1)
    assert [found(lake, week).since for week in WEEKS] == [0, 1, 2, 3, 4]


def test_a_critical_cluster_does_not_wait(lake: Lake):
    accept(lake, WEEKS[0], 3, severity="critical")
    assert found(lake, WEEKS[0]).critical == 3 and why_banked(found(lake, WEEKS[0]), 10, RULE) is None
    accept(lake, WEEKS[0], 2, severity="critical")
    assert why_banked(found(lake, WEEKS[0]), 10, RULE)
    accept(lake, WEEKS[1], 3, cluster="another")
    assert found(lake, WEEKS[1]).critical == 2 and why_banked(found(lake, WEEKS[1]), 10, RULE)


def test_another_base_or_template_is_a_reason_to_train_by_itself(lake: Lake):
    train(lake, WEEKS[0])
    accept(lake, WEEKS[1], 0)
    assert why_banked(found(lake, WEEKS[1]), 10, RULE) and why_banked(found(lake, WEEKS[1], "other"), 10, RULE) is None
    assert "is empty" in str(why_banked(found(lake, WEEKS[1], "other"), 0, RULE))
    train(lake, WEEKS[0], base_model_sha256=None)
    assert why_banked(found(lake, WEEKS[1], "other"), 10, RULE), "what it was trained on is not known"


@pytest.mark.parametrize(
    ("accepted", "since", "pace", "said"),
    [(3, 1, 2.5, "week of 2026-02-16"), (1, 3, 0.25, "week of 2026-02-09"), (0, 3, 0.0, "asks for 8; what"), (0, 9, 4.0, "week of 2026-02-16")],
)  # fmt: skip
def test_a_banked_week_says_when_it_expects_to_train(accepted: int, since: int, pace: float, said: str):
    assert said in str(why_banked(Pending(WEEKS[4], accepted, 0, since, pace), 10, RULE))


def test_a_lake_without_any_table_has_nothing_to_learn(tmp_path: Path):
    assert found(Lake(tmp_path / "new"), WEEKS[0]) == Pending(WEEKS[0], 0)
