"""The probes that peers fail (notes/peers.md, 1c), and ten weeks without a leaked row, checked by a scan that shares no code with ours."""

import json
import random
import re
from dataclasses import replace

import pytest

from flywheel.chat import Renderer
from flywheel.datasets.build import Build, build
from flywheel.lake import Lake
from flywheel.workflows.pack import Pack
from flywheel_tests.datasets.samples import WEEKS, Workshop, called, correction, put, said, workshop

WEEK = WEEKS[0]
THINGS = ("kettle", "lamp", "chair", "mirror", "carpet", "sofa", "shelf", "clock", "vase", "stool")


@pytest.fixture
def shop(pack: Pack, renderer: Renderer, lake: Lake) -> Workshop:
    return workshop(lake, pack, renderer)


def made_of(shop: Workshop, pack: Pack, rows: list[dict]) -> Build:
    put(shop, WEEK, *rows)
    return build(shop, WEEK)


def test_four_spellings_of_100_questions_are_100_rows(shop: Workshop, pack: Pack):
    """NVIDIA keeps 400, distilabel 91 of which 68 are distinct."""
    questions = [f"where does my {THINGS[n % 10]} number {n} stay" for n in range(100)]
    spellings = (lambda t: t, str.upper, lambda t: t.replace(" ", "  "), lambda t: t + "?!")
    rows = [
        correction(pack, spell(text), called("get_order", order_id=f"Q{n}"))
        for n, text in enumerate(questions)
        for spell in spellings
    ]
    made = made_of(shop, pack, rows)
    assert len(made.sft) == 100 and made.mix.reasons() == {"repeated": 300}
    assert len({json.loads(row["target"])["tool_calls"][0]["function"]["arguments"] for row in made.sft}) == 100


def test_100_five_step_runs_with_one_request_are_500_rows(shop: Workshop, pack: Pack):
    """NVIDIA keeps 100 of 500: it looks at the user's words only."""
    runs = [
        correction(
            pack, f"take care of case {n}", *(called("get_order", step, order_id=f"C{n}S{step}") for step in range(5))
        )
        for n in range(100)
    ]
    made = made_of(shop, pack, runs)
    assert len(made.sft) == 500 and not made.mix.reasons()


def test_60_prompts_with_two_labels_are_60_conflicts(shop: Workshop, pack: Pack):
    """NVIDIA keeps 60, the first label wins silently."""
    labels = (called("get_order", order_id="A1"), called("track_shipment", tracking_number="A1"))
    made = made_of(
        shop, pack, [correction(pack, f"please look into matter {n}", label) for n in range(60) for label in labels]
    )
    assert made.sft == [] and len({row["context_id"] for row in made.conflicts}) == 60 and len(made.conflicts) == 120


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_a_tool_with_one_example_crashes_nothing_and_stays(shop: Workshop, pack: Pack, share: float):
    """NVIDIA raises ValueError."""
    shop = shop._replace(pack=with_share(shop.pack, share))
    rows = [
        correction(pack, f"status of the {THINGS[n]} please", called("get_order", order_id=f"A{n}")) for n in range(10)
    ]
    made = made_of(shop, pack, [*rows, correction(pack, "move my things", called("list_orders", email="a@b.example"))])
    assert sum('"list_orders"' in row["target"] for row in made.sft) == 1


def test_answers_without_a_call_are_kept(shop: Workshop, pack: Pack):
    """NVIDIA keeps 0 of 100."""
    made = made_of(
        shop,
        pack,
        [
            correction(
                pack, f"tell me story {n} about a {THINGS[n % 10]}", said(f"I can only help with orders, not {n}.")
            )
            for n in range(100)
        ],
    )
    assert len(made.sft) == 100


