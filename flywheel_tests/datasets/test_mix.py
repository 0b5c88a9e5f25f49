"""The mix: one answer a context, nothing near the benchmark, every step accounted for, whatever the order."""

import json

import pytest

from flywheel.benchmark.cases import load_cases
from flywheel.chat import Renderer
from flywheel.datasets.build import build, read_candidates
from flywheel.datasets.card import card
from flywheel.datasets.mix import select
from flywheel.datasets.preference import preference_rows
from flywheel.datasets.steps import steps_of_correction, steps_of_demonstration
from flywheel.lake import Lake
from flywheel.workflows.pack import Pack
from flywheel_tests.datasets.samples import WEEKS, called, correction, put, said, workshop

WEEK = WEEKS[0]


def test_read_is_kept_plus_left_out_and_rows_fit_the_tables(pack: Pack, renderer: Renderer, lake: Lake):
    shop = workshop(lake, pack, renderer)
    case = load_cases(pack.folder / "benchmark", pack.tools)[0]
    asked = next(message["content"] for message in case.messages if message["role"] == "user")
    put(shop, WEEK, correction(pack, "status A1", called("get_order", order_id="A1")), correction(pack, "Status, A1!", called("get_order", order_id="A1")),
        correction(pack, "what about A3", said("yes")), correction(pack, "what about A3", said("no")), correction(pack, "long " * 3000, said("ok")),
        correction(pack, asked, said("ok")), correction(pack, "hm", said("ok"), conversation_id=case.id))  # fmt: skip
    made = build(shop, WEEK)
    assert made.mix.reasons() == {"benchmark": 2, "conflict": 2, "repeated": 1, "too_long": 1}
    assert len(made.sft) + made.mix.left_out.height == 7
    for table, rows in (("sft_dataset", made.sft), ("preference_dataset", made.pairs), ("dataset_conflicts", made.conflicts),
                        ("dataset_left_out", made.left_out)):  # fmt: skip
        lake.replace_partition(table, rows, workflow=pack.name, week=WEEK)
    assert any(case.id in row["detail"] for row in made.left_out), "the case is named"


def test_nobody_wins_a_conflict_and_both_sides_are_listed(pack: Pack, renderer: Renderer, lake: Lake):
    shop = workshop(lake, pack, renderer)
    put(shop, WEEKS[0], correction(pack, "what about A3", said("yes"), annotator="ann"))
    assert len(build(shop, WEEKS[0]).sft) == 1
    put(shop, WEEKS[1], correction(pack, "what  about A3", said("no"), annotator="bea"))
    made = build(shop, WEEKS[1])
    assert made.sft == [] and made.pairs == []
    assert {(row["annotator"], json.loads(row["target"])["content"]) for row in made.conflicts} == {
        ("ann", "yes"),
        ("bea", "no"),
    }


def test_an_answer_given_again_in_another_spelling_ends_no_conflict(pack: Pack, renderer: Renderer, lake: Lake):
    """Else the repeat stands for the older answer, whose context then has one answer only, and both of them train."""
    shop = workshop(lake, pack, renderer)
    text = "please open the red door for me now"
    put(shop, WEEKS[0], correction(pack, text, called("open_door", door="red")), correction(pack, text, said("No.")))
    put(shop, WEEKS[1], correction(pack, f"{text}!!", called("open_door", door="red")))
    put(shop, WEEKS[2], correction(pack, text, called("open_door", door="red"), annotator="cat"))
    for week, disputed in zip(WEEKS[:3], (2, 2, 3), strict=True):
        made = build(shop, week)
        assert made.mix.reasons() == {"conflict": disputed} and len(made.conflicts) == disputed
        assert said("No.") not in [json.loads(row["target"]) for row in made.sft]


def test_the_order_of_the_candidates_does_not_matter(pack: Pack, renderer: Renderer, lake: Lake):
    shop = workshop(lake, pack, renderer)
    put(
        shop,
        WEEK,
        *(
            correction(pack, f"status A{n % 7}", called("get_order", order_id=f"A{n % 7}"), principal_ref=f"p{n}")
            for n in range(21)
        ),
    )
    build(shop, WEEK)
    rows = read_candidates(shop, WEEK)
    settings = shop.pack.settings.datasets.model_copy(update={"row_budget": 5})
    one = select(rows, lambda chosen: [], settings, week=WEEK)
    for seed in range(3):
        other = select(rows.sample(fraction=1, shuffle=True, seed=seed), lambda chosen: [], settings, week=WEEK)
        assert other.kept == one.kept and other.reasons() == one.reasons()
    assert len(one.kept) == 5 and one.reasons() == {"repeated": 14, "budget": 2}


def test_the_budget_takes_the_newest_of_every_cluster_first(pack: Pack, renderer: Renderer, lake: Lake):
    shop = workshop(lake, pack, renderer, row_budget=8)
    for week in WEEKS[:4]:
        put(shop, week, *(correction(pack, f"status {week} {n}", called("get_order", order_id=f"{week}{n}"), failure_cluster=f"cluster {n % 2}")
                          for n in range(6)))  # fmt: skip
    made = build(shop, WEEKS[3])
    assert len(made.sft) == 8 and made.mix.reasons() == {"budget": 16}
    assert {row["failure_cluster"] for row in made.sft} == {"cluster 0", "cluster 1"}
    weeks = [row["from_week"] for row in made.sft]
    assert weeks.count(WEEKS[3]) >= weeks.count(WEEKS[0])


