"""What a support-desk expert knows: the right next step for any customer, as the guidelines have it.

Simulated: it reads the customer's hidden goal where a person would read the conversation. The wording has few fixed forms,
as one team's guidelines would give it.
"""

import json
import random
from typing import Any, NamedTuple

from flywheel.demo.protocol import Goal, Message, Step, Wish
from flywheel.toolcalls.arguments import canonical_json, parse_arguments

ASK_NUMBER = "Could you give me the order number?"
ASK_MAIL = "Could you give me the e-mail address?"
REFUSAL = "I can only help with Acme orders."


class _Made(NamedTuple):
    """A call that was made and its result (None while there is none)."""

    name: str
    arguments: dict[str, Any]
    result: dict[str, Any] | None


class _Outcome(NamedTuple):
    """A wish that is settled: the sentence that says so and what it must say."""

    sentence: str
    must_say: list[list[str]]


def solve(goal: Goal, messages: list[Message]) -> Step:
    """The right next assistant step: a call, a question for a missing fact, or the answer to all wishes."""
    made = _calls_made(messages)
    said = "\n".join(str(m.get("content") or "") for m in messages if m["role"] == "user")
    outcomes: list[_Outcome] = []
    for wish in goal.wishes:
        now = _advance(wish, goal, made, said)
        if isinstance(now, Step):
            return now
        outcomes.append(now)
    sentence = " ".join(outcome.sentence for outcome in outcomes)
    return Step(
        {"role": "assistant", "content": sentence}, [group for outcome in outcomes for group in outcome.must_say]
    )


def _advance(wish: Wish, goal: Goal, made: list[_Made], said: str) -> Step | _Outcome:
    if wish.kind == "refuse":
        return _Outcome(REFUSAL, [["only help with"]])
    facts = {key: value for key, value in wish.facts.items() if not key.startswith("_")}
    if "order_id" not in facts:
        return _settle(wish.kind, facts, made)
    right, wrong = facts["order_id"], wish.facts.get("_said_id")
    listed = any(right in canonical_json(call.result) for call in made if call.result and call.name == "list_orders")
    if right in said or listed:
        return _settle(wish.kind, facts, made)
    if wrong and wrong in said:
        tried = _last(made, wish.kind, {**facts, "order_id": wrong})
        if tried is None or (tried.result or {}).get("error") == "RATE_LIMITED":
            return _call(wish.kind, {**facts, "order_id": wrong}, made)
        return _look_up_by_mail(goal, made, said)
    mail = goal.answers.get("email")
    if mail and _mail_of(mail) in said:
        return _look_up_by_mail(goal, made, said)
    return Step({"role": "assistant", "content": ASK_NUMBER}, [["order number"]])


def _look_up_by_mail(goal: Goal, made: list[_Made], said: str) -> Step | _Outcome:
    mail = _mail_of(goal.answers.get("email", ""))
    if not mail or mail not in said:
        return Step({"role": "assistant", "content": ASK_MAIL}, [["e-mail", "email"]])
    outcome = _settle("list_orders", {"email": mail}, made)
    return outcome


def _settle(kind: str, facts: dict[str, Any], made: list[_Made]) -> Step | _Outcome:
    """Make the call, again after a rate limit, on to the next page of a list; or say how it ended."""
    last = _last(made, kind, facts)
    if last is None or last.result is None or last.result.get("error") == "RATE_LIMITED":
        return _call(kind, facts, made)
    if kind == "list_orders":
        pages = [
            call for call in made if call.name == kind and call.arguments.get("email") == facts["email"] and call.result
        ]
        following = (pages[-1].result or {}).get("next_page")
        if following or (pages[-1].result or {}).get("error") == "RATE_LIMITED":
            page = following or pages[-1].arguments.get("page")
            return _call(kind, {**facts, "page": page} if page else facts, made)
        orders = [order for call in pages for order in (call.result or {}).get("orders", [])]
        return _listed(orders)
    return _said_of(kind, facts, last.result)


def _listed(orders: list[str]) -> _Outcome:
    if not orders:
        return _Outcome("There are no orders for this e-mail.", [["no orders"]])
    return _Outcome(f"Your orders: {', '.join(orders)}.", [[order] for order in orders])


