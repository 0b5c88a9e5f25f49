"""Simulated customers of the support desk: a hidden goal, an opening, and answers to what the agent says.

They write about orders of their own that are laid into the simulated shop. In the first week, and in the demonstrations `run` and `step`,
their phrases are those of `language.py`. From the second week on people also say things that nobody said before: six draws in ten are from
`language_later.py` and `language_later_words.py`, whose lists are dealt out to weeks 2 to 10. Week n knows the phrases of weeks 2 to n, and
half of those six draws are from its own; `families.py` deals and draws. Only words are drawn that way: what customers want, their reasons,
topics and facts are spread alike in all weeks.
"""

import random
from collections.abc import Collection
from typing import Any

from flywheel.demo import language, language_later, language_later_words
from flywheel.demo.families import Families, families_of
from flywheel.demo.language import Facts, draw_facts, dress, fill
from flywheel.demo.protocol import Goal, Message, Wish
from flywheel.demo.support_experts import careless, solve

__all__ = ["answer", "careless", "make_goals", "solve"]

_PRIORITY = {"safety": "urgent", "legal": "urgent", "billing": "low", "complaint": "normal", "other": "normal"}
_PLACES = ("at the depot", "in transit", "out for delivery", "at the pick-up point")
# The first week's words for a reason and the later ones, by what is asked for.
_REFUND = (language.REFUND_REASONS, language_later_words.REFUND_REASONS)
_REASONS = {
    "cancel_order": (language.CANCEL_REASONS, language_later_words.CANCEL_REASONS),
    "refund_order": _REFUND,
    "refund_amount": _REFUND,
}
# How the week's customers are spread over what they want, of 100.
_MIX = (
    ("get_order", 8), ("list_orders", 8), ("track_shipment", 8), ("cancel_order", 9), ("refund_order", 8),
    ("refund_amount", 2), ("update_address", 8), ("create_ticket", 11), ("without_number", 10), ("wrong_number", 6),
    ("rate_limited", 4), ("too_late", 4), ("two_wishes", 4), ("refuse", 10),
)  # fmt: skip
# What more customers want once the shop offers the tool, of a hundred others.
_LATER = (("set_delivery_slot", 10),)

# Whole demonstrated runs show how to recover; demonstrated first steps show what traffic alone does not teach: nobody
# complains about a poem, so refusals rarely reach the experts.
_RUNS = (
    ("wrong_number", 40), ("without_number", 24), ("list_orders", 10), ("rate_limited", 10), ("too_late", 10), ("two_wishes", 6),
)  # fmt: skip
_STEPS = (
    ("refuse", 18), ("list_orders", 16), ("create_ticket", 14), ("cancel_order", 12), ("refund_order", 12), ("without_number", 9),
    ("update_address", 8), ("get_order", 6), ("track_shipment", 5),
)  # fmt: skip


