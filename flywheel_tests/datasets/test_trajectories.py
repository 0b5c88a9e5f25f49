"""A recovery trains as a whole or not at all, whatever one of its steps is left out for."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.benchmark.leaks import Leak
from flywheel.chat import Renderer
from flywheel.datasets.build import build
from flywheel.datasets.card import card
from flywheel.datasets.mix import Mix, select
from flywheel.lake import Lake
from flywheel.workflows.pack import Caps, Datasets, Pack
from flywheel_tests.datasets.samples import WEEKS, called, correction, put, said, workshop
from flywheel_tests.datasets.test_account import frame

WEEK = WEEKS[0]
RUN = st.fixed_dictionaries({
    "week": st.sampled_from(WEEKS[:3]), "tenant_id": st.sampled_from([None, "y", "z"]), "remedy": st.sampled_from(["trajectory", "trajectory", "steps"]),
    "steps": st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("xxxxxxy"), st.sampled_from("12")), min_size=2, max_size=4,
                      unique_by=lambda step: step[0]),
})  # fmt: skip
SETTINGS = st.builds(
    Datasets, row_budget=st.integers(1, 12), replay=st.just(0.0),
    caps=st.builds(Caps, tenant=st.sampled_from([None, 0.3]), near_duplicate_group=st.sampled_from([None, 3]), template=st.sampled_from([None, 1])),
)  # fmt: skip


def rows_of(runs: list[dict]) -> list[dict]:
    """Candidates of runs whose steps are (context, answer, spelling): other spellings are repeats, other answers conflicts."""
    return [
        {"source": "correction", "week": run["week"], "row_id": "".join(step), "source_id": f"s{number}", "message_index": index,
         "context_id": step[0], "answer_id": step[1], "shape_id": step[0] + step[1], "near_duplicate_group": "g",
         "template_id": step[0] + step[2], "kept_out": "too_long" if step[0] == "f" and step[2] == "2" else "", "detail": "",
         "remedy": run["remedy"], "tool": "t", "failure_cluster": "c", "tenant_id": run["tenant_id"]}
        for number, run in enumerate(runs) for index, step in enumerate(run["steps"])
    ]  # fmt: skip


def mixed(rows: list[dict], rules: Datasets, leaking: set[str] | frozenset[str] = frozenset()) -> Mix:
    def leaks(chosen):
        return [Leak(row["row_id"], "case", "exact", 1.0) for row in chosen if row["row_id"] in leaking]

    return select(frame(rows), leaks, rules, week=WEEKS[2])


@settings(max_examples=40)
@given(
    st.lists(RUN, min_size=3, max_size=8),
    SETTINGS,
    st.sets(st.sampled_from(["ax1", "ax2", "by1", "cx1", "dx2"])),
    st.randoms(),
)
def test_no_run_trains_in_part(runs: list[dict], rules: Datasets, leaking: set[str], shuffled):
    rows = rows_of(runs)
    mix = mixed(rows, rules, leaking)
    taught = [row["shape_id"] for row in mix.kept]
    assert len(taught) == len(set(taught)) <= rules.row_budget
    assert len(mix.kept) + mix.left_out.height == len(rows)
    for run in {row["source_id"] for row in mix.kept if row["remedy"] == "trajectory"}:
        assert {row["shape_id"] for row in rows if row["source_id"] == run} <= set(taught)
    shuffled.shuffle(rows)
    again = mixed(rows, rules, leaking)
    assert again.kept == mix.kept and again.reasons() == mix.reasons()


@pytest.mark.parametrize("lost", ["conflict", "too_long"])
def test_what_is_left_of_a_run_that_lost_a_step_is_listed(pack: Pack, renderer: Renderer, lake: Lake, lost: str):
    shop = workshop(lake, pack, renderer)
    first, second = called("get_order", 1, order_id="R1"), called("get_order", 2, order_id="S1")
    run = correction(pack, "please repair it", first, second, said("done"), bucket="bad_recovery")
    rows = [run, correction(pack, "something else", said("ok"))]
    if lost == "conflict":
        rows.append(correction(pack, "please repair it", first, said("other"), bucket="wrong_arguments"))
    if lost == "too_long":
        messages = json.loads(run["messages"])
        messages[-2]["content"] = "result " * 3000
        run["messages"] = json.dumps(messages)
    put(shop, WEEK, *rows)
    made = build(shop, WEEK)
    assert run["correction_id"] not in {row["source_id"] for row in made.sft}
    told = [row["detail"] for row in made.left_out if row["reason"] == "incomplete_trajectory"]
    at = 4 if lost == "conflict" else 6
    assert told == [f"message {at} of it is left out: {lost}"] * 2
    assert "incomplete_trajectory" in card(shop, made, WEEK)
    lake.replace_partition("dataset_left_out", made.left_out, workflow=pack.name, week=WEEK)


def test_the_places_of_a_torn_run_go_to_others():
    torn = {"week": WEEKS[2], "tenant_id": None, "remedy": "trajectory", "steps": [("a", "x", "1"), ("b", "x", "1")]}
    other = {**torn, "week": WEEKS[0], "steps": [("c", "x", "1"), ("d", "x", "1")]}
    mix = mixed(rows_of([torn, other]), Datasets(row_budget=2, replay=0), {"bx1"})
    assert [row["source_id"] for row in mix.kept] == ["s1", "s1"]
    assert mix.reasons() == {"benchmark": 1, "incomplete_trajectory": 1}
    left = dict(mix.left_out.select("reason", "detail").rows())
    assert left["incomplete_trajectory"] == "message 1 of it is left out: benchmark"
    twin = {**torn, "week": WEEKS[1], "steps": [("a", "x", "2"), ("e", "x", "1")]}
    mix = mixed(rows_of([torn, twin]), Datasets(row_budget=9, replay=0), {"bx1"})
    assert [row["source_id"] for row in mix.kept] == ["s1", "s1"], "its first step is not lost with the torn run"
    single = {**torn, "remedy": "steps"}
    mix = mixed(rows_of([single, other]), Datasets(row_budget=9, replay=0), {"bx1"})
    assert [row["row_id"] for row in mix.kept] == ["ax1", "cx1", "dx1"], "single steps stand by themselves"


def test_a_run_whose_step_repeats_one_that_does_not_train_is_half_a_run():
    """The single step is the newer one and stands for both; it leaks, and the run's own spelling of it would as well."""
    single = {"week": WEEKS[2], "tenant_id": None, "remedy": "steps", "steps": [("a", "x", "1")]}
    run = {**single, "week": WEEKS[1], "remedy": "trajectory", "steps": [("a", "x", "2"), ("b", "x", "1")]}
    heir = {**run, "week": WEEKS[0], "steps": [("b", "x", "2"), ("c", "x", "1")]}
    mix = mixed(rows_of([single, run, heir]), Datasets(row_budget=9, replay=0), {"ax1"})
    assert mix.reasons() == {"benchmark": 1, "incomplete_trajectory": 1, "repeated": 1}
    assert [row["source_id"] for row in mix.kept] == ["s2", "s2"], "what repeated the run takes its place"
    mix = mixed(rows_of([single, run]), Datasets(row_budget=9, replay=0))
    assert [row["source_id"] for row in mix.kept] == ["s0", "s1"] and mix.reasons() == {"repeated": 1}
