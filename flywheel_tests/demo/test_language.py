"""The later phrases: well formed, strangers to the benchmark, dealt out to the weeks; the first week stays as it was."""

import hashlib
import json
import random
from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta
from string import Formatter

import pytest

from flywheel.benchmark.cases import load_cases
from flywheel.benchmark.fingerprints import case_text
from flywheel.demo import delivery_slots, language, language_later, language_later_words, support_customers
from flywheel.demo.families import FIRST_WEEK, LATER_SHARE, Families, families_of
from flywheel.demo.language import draw_facts, fill
from flywheel.demo.scan import shared_material
from flywheel.settings import Settings
from flywheel.workflows.pack import Pack
from flywheel_tests.demo.test_simulation import play

WEEKS = [(date.fromisoformat(FIRST_WEEK) + timedelta(weeks=number)).isoformat() for number in range(12)]
LATER = {name: getattr(module, name) for module in (language_later_words, language_later) for name in vars(module) if name.isupper()}  # fmt: skip
# Table -> fewest phrases a list of it has, slots each phrase must have (by key where they differ), slots it may have.
SHAPE = {
    "WISHES": (45, None, "product"),
    "WISHES_WITHOUT_NUMBER": (45, None, "product"),
    "CANCEL_REASONS": (20, "", "product"),
    "REFUND_REASONS": (20, "", "product"),
    "TICKETS": (20, "o", "product"),
    "OUT_OF_SCOPE": (30, "", "product city"),
    "UNSAFE": (20, "", "product city name"),
    "DELIVERY_SLOTS": (30, "o day time", "product"),
}
NEEDED = {
    "WISHES": {
        "get_order": "o",
        "list_orders": "e",
        "track_shipment": "t",
        "cancel_order": "o r",
        "refund_order": "o r",
        "refund_amount": "o r a",
        "update_address": "o street zip city",
    },
    "WISHES_WITHOUT_NUMBER": {"get_order": "", "cancel_order": "r", "refund_order": "r"},
}
REASONS = {"cancel_order": "CANCEL_REASONS", "refund_order": "REFUND_REASONS", "refund_amount": "REFUND_REASONS"}


def lists(tables: dict) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    for name, table in tables.items():
        yield from ((name, key, table[key]) for key in table) if isinstance(table, dict) else ((name, "", table),)


def reasons(kind: str) -> list[str]:
    """All words for a reason, of the first week and later; one empty one where none is asked for."""
    name = REASONS.get(kind)
    if name is None:
        return [""]
    return [
        words for tables in (getattr(language, name), LATER[name]) for of_one in tables.values() for words in of_one
    ]


def filled(name: str, key: str, phrase: str, rng: random.Random) -> Iterator[str]:
    facts = draw_facts(rng)
    for words in reasons(key) if "{r}" in phrase else [""]:
        days = phrase.replace("{day}", rng.choice(language.DAYS)).replace("{time}", rng.choice(language.TIMES))
        yield fill(days, facts, fill(words, facts))


@pytest.mark.parametrize(
    ("week", "pinned"),
    [
        ("2026-01-05", "2f0a3c945fc75042f89a87a99435b873ce4e2c1c80ff620e10f7d0c000e31259"),
        ("run", "c277d3d3c91afc007e18901718b7d0c622ae3bf0dd40b06e36fbd78ba4b3f556"),
        ("step", "9099fd447a20035f9a5fa053288c8e5637f7c1ccf0c75da2d57eb1196f60f950"),
    ],
)
def test_the_first_week_and_the_demonstrations_are_those_from_before_the_later_phrases(week: str, pinned: str):
    goals = [
        goal.to_json()
        for seed in (1, 2)
        for tools in ((), ("set_delivery_slot",))
        for goal in support_customers.make_goals(seed, 600, week, tools)
    ]
    assert hashlib.sha256(json.dumps(goals, sort_keys=True).encode()).hexdigest() == pinned


def test_the_first_week_is_the_installations():
    assert Settings.model_fields["first_week"].default == FIRST_WEEK
    assert [families_of(week).number for week in ("run", *WEEKS)] == [0, *range(1, 13)]