def _said_of(kind: str, facts: dict[str, Any], result: dict[str, Any]) -> _Outcome:
    order, error = facts.get("order_id"), result.get("error")
    if error == "ALREADY_SHIPPED":
        return _Outcome(
            f"Order {order} is already shipped, so I cannot change it.", [["already shipped", "already been shipped"]]
        )
    if error == "ALREADY_DELIVERED":
        return _Outcome(f"Order {order} is delivered already.", [["delivered already", "already delivered"]])
    if error == "NOT_DELIVERED":
        return _Outcome(
            f"Order {order} is not delivered yet, so I cannot refund it.", [["not delivered", "not been delivered"]]
        )
    if error:
        subject = f"parcel {facts['tracking_number']}" if kind == "track_shipment" else f"order {order}"
        return _Outcome(f"I cannot find {subject}.", [["cannot find", "not find"]])
    match kind:
        case "get_order":
            return _Outcome(f"Order {order} is {result['status']}.", [[str(order)], [result["status"]]])
        case "track_shipment":
            return _Outcome(
                f"Parcel {facts['tracking_number']} is {result['place']}.",
                [[facts["tracking_number"]], [result["place"]]],
            )
        case "cancel_order":
            return _Outcome(f"Order {order} is cancelled.", [[str(order)], ["cancelled", "canceled"]])
        case "refund_order":
            return _Outcome(f"Order {order} is refunded: {result['refunded']} euro.", [[str(order)], ["refund"]])
        case "set_delivery_slot":
            slot = f"{result['day']} {result['time']}"
            return _Outcome(f"Order {order} comes on {slot}.", [[str(order)], [result["day"]]])
        case "update_address":
            return _Outcome(f"Order {order} goes to {result['city']} now.", [[str(order)], [result["city"]]])
        case _:
            return _Outcome(f"A colleague takes over: ticket {result['ticket']}.", [[result["ticket"]]])


def _call(kind: str, arguments: dict[str, Any], made: list[_Made]) -> Step:
    call = {
        "id": f"call_{len(made)}_0",
        "type": "function",
        "function": {"name": kind, "arguments": canonical_json(arguments)},
    }
    return Step({"role": "assistant", "content": None, "tool_calls": [call]}, [])


def _calls_made(messages: list[Message]) -> list[_Made]:
    results = {m["tool_call_id"]: m["content"] for m in messages if m["role"] == "tool"}
    made = []
    for message in messages:
        for call in message.get("tool_calls") or []:
            arguments = parse_arguments(call["function"]["arguments"]).value or {}
            result = results.get(call["id"])
            made.append(_Made(call["function"]["name"], arguments, json.loads(result) if result else None))
    return made


def _last(made: list[_Made], kind: str, facts: dict[str, Any]) -> _Made | None:
    """The last call of the tool with these facts; optional extras of the model's own make it another call."""
    same = [call for call in made if call.name == kind and all(call.arguments.get(k) == v for k, v in facts.items())
            and (kind == "list_orders" or call.arguments.keys() == facts.keys())]  # fmt: skip
    return same[-1] if same else None


def _mail_of(text: str) -> str:
    return next((word.strip(".,;:!?") for word in text.split() if "@" in word), "")


_CARELESS = {"reason": ("other", "too_slow", "late"), "topic": ("other", "complaint"), "priority": ("low", "normal")}


def careless(message: Message, rng: random.Random) -> Message:
    """What a tired annotator might submit: a dropped digit, a wrong enum value, a missing argument, a vague reply."""
    if not message.get("tool_calls"):
        return {**message, "content": "I will look into it."}
    call = message["tool_calls"][0]
    arguments = dict(parse_arguments(call["function"]["arguments"]).value or {})
    name = rng.choice(sorted(arguments))
    value = arguments[name]
    if name in _CARELESS:
        arguments[name] = next(other for other in _CARELESS[name] if other != value)
    elif isinstance(value, str) and len(value) > 3:
        at = rng.randrange(1, len(value) - 1)
        arguments[name] = value[:at] + value[at + 1 :]
    else:
        del arguments[name]
    function = {"name": call["function"]["name"], "arguments": canonical_json(arguments)}
    return {**message, "tool_calls": [{**call, "function": function}]}