def make_goals(seed: int, count: int, week: str, tools: Collection[str] = ()) -> list[Goal]:
    """`count` customers of one week (or of the demonstrations `run`, `step`), spread over all kinds of wishes, shuffled.

    `tools` are the names of the tools that the shop offers that week; they matter for the one it did not always have.
    """
    rng = random.Random(f"{seed}|{week}")
    today = (*_MIX, *(wish for wish in _LATER if wish[0] in tools))
    mix = {"run": _RUNS, "step": _STEPS}.get(week, today)
    kinds = [kind for kind, share in mix for _ in range(share)]
    drawn = [
        kinds[(number * len(kinds)) // count] if count <= len(kinds) else kinds[number % len(kinds)]
        for number in range(count)
    ]
    rng.shuffle(drawn)
    families = families_of(week)
    return [_goal(kind, f"{week}-{number:04d}", rng, families) for number, kind in enumerate(drawn)]


def _goal(kind: str, name: str, rng: random.Random, families: Families) -> Goal:
    facts = draw_facts(rng)
    if kind == "refuse":
        wishes, text = [Wish("refuse", {})], fill(_refused(rng, families), facts)
        answers: dict[str, str] = {}
    elif kind == "without_number":
        wishes, text, answers = _without_number(facts, rng, families)
    elif kind == "wrong_number":
        wishes, text, answers = _wrong_number(facts, rng, families)
    elif kind == "two_wishes":
        second = draw_facts(rng)._replace(e=facts.e, name=facts.name)
        one, first_text = _wish("get_order", facts, rng, families)
        other, second_text = _wish("cancel_order", second, rng, families)
        wishes, answers = [one, other], {}
        text = first_text.rstrip("?") + rng.choice((". also, ", ", and ", ". and then ", " plus ")) + second_text
        overrides = {
            "orders": {**_world([one], facts, kind, rng)["orders"], **_world([other], second, kind, rng)["orders"]}
        }
        return Goal(
            name, wishes, dress(text, facts, rng), answers, rng.randrange(1_000_000), overrides, f"customer-{facts.e}"
        )
    else:
        if kind in ("rate_limited", "too_late"):
            wish = rng.choice(
                ("get_order", "track_shipment")
                if kind == "rate_limited"
                else ("cancel_order", "refund_order", "update_address")
            )
        else:
            wish = kind
        made, text = _wish(wish, facts, rng, families)
        wishes, answers = [made], {"order_number": facts.o, "email": facts.e}
    overrides = _world(wishes, facts, kind, rng)
    opening = dress(text, facts, rng)
    return Goal(name, wishes, opening, answers, rng.randrange(1_000_000), overrides, principal=f"customer-{facts.e}")


def _refused(rng: random.Random, families: Families) -> str:
    """Words for what the shop does not do, or must not."""
    if rng.random() < 0.65:
        return families.draw(rng, language.OUT_OF_SCOPE, language_later_words.OUT_OF_SCOPE)
    return families.draw(rng, language.UNSAFE, language_later_words.UNSAFE)


def _because(kind: str, rng: random.Random, families: Families) -> tuple[str, str]:
    """A reason for cancelling or refunding, and the words for it."""
    first, later = _REASONS[kind]
    reason = rng.choice(sorted(first))
    return reason, families.draw(rng, first[reason], later[reason])


def _wish(kind: str, facts: Facts, rng: random.Random, families: Families) -> tuple[Wish, str]:
    """One wish with all its facts, and the words for it."""
    reason, words = "", ""
    if kind in _REASONS:
        reason, words = _because(kind, rng, families)
    elif kind == "create_ticket":
        topic = rng.choice(sorted(language.TICKETS))
        wish = Wish(kind, {"topic": topic, "priority": _PRIORITY[topic], "order_id": facts.o})
        return wish, fill(families.draw(rng, language.TICKETS[topic], language_later_words.TICKETS[topic]), facts)
    elif kind == "set_delivery_slot":
        day, time = rng.choice(language.DAYS), rng.choice(language.TIMES)
        phrase = families.draw(rng, language.DELIVERY_SLOTS, language_later_words.DELIVERY_SLOTS)
        text = fill(phrase.replace("{day}", day).replace("{time}", time), facts)
        return Wish(kind, {"order_id": facts.o, "day": day, "time": time}), text
    phrase = families.draw(rng, language.WISHES[kind], language_later.WISHES[kind])
    text = fill(phrase, facts, fill(words, facts))
    wanted: dict[str, dict[str, Any]] = {
        "get_order": {"order_id": facts.o},
        "list_orders": {"email": facts.e},
        "track_shipment": {"tracking_number": facts.t},
        "cancel_order": {"order_id": facts.o, "reason": reason},
        "refund_order": {"order_id": facts.o, "reason": reason},
        "refund_amount": {
            "order_id": facts.o,
            "reason": reason,
            "amount": float(facts.a) if "." in facts.a else int(facts.a),
        },
        "update_address": {
            "order_id": facts.o,
            "address": {"street": facts.street, "city": facts.city, "zip": facts.zip},
        },
    }
    return Wish("refund_order" if kind == "refund_amount" else kind, wanted[kind]), text


def _without_number(facts: Facts, rng: random.Random, families: Families) -> tuple[list[Wish], str, dict[str, str]]:
    kind = rng.choice(sorted(language.WISHES_WITHOUT_NUMBER))
    wish, _ = _wish(kind, facts, rng, families)
    words = ""
    if kind in _REASONS:
        first, later = (reasons[wish.facts["reason"]] for reasons in _REASONS[kind])
        words = fill(families.draw(rng, first, later), facts)
    phrase = families.draw(rng, language.WISHES_WITHOUT_NUMBER[kind], language_later.WISHES_WITHOUT_NUMBER[kind])
    text = fill(phrase, facts, words)
    if rng.random() < 0.5:
        return [wish], text, {"order_number": fill(rng.choice(language.GIVE_NUMBER), facts)}
    return [wish], text, {"order_number": fill(rng.choice(language.NO_NUMBER_BUT_MAIL), facts), "email": facts.e}


def _wrong_number(facts: Facts, rng: random.Random, families: Families) -> tuple[list[Wish], str, dict[str, str]]:
    """The customer mistypes a digit; half of them give their e-mail at once, the others when asked."""
    wrong = facts.o[:-1] + str((int(facts.o[-1]) + rng.randint(1, 9)) % 10)
    wish, text = _wish(rng.choice(("get_order", "cancel_order")), facts, rng, families)
    text = text.replace(facts.o, wrong)
    if rng.random() < 0.5:
        text += rng.choice((", my mail is {e}", " ({e})", " - account {e}", ". ordered with {e}")).format(e=facts.e)
    said = Wish(wish.kind, {**wish.facts, "_said_id": wrong})
    return [said], text, {"email": fill(rng.choice(language.GIVE_MAIL), facts)}


def _world(wishes: list[Wish], facts: Facts, kind: str, rng: random.Random) -> dict[str, Any]:
    """The customer's own orders: in the state their wish needs, or too late for it."""
    status = {
        "cancel_order": "processing", "update_address": "processing", "refund_order": "delivered", "set_delivery_slot": "shipped",
    }  # fmt: skip
    fitting = status.get(wishes[0].kind) or rng.choice(("processing", "shipped", "delivered"))
    if kind == "too_late":
        fitting = "shipped"
    order = {
        "email": facts.e, "status": fitting, "amount": round(rng.uniform(90, 200), 2), "tracking_number": facts.t,
        "place": rng.choice(_PLACES), "address": {"street": "1 Old Road", "city": "Oldtown", "zip": "11111"},
    }  # fmt: skip
    orders = {facts.o: order}
    if wishes[0].kind == "list_orders":
        for number in range(rng.choice((0, 1, 1, 3))):
            extra = f"{rng.choice(language.ORDER_LETTERS)}{rng.randint(10000, 99999)}"
            orders[extra] = {**order, "tracking_number": f"{facts.t}{number}"}
    return {"orders": orders, **({"rate_limited": [wishes[0].kind]} if kind == "rate_limited" else {})}


def answer(goal: Goal, messages: list[Message], objections: int) -> str | None:
    """What the customer says to the assistant's last reply; None when they are content, or have objected twice.

    Someone who asks for what the shop does not do is content with any answer: nothing in production tells that it should
    have been refused.
    """
    reply = str(messages[-1].get("content") or "").casefold()
    right = solve(goal, messages[:-1])
    good = not right.message.get("tool_calls") and all(
        any(p.casefold() in reply for p in group) for group in right.must_say
    )
    asked = None
    if "order number" in reply:
        asked = "order_number"
    elif "e-mail" in reply or "email" in reply:
        asked = "email"
    already = {str(m.get("content")) for m in messages if m["role"] == "user"}
    if asked and goal.answers.get(asked) and goal.answers[asked] not in already:
        return goal.answers[asked]
    if good or goal.wishes[0].kind == "refuse" or objections >= 2:
        return None
    return random.Random(f"{goal.goal_id}|{objections}").choice(language.OBJECTIONS)