def test_no_conversation_or_near_text_of_the_held_out_split_trains(shop: Workshop, pack: Pack):
    """Of 200 conversations of four turns NVIDIA leaks 100 of 100, Puffin 79 of 79."""
    shop = shop._replace(pack=with_share(shop.pack, 0.2))
    rows = [correction(pack, f"about my {THINGS[n % 10]} of {n}: " + words(n, 12), *(said(f"turn {t} of {n}") for t in range(4)))
            for n in range(200)]  # fmt: skip
    made = made_of(shop, pack, rows)
    held = shop.lake.read_weeks("held_out", workflow=pack.name)
    assert 100 <= held.height <= 200 and held["conversation_id"].n_unique() * 4 == held.height
    assert (
        not {row["conversation_id"] for row in made.sft} & set(held["conversation_id"])
        and len(made.sft) + held.height == 800
    )
    put(shop, WEEKS[1], correction(pack, rows[0]["messages"], said("x")))
    assert build(shop, WEEKS[1]).held_out == held.height, "a decided group stays decided"
    before = set(held["row_id"])
    put(
        shop,
        WEEKS[1],
        *(correction(pack, f"new matter {n} " + words(900 + n, 9), said(f"a {n}")) for n in range(40)),
    )
    again = build(shop, WEEKS[1])
    assert before < set(shop.lake.read_weeks("held_out", workflow=pack.name)["row_id"]) and again.held_out > len(before)


def test_ten_weeks_leak_nothing(shop: Workshop, pack: Pack):
    """Peers train on 62 to 77 % of last week's evaluation rows. A tenth of each week's runs becomes cases; their twins come later."""
    from flywheel.benchmark.cases import Case
    from flywheel.benchmark.freeze import frozen_and_retired, frozen_row

    shop = shop._replace(pack=with_share(shop.pack, 0.05))
    cases: list[str] = []
    frozen: list[dict] = []
    for number, week in enumerate(WEEKS):
        texts = [f"my {THINGS[n % 10]} " + words(100 * number + n, 14) for n in range(20)]
        put(shop, week, *(correction(pack, text, called("get_order", order_id=f"{number}N{n}")) for n, text in enumerate(texts)),
            *(correction(pack, text + " thank you", said(f"again {n}")) for n, text in enumerate(cases[-6:])))  # fmt: skip
        for n, text in enumerate(texts[:2]):
            case = Case.model_validate({"id": f"case-{number}-{n}", "cluster": f"c{number}{n}", "category": "refusal", "exercises": {"buckets": [], "tools": []},
                                        "messages": [{"role": "user", "content": text}], "expectation": {"kind": "reply", "includes": [["x"]]}})  # fmt: skip
            frozen.append(frozen_row(case, "t"))
            cases.append(text)
        known = shop.lake.read_partition("benchmark", workflow=pack.name)
        # Older cases retire, and stay barred.
        shop.lake.replace_partition(
            "benchmark", frozen_and_retired(known, frozen[-4:]).drop(["workflow"], strict=False), workflow=pack.name
        )
        made = build(shop, week)
        held = [json.loads(text) for text in shop.lake.read_weeks("held_out", workflow=pack.name)["messages"]]
        barred = cases + [" ".join(m["content"] for m in messages if m["role"] == "user") for messages in held]
        assert independent_scan(barred, [*made.sft, *made.pairs]) == [], week
        assert len(made.sft) > 10 * (number + 1)


def independent_scan(barred: list[str], rows: list[dict]) -> list[tuple[str, str]]:
    """Rows that share over half of their words' pairs with a barred text: plain sets of word pairs, none of the product's code."""

    def pairs(text: str) -> set[tuple[str, str]]:
        words = re.findall(r"[a-z0-9]+", text.lower())
        return set(zip(words, words[1:], strict=False))

    known = [(text, pairs(text)) for text in barred]
    found = []
    for row in rows:
        mine = pairs(" ".join(m["content"] for m in json.loads(row["messages"]) if m["role"] == "user"))
        found += [
            (row["row_id"], text) for text, theirs in known if len(mine & theirs) > 0.5 * min(len(mine), len(theirs))
        ]
    return found


def words(seed: int, count: int) -> str:
    """Words of letters only that no other seed has: ids and numbers are masked by the leak search."""
    rng = random.Random(seed)
    return " ".join("".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=7)) for _ in range(count))


def with_share(pack: Pack, share: float) -> Pack:
    datasets = pack.settings.datasets.model_copy(update={"held_out": share})
    return replace(pack, settings=pack.settings.model_copy(update={"datasets": datasets}))
