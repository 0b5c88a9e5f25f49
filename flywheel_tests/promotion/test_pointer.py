"""The pointer: a fold over the log that past weeks cannot move."""

from datetime import UTC, datetime

import polars as pl

from flywheel.lake import TABLES
from flywheel.promotion.pointer import decided, entry, history, may_move, moves, serving, undecided


def log(*moves: tuple[str, str, str]) -> pl.DataFrame:
    rows = [
        entry(week, "d", "PROMOTE", old, new, datetime(2026, 2, n + 1, tzinfo=UTC))
        for n, (week, old, new) in enumerate(moves)
    ]
    return pl.DataFrame([{"workflow": "desk", **row} for row in rows], schema=TABLES["promotion_log"].polars_schema())


def test_the_base_model_serves_before_the_first_decision():
    assert serving(log()) == "base" and may_move(log(), "2026-01-05") and decided(log(), "2026-01-05") is None


def test_each_week_sees_what_served_before_it():
    moves = log(("2026-01-05", "base", "a"), ("2026-01-12", "a", "a"), ("2026-01-19", "a", "b"))
    assert [serving(moves, before_week=week) for week in ("2026-01-05", "2026-01-12", "2026-01-19", "2026-01-26")] == [
        "base",
        "a",
        "a",
        "b",
    ]
    assert serving(moves) == "b"


def test_an_invalid_week_is_decided_again_unless_somebody_acted_since():
    moment = [datetime(2026, 2, day, tzinfo=UTC) for day in (1, 2, 3)]
    rows = [entry("2026-01-05", "d1", "INVALID", "base", "base", moment[0], candidate="a")]
    act = entry("2026-01-05", None, None, "base", "b", moment[1], kind="override", by="Dana", place=1)
    good = entry("2026-01-05", "d2", "PROMOTE", "base", "a", moment[2], candidate="a")

    def made(*more: dict) -> pl.DataFrame:
        found = [{"workflow": "desk", **row} for row in (*rows, *more)]
        return pl.DataFrame(found, schema=TABLES["promotion_log"].polars_schema())

    assert undecided(log(), "2026-01-05") and undecided(made(), "2026-01-05")
    assert not undecided(made(act), "2026-01-05") and not undecided(made(good), "2026-01-05")
    assert (decided(made(good), "2026-01-05") or {})["verdict"] == "PROMOTE"


def test_only_the_newest_undecided_week_may_move():
    moves = log(("2026-01-05", "base", "a"), ("2026-01-19", "a", "b"))
    assert not may_move(moves, "2026-01-05") and not may_move(moves, "2026-01-12") and may_move(moves, "2026-01-26")
    assert decided(moves, "2026-01-19") and not decided(moves, "2026-01-12")


FIRST, OTHER = "endpoint:large-1@api.example.com", "endpoint:large-2@api.example.com"


def test_an_endpoint_serves_until_a_first_release_and_a_decided_week_keeps_its_own():
    assert serving(log(), first=FIRST) == FIRST == history(log(), first=FIRST)[0].adapter_id
    kept = log(("2026-01-05", "base", "base"), ("2026-01-12", FIRST, FIRST))
    assert not moves(kept), "the pack named it meanwhile, and nobody released anything"
    assert serving(kept) == FIRST and serving(kept, first=OTHER) == OTHER, (
        "what answers today is what the pack says today"
    )
    weeks = ("2026-01-05", "2026-01-12", "2026-01-19")
    assert [serving(kept, before_week=week, first=OTHER) for week in weeks] == ["base", FIRST, OTHER]
    assert serving(kept, until_week="2026-01-12", first=OTHER) == FIRST
    back = log(("2026-01-05", FIRST, FIRST), ("2026-01-12", "base", "base"))
    assert not moves(back) and serving(back) == "base"


def test_after_a_first_release_the_adapter_serves_whatever_the_pack_says():
    released = log(("2026-01-05", FIRST, FIRST), ("2026-01-12", FIRST, "a"), ("2026-01-19", "a", "a"))
    assert serving(released, first=OTHER) == "a" and [row["week"] for row in moves(released)] == ["2026-01-12"]
    assert [one.adapter_id for one in history(released, first=OTHER)] == [FIRST, "a"], (
        "a rollback leads to what was there"
    )