def test_a_mix_is_never_larger_than_what_training_shows(pack: Pack, renderer: Renderer, lake: Lake):
    """Else training would draw among all weeks, and most of this week's corrections would be shown to nobody."""
    few = pack.settings.training.model_copy(update={"sft_presentations": 9, "validation_share": 0.1})
    small = Pack(**{**vars(pack), "settings": pack.settings.model_copy(update={"training": few})})
    shop = workshop(lake, small, renderer)
    for week, count in zip(WEEKS[:2], (40, 6), strict=True):
        put(
            shop,
            week,
            *(correction(pack, f"status {week} {n}", called("get_order", order_id=f"{week}{n}")) for n in range(count)),
        )
    made = build(shop, WEEKS[1])
    assert len(made.sft) == 10 and made.mix.reasons() == {"budget": 36}
    assert [row["from_week"] for row in made.sft].count(WEEKS[1]) == 6, "all of this week's are shown"
    assert any("`training.sft_presentations` shows so many rows once" in note for note in made.mix.notes)
    assert "row budget 10" in card(shop, made, WEEKS[1])


def test_a_trajectory_is_taken_as_a_whole(pack: Pack, renderer: Renderer, lake: Lake):
    shop = workshop(lake, pack, renderer, row_budget=4)
    runs = [correction(pack, f"please repair {n}", called("get_order", 1, order_id=f"R{n}"), called("get_order", 2, order_id=f"S{n}"), said(f"done {n}"),
                       bucket="bad_recovery") for n in range(2)]  # fmt: skip
    put(shop, WEEK, *runs)
    made = build(shop, WEEK)
    assert (
        {row["remedy"] for row in made.sft} == {"trajectory"}
        and len({row["source_id"] for row in made.sft}) == 1
        and len(made.sft) == 3
    )


@pytest.mark.parametrize(("people", "kept", "off"), [(25, 27, False), (3, 33, True)])
def test_one_person_fills_three_items_and_the_cap_is_off_where_there_are_few(
    pack, renderer, lake, people: int, kept: int, off: bool
):
    shop = workshop(lake, pack, renderer)
    loud = [
        correction(pack, f"again and again {n}", called("get_order", order_id=f"L{n}"), principal_ref="loud")
        for n in range(33 - people + 1 if off else 9)
    ]
    others = [
        correction(pack, f"one question {n}", called("get_order", order_id=f"O{n}"), principal_ref=f"p{n}")
        for n in range(people - 1)
    ]
    put(shop, WEEK, *loud, *others)
    made = build(shop, WEEK)
    assert len(made.sft) == kept and any("cap per principal is off" in note for note in made.mix.notes) == off
    if not off:
        assert made.mix.reasons()["cap_principal"] == 6


def test_caps_per_tenant_group_and_template_are_the_packs(pack: Pack, renderer: Renderer, lake: Lake):
    shop = workshop(lake, pack, renderer, caps=pack.settings.datasets.caps.model_copy(update={"template": 4}))
    put(
        shop,
        WEEK,
        *(correction(pack, f"Cancel order A{n} at once", called("get_order", order_id=f"A{n}")) for n in range(10)),
    )
    assert build(shop, WEEK).mix.reasons() == {"cap_template": 6}


def test_only_steps_people_wrote_become_rows(pack: Pack):
    row = {**correction(pack, "A1?", said("Right."), said("Later.")), "week": WEEK}
    assert [step.message_index for step in steps_of_correction(row)] == [2, 3]
    assert [step.rejected is not None for step in steps_of_correction(row)] == [True, False]
    assert [step.message_index for step in steps_of_demonstration({**row, "demonstration_id": "d"})] == [2, 3]


def test_pairs_share_their_history_and_follow_the_remedy_table(pack: Pack, renderer: Renderer, lake: Lake):
    rows = [correction(pack, f"A{n}?", said(f"Right {n}."), wrong=said("Wrong."), bucket=bucket)
            for n, bucket in enumerate(("wrong_tool_selection", "schema_violation", "refusal_error"))]  # fmt: skip
    same = correction(pack, "same?", said("Right."), wrong=said("Right."))
    shop = workshop(lake, pack, renderer, remedies={"refusal_error": ["steps"]})
    put(shop, WEEK, *rows, same)
    made = build(shop, WEEK)
    assert len(made.sft) == 4
    (pair,) = made.pairs
    assert (json.loads(pair["chosen"])["content"], json.loads(pair["rejected"])["content"]) == ("Right 0.", "Wrong.")
    assert (
        json.loads(pair["messages"])[-1] == {"role": "user", "content": "A0?"}
        and pair["bucket"] == "wrong_tool_selection"
    )
    assert preference_rows([]) == []