def test_there_are_later_phrases_for_everything_and_none_twice():
    assert LATER.keys() == SHAPE.keys()
    for name, table in LATER.items():
        first = getattr(language, name)
        assert not isinstance(first, dict) or table.keys() == first.keys()
    for name, key, phrases in lists(LATER):
        assert len(phrases) >= SHAPE[name][0], (name, key)
    every = [phrase for tables in (LATER, {name: getattr(language, name) for name in LATER}) for *_, phrases in lists(tables) for phrase in phrases]  # fmt: skip
    assert [
        phrase for phrase, count in Counter(" ".join(p.casefold().split()) for p in every).items() if count > 1
    ] == []


def test_every_later_phrase_has_the_slots_it_needs_no_other_and_can_be_filled():
    rng = random.Random(0)
    for name, key, phrases in lists(LATER):
        _, needed, allowed = SHAPE[name]
        must = set((NEEDED[name][key] if needed is None else needed).split())
        for phrase in phrases:
            slots = {field for _, field, _, _ in Formatter().parse(phrase) if field is not None}
            assert must <= slots <= must | set(allowed.split()), phrase
            assert phrase == phrase.strip(" .,!"), "a close follows"
            assert not any("{" in text or "}" in text for text in filled(name, key, phrase, rng)), phrase


def test_no_later_phrase_shares_material_with_the_benchmark_whatever_the_reason(pack: Pack):
    rng = random.Random(0)
    cases = [case_text(case) for case in load_cases(pack.folder / "benchmark", pack.tools)]
    cases += [case["messages"][0]["content"] for case in delivery_slots.cases()]
    both = (LATER, {name: getattr(language, name) for name in LATER})
    said = [text for tables in both for name, key, phrases in lists(tables) for phrase in phrases for text in filled(name, key, phrase, rng)]  # fmt: skip
    for week in WEEKS:
        goals = support_customers.make_goals(2, 330, week, ("set_delivery_slot",))
        said += [text for goal in goals for text in (goal.opening, *goal.answers.values())]
    common = [pack.system, pack.guidelines]
    assert shared_material(cases, said, common=common) == set()
    assert shared_material(cases, [*said, cases[7]], common=common), "a planted case is found"


def test_each_week_has_phrases_of_its_own_and_week_10_knows_all():
    for name, key, phrases in lists(LATER):
        own = [Families(number).own(phrases) for number in range(13)]
        assert not any(own[number] for number in (0, 1, 11, 12)) and all(own[2:11]), (name, key)
        assert Counter(phrase for of_week in own for phrase in of_week) == Counter(phrases)
        assert set(Families(10).own(phrases)) | set(Families(10).before(phrases)) == set(phrases)
        assert set(Families(11).before(phrases)) == set(phrases)
        assert Families(2).before(phrases) == [] and Families(3).before(phrases) == own[2]


@pytest.mark.parametrize(("number", "share_of_own"), [(1, 0.0), (2, 1.0), (3, 0.5), (10, 0.5), (11, 0.0)])
def test_six_draws_in_ten_are_later_phrases_and_half_of_them_the_weeks_own(number: int, share_of_own: float):
    rng, families = random.Random(0), Families(number)
    first, later = language.WISHES["get_order"], language_later.WISHES["get_order"]
    drawn = [families.draw(rng, first, later) for _ in range(4000)]
    new = [phrase for phrase in drawn if phrase in later]
    assert len(new) / len(drawn) == pytest.approx(LATER_SHARE if number > 1 else 0.0, abs=0.03)
    own = sum(phrase in families.own(later) for phrase in new)
    assert own == pytest.approx(share_of_own * len(new), abs=0.05 * len(new))


@pytest.mark.parametrize("week", [WEEKS[1], WEEKS[5], WEEKS[9]])
def test_an_expert_meets_every_goal_of_a_later_week(pack: Pack, week: str):
    goals = support_customers.make_goals(1, 300, week)
    assert [goal for goal in goals if play(goal, pack).outcome != "success"] == []
