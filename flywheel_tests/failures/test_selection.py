"""Selection: size, severity and novelty first, capped, with a random slice; nothing is handed out twice."""

import json

import polars as pl
import pytest

from flywheel.failures.asked import Asked, asked
from flywheel.failures.selection import Selection, numbered, select
from flywheel.lake import TABLES, Lake
from flywheel.similarity.near_duplicates import group
from flywheel.workflows.pack import Batch


def world(
    count: int, *, flagged: int, principals: int | None = None, text: str | None = None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    traces, failures = [], []
    for number in range(count):
        words = text or f"question {number} about thing {number * 7} and {number * 13} please {number}"
        messages = [{"role": "user", "content": words}, {"role": "assistant", "content": "?"}]
        principal = f"p{number % principals}" if principals else None
        traces.append({"trace_id": f"t{number:03d}", "content_sha256": str(number), "messages": json.dumps(messages), "tools_sha256": "x", "tenant_id": None,
                       "conversation_id": f"k{number}", "principal_ref": principal})  # fmt: skip
        if number < flagged:
            cluster = "big" if number % 3 else "small"
            failures.append({"failure_id": f"f{number:03d}", "trace_id": f"t{number:03d}", "failure_cluster": cluster, "fault": "agent",
                             "severity": "major", "bucket": "wrong_arguments", "message_index": 1})  # fmt: skip
    return pl.DataFrame(failures), pl.DataFrame(traces)


EARLIER = pl.DataFrame(schema={"trace_id": pl.String, "principal_ref": pl.String, "near_duplicate_group": pl.String})


def pick(
    failures: pl.DataFrame,
    traces: pl.DataFrame,
    *,
    handed_out=(),
    known=(),
    earlier: pl.DataFrame = EARLIER,
    carried_over=(),
    asks=(),
    **settings,
) -> Selection:
    batch = Batch(**{"max_items": 10, "random_slice": 2, "minutes": 999, "minutes_per_item": 1, **settings})
    texts = {row["trace_id"]: json.loads(row["messages"])[0]["content"] for row in traces.iter_rows(named=True)}
    if handed_out:
        earlier = pl.DataFrame(
            [{"trace_id": key, "principal_ref": None, "near_duplicate_group": "gone"} for key in handed_out],
            schema=EARLIER.schema,
        )
    return select(
        failures, traces, groups=group(texts), toolsets={"x": "[]"}, earlier=earlier, known_clusters=set(known), settings=batch,
        week="2026-01-05", carried_over=set(carried_over), asks=asks,
    )  # fmt: skip


def test_the_batch_is_full_ordered_and_the_same_each_time():
    failures, traces = world(40, flagged=30)
    first, again = pick(failures, traces), pick(failures.reverse(), traces.reverse())
    assert first == again
    items, version = numbered(first.items)
    assert [item["position"] for item in items] == list(range(10)) and {i["batch_version"] for i in items} == {version}
    assert [item["failure_cluster"] for item in first.items] == ["big"] * 8 + ["unflagged"] * 2
    assert len({item["trace_id"] for item in first.items}) == 10


def test_novel_clusters_come_before_known_ones():
    failures, traces = world(40, flagged=30)
    assert pick(failures, traces, known=["big"]).items[0]["failure_cluster"] == "small"


def test_runs_handed_out_before_are_passed_over_and_counted():
    failures, traces = world(20, flagged=12)
    before = [item["trace_id"] for item in pick(failures, traces).items]
    later = pick(failures, traces, handed_out=before)
    assert not set(before) & {item["trace_id"] for item in later.items}
    assert later.passed_over["handed_out"] == len(set(before) & set(failures["trace_id"]))


def test_one_person_gets_at_most_their_cap_but_few_principals_switch_it_off():
    failures, traces = world(100, flagged=100, principals=25)
    items = pick(failures, traces, max_items=90, random_slice=0).items
    assert max(pl.Series([item["principal_ref"] for item in items]).value_counts()["count"]) == 3
    failures, traces = world(30, flagged=30, principals=2)
    assert len(pick(failures, traces, max_items=30, random_slice=0).items) == 30


def test_near_duplicates_are_capped():
    failures, traces = world(12, flagged=12, text="the very same words said again and again")
    selection = pick(failures, traces)
    assert len(selection.items) == 2 and selection.passed_over["near_duplicate_cap"] == 10


@pytest.mark.parametrize(("minutes", "expected"), [(5, 5), (100, 10)])
def test_the_budget_in_minutes_binds(minutes: int, expected: int):
    failures, traces = world(40, flagged=30)
    assert len(pick(failures, traces, minutes=minutes).items) == expected


def test_an_empty_week_gives_an_empty_batch():
    failures, traces = world(3, flagged=3)
    assert pick(failures.clear(), traces.clear()).items == []


def test_caps_count_what_earlier_batches_held():
    failures, traces = world(100, flagged=100, principals=25)
    before = pl.DataFrame(
        [{"trace_id": f"old{n}", "principal_ref": "p1", "near_duplicate_group": f"g{n}"} for n in range(3)]
    )
    items = pick(failures, traces, max_items=90, random_slice=0, earlier=before).items
    assert "p1" not in {item["principal_ref"] for item in items}, "three items of this person were handed out before"


def test_one_tenant_gets_at_most_half():
    failures, traces = world(20, flagged=20)
    traces = traces.with_columns(
        tenant_id=pl.when(pl.int_range(20) < 18).then(pl.lit("big")).otherwise(pl.lit("small"))
    )
    selection = pick(failures, traces, max_items=20, random_slice=0)
    assert len(selection.items) == 12 and selection.passed_over["tenant_cap"] == 8


def test_what_an_earlier_batch_could_not_finish_comes_first():
    failures, traces = world(40, flagged=30)
    carried = ["t029", "t028", "t039"]  # the last one is no failure: it was in the random slice
    items = pick(failures, traces, carried_over=carried).items
    assert {item["trace_id"] for item in items[:2]} == {"t028", "t029"} and "t039" in {
        item["trace_id"] for item in items[-2:]
    }
    assert items[0]["picked_because"].startswith("carried over, ") and len(items) == 10


def test_what_the_last_verdict_asked_for_counts_double_and_no_more_often_than_wanted():
    failures, traces = world(40, flagged=30)
    failures = failures.with_columns(tool=pl.when(pl.col("failure_cluster") == "small").then(pl.lit("pay")))
    asks = [
        Asked("wrong_arguments", "refund", frozenset({"refund", "pay"}), 3),
        Asked("loop", "pay", frozenset({"pay"}), 9),
    ]
    plain, first = pick(failures, traces), pick(failures, traces, asks=asks)
    assert all("asked for" not in item["picked_because"] for item in plain.items)
    served = [
        item
        for item in first.items
        if "asked for by the last verdict: wrong arguments with refund" in item["picked_because"]
    ]
    assert len(served) == 3 and first.items[:3] == served, "three were wanted, and they come first"
    assert {item["failure_cluster"] for item in served} == {"big"}, (
        "no tool named: the bucket decides, the larger cluster first"
    )
    named = failures.with_columns(tool=pl.col("tool").fill_null("open"))
    assert {item["failure_cluster"] for item in pick(named, traces, asks=asks).items[:3]} == {"small"}
    before = [item["trace_id"] for item in served]
    again = pick(failures, traces, handed_out=before, asks=asks).items
    assert sum("asked for" in item["picked_because"] for item in again) == 3, "handed out before, they serve no ask"


def test_near_duplicates_serve_an_ask_once():
    failures, traces = world(12, flagged=12, text="the very same words said again and again")
    failures = failures.with_columns(tool=pl.lit("pay"))
    items = pick(failures, traces, asks=[Asked("wrong_arguments", "pay", frozenset({"pay"}), 5)]).items
    assert sum("asked for" in item["picked_because"] for item in items) == 1


def test_the_newest_asks_with_something_wanted_are_read(lake: Lake):
    assert asked(lake, "door", "2026-01-12") == []
    for week, bucket, wanted in (
        ("2026-01-05", "loop", 3),
        ("2026-01-12", "wrong_arguments", 6),
        ("2026-01-19", "late", 9),
    ):
        rows = [dict.fromkeys(TABLES["next_asks"].polars_schema()) | {"bucket": name, "tool": "pay", "confused_with": '["refund"]', "items_wanted": many}
                for name, many in ((bucket, wanted), ("unusable", 0))]  # fmt: skip
        rows = [{key: value for key, value in row.items() if key not in ("week", "workflow")} for row in rows]
        lake.replace_partition("next_asks", rows, workflow="door", week=week)
    assert asked(lake, "door", "2026-01-12") == [Asked("wrong_arguments", "pay", frozenset({"pay", "refund"}), 6)]
