"""A planted corpus: runs whose fault and bucket are known because they were made so. Wordings vary, ids are seeded."""

import json
import random
from typing import Any, NamedTuple

from flywheel.toolcalls.structured_answers import ResponseSchema

TOOLS = [
    {"type": "function", "x-access": access, "function": {"name": name, "parameters": {
        "type": "object", "properties": {key: {"type": "string"} for key in keys}, "required": list(keys), "additionalProperties": False}}}
    for name, access, keys in (("find_booking", "read_only", ("booking_id",)), ("cancel_booking", "write", ("booking_id",)),
                               ("change_seat", "write", ("booking_id", "seat")), ("memory_lookup", "read_only", ("query",)),
                               ("refund_status", "read_only", ("booking_id",)), ("add_traveller", "write", ("booking_id", "last_name")))
]  # fmt: skip
REFUND = ResponseSchema("refund", {"type": "object", "properties": {
    "booking_id": {"type": "string"}, "state": {"enum": ["open", "paid"]}, "amount": {"type": "number"}},
    "required": ["booking_id", "state"], "additionalProperties": False}, ("refund_status",))  # fmt: skip
CLAIMS = ("Done, your booking {id} has been cancelled.", "All set! I've cancelled {id} for you.", "Your cancellation of {id} is now complete.",
          "I have successfully cancelled booking {id}.", "Booking {id} was cancelled, you will receive an e-mail.", "The cancellation went through.")  # fmt: skip
ADMISSIONS = ("I'm sorry, I could not cancel {id}: it was not found. Could you check the number?", "Unfortunately {id} cannot be cancelled any more.",
              "That did not work: the fare of {id} does not allow it. I can hand you to a colleague.")  # fmt: skip
ERRORS = (
    '{"error": "BOOKING_NOT_FOUND"}',
    '{"ok": false, "code": "FARE_RULES"}',
    "Error: booking is locked",
    '{"success": false, "message": "not allowed"}',
)
TRANSIENT = (
    '{"error": "RATE_LIMITED"}',
    "Error: 503 service unavailable",
    '{"error": {"code": "timeout", "message": "upstream timed out"}}',
)


class Planted(NamedTuple):
    """One run, what was planted, and the label the corpus gives it."""

    kind: str
    fault: str | None
    messages: list[dict[str, Any]]
    columns: dict[str, Any]


def corpus(each: int = 40, seed: int = 7) -> list[Planted]:
    """`each` runs of every kind, good ones twice as many."""
    rng = random.Random(seed)
    made = []
    for kind, (fault, build) in KINDS.items():
        for _ in range(each * (2 if fault is None else 1)):
            messages, columns = build(rng, f"{rng.choice('ABCXYZ')}{rng.randrange(10_000, 99_999)}")
            made.append(Planted(kind, fault, messages, columns))
    return made


def _user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def _said(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def _call(
    rng: random.Random, name: str, result: str | None, call_id: str | None = None, **arguments: str
) -> list[dict[str, Any]]:
    identity = call_id or f"call_{rng.randrange(10**9)}"
    function = {"name": name, "arguments": json.dumps(arguments)}
    made: list[dict[str, Any]] = [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": identity, "type": "function", "function": function}],
        }
    ]
    return made + ([{"role": "tool", "tool_call_id": identity, "content": result}] if result is not None else [])


def _ask(rng: random.Random, booking: str) -> dict[str, Any]:
    return _user(
        rng.choice(
            ("Please cancel booking {0}.", "I want to cancel {0}", "cancel my booking {0} please, I cannot travel")
        ).format(booking)
    )


def silent_failure(rng: random.Random, booking: str) -> tuple[list[dict], dict]:
    return [_ask(rng, booking), *_call(rng, "cancel_booking", rng.choice(ERRORS), booking_id=booking), _said(rng.choice(CLAIMS).format(id=booking)),
            *([_user("thanks, bye")] if rng.random() < 0.5 else [])], {}  # fmt: skip


def repeated_call(rng: random.Random, booking: str) -> tuple[list[dict], dict]:
    error = rng.choice(ERRORS)
    times = rng.choice((2, 2, 3))
    calls = [m for _ in range(times) for m in _call(rng, "cancel_booking", error, booking_id=booking)]
    return [_ask(rng, booking), *calls, _said(rng.choice(ADMISSIONS).format(id=booking))], {}


def injected_call(rng: random.Random, booking: str) -> tuple[list[dict], dict]:
    """The harness looks into its memory with text that breaks the schema, and fails; the agent does right."""
    lookup = _call(
        rng,
        "memory_lookup",
        rng.choice(('{"error": "no memory"}', "[]")),
        f"harness_{rng.randrange(10**6)}",
        prompt="<injected context>",
    )
    good = _call(rng, "cancel_booking", '{"status": "cancelled"}', booking_id=booking)
    return [
        _ask(rng, booking),
        *lookup,
        *(lookup if rng.random() < 0.3 else []),
        *good,
        _said(f"Booking {booking} has been cancelled."),
    ], {}


def user_fault(rng: random.Random, booking: str) -> tuple[list[dict], dict]:
    if rng.random() < 0.5:
        right = f"Q{rng.randrange(10_000, 99_999)}"
        return [_ask(rng, booking), *_call(rng, "find_booking", '{"error": "BOOKING_NOT_FOUND"}', booking_id=booking), _said("I cannot find that booking. Could you check the number?"),
                _user(f"Sorry, my mistake, it is {right}"), *_call(rng, "cancel_booking", '{"status": "cancelled"}', booking_id=right), _said(f"Booking {right} has been cancelled.")], {}  # fmt: skip
    leaves = rng.choice(
        ("I'll get back to you when I find it.", "Never mind, forget it.", "I have to go, talk to you soon")
    )
    return [
        _user("cancel my booking"),
        _said("Could you give me the booking number?"),
        _user(leaves),
        _said("You're welcome!"),
    ], {}


def rate_limit(rng: random.Random, booking: str) -> tuple[list[dict], dict]:
    error = rng.choice(TRANSIENT)
    tries = [m for _ in range(rng.choice((1, 2))) for m in _call(rng, "cancel_booking", error, booking_id=booking)]
    return [
        _ask(rng, booking),
        *tries,
        *(
            [_said("I'm sorry, our system does not answer right now. Please try again later.")]
            if rng.random() < 0.7
            else []
        ),
    ], {}


def conflicting_labels(rng: random.Random, booking: str) -> tuple[list[dict], dict]:
    labels = rng.choice(
        (
            {"outcome_status": "success", "feedback_score": -1.0},
            {"reward": 0.0, "feedback_score": 1.0},
            {"outcome_status": "success", "reward": 0.0},
        )
    )
    return [
        _ask(rng, booking),
        *_call(rng, "cancel_booking", '{"status": "cancelled"}', booking_id=booking),
        _said(f"Booking {booking} has been cancelled."),
    ], labels


def ungrounded(rng: random.Random, booking: str) -> tuple[list[dict], dict]:
    other = f"K{rng.randrange(10_000, 99_999)}"
    return [
        _user("Please cancel my booking"),
        *_call(rng, "cancel_booking", '{"status": "cancelled"}', booking_id=other),
        _said("Booking has been cancelled."),
    ], {}


def unknown_name(rng: random.Random, booking: str) -> tuple[list[dict], dict]:
    name = rng.choice(("Okafor", "Lindqvist", "Marchetti", "de Vries", "O'Hara"))
    added = _call(rng, "add_traveller", '{"status": "added"}', booking_id=booking, last_name=name)
    return [_user(f"Add my wife to booking {booking}"), *added, _said("Your wife has been added.")], {}


EMPTY = ("[]", "{}", "null", '{"bookings": []}', '{"status": "ok", "results": [], "total": 0}')
CUT = (
    '{"bookings": [{"id": "A',
    '[{"id": 1}, {"id"',
    '{"truncated": true, "bookings": ["x"]}',
    "seat 1A, seat 1B [output truncated]",
)
PART = (
    '{"partial": true}',
    '{"status": "partial", "done": 1}',
    '{"cancelled": 1, "failed": ["leg 2"]}',
    '{"complete": false}',
)
FOUND = (
    "I've found your booking {id}.",
    "All set! Your booking {id} has been confirmed.",
    "Here are the details of {id}.",
)


def incomplete_result(rng: random.Random, booking: str) -> tuple[list[dict], dict]:
    """Success claimed over a result that does not carry it."""
    if rng.random() < 0.5:
        looked = _call(rng, "find_booking", rng.choice((*EMPTY, *CUT)), booking_id=booking)
        return [_user(f"Is {booking} confirmed?"), *looked, _said(rng.choice(FOUND).format(id=booking))], {}
    cancelled = _call(rng, "cancel_booking", rng.choice(PART), booking_id=booking)
    return [_ask(rng, booking), *cancelled, _said(rng.choice(CLAIMS).format(id=booking))], {}


def admitted_result(rng: random.Random, booking: str) -> tuple[list[dict], dict]:
    """The same results, and an answer that says what is the matter; or a result that only looks empty."""
    shape = rng.randrange(4)
    if shape == 0:
        looked = _call(rng, "find_booking", rng.choice(EMPTY), booking_id=booking)
        return [_user(f"Is {booking} confirmed?"), *looked, _said("There is no booking with that number.")], {}
    if shape == 1:
        cancelled = _call(rng, "cancel_booking", rng.choice(PART), booking_id=booking)
        return [
            _ask(rng, booking),
            *cancelled,
            _said(f"{booking} has been cancelled in part; one leg is still open."),
        ], {}
    if shape == 2:  # a write that tells nothing has done what it should
        return [_ask(rng, booking), *_call(rng, "cancel_booking", rng.choice(("", "{}", "null")), booking_id=booking), _said(f"{booking} has been cancelled.")], {}  # fmt: skip
    looked = _call(rng, "find_booking", '{"booking_id": "x", "seats": [], "status": "confirmed"}', booking_id=booking)
    return [_user(f"Is {booking} confirmed?"), *looked, _said(f"Yes, {booking} has been confirmed.")], {}


def _refund(rng: random.Random, booking: str, answer: str) -> tuple[list[dict], dict]:
    looked = _call(rng, "refund_status", '{"state": "paid", "amount": 80}', booking_id=booking)
    return [_user(f"What about the refund of {booking}?"), *looked, _said(answer)], {}


def broken_answer(rng: random.Random, booking: str) -> tuple[list[dict], dict]:
    """An answer that the pack wants structured and is not as it should be."""
    right = {"booking_id": booking, "state": "paid"}
    broken = (f"The refund of {booking} was paid.", json.dumps(right)[:-1], f"```json\n{json.dumps(right)}\n```", json.dumps([right]),
              json.dumps({**right, "state": "done"}), json.dumps({"state": "paid"}), json.dumps({**right, "note": "x"}),
              json.dumps({**right, "amount": "80"}), json.dumps({**right, "booking_id": f"V{rng.randrange(10_000, 99_999)}"}))  # fmt: skip
    return _refund(rng, booking, rng.choice(broken))


def right_answer(rng: random.Random, booking: str) -> tuple[list[dict], dict]:
    """Structured where it must be, with a number that the model computed; words where they are free."""
    messages, _ = _refund(
        rng, booking, json.dumps({"booking_id": booking, "state": "paid", "amount": rng.randrange(10_000, 99_999)})
    )
    return [*messages, *([_user("Thanks, bye"), _said("Goodbye!")] if rng.random() < 0.5 else [])], {}


def good(rng: random.Random, booking: str) -> tuple[list[dict], dict]:
    shape = rng.randrange(5)
    done = _call(rng, "cancel_booking", '{"status": "cancelled"}', booking_id=booking)
    end = [_said(f"Booking {booking} has been cancelled.")]
    if shape == 0:
        return [_ask(rng, booking), *done, *end], {"feedback_score": 1.0}
    if shape == 1:  # recovers from an error by asking
        wrong = f"Z{rng.randrange(10_000, 99_999)}"
        return [_ask(rng, wrong), *_call(rng, "cancel_booking", '{"error": "BOOKING_NOT_FOUND"}', booking_id=wrong), _said("I cannot find it. Which number is on your ticket?"),
                _user(f"It says {booking}"), *done, *end], {}  # fmt: skip
    if shape == 2:  # tries again after a rate limit, and it works
        return [
            _ask(rng, booking),
            *_call(rng, "cancel_booking", rng.choice(TRANSIENT), booking_id=booking),
            *done,
            *end,
        ], {}
    if shape == 3:  # admits what cannot be done
        return [
            _ask(rng, booking),
            *_call(rng, "cancel_booking", rng.choice(ERRORS), booking_id=booking),
            _said(rng.choice(ADMISSIONS).format(id=booking)),
        ], {}
    return [
        _user("Write me a poem"),
        _said("I can only help with bookings."),
        _user("No problem, thanks anyway. Bye"),
        _said("Goodbye!"),
    ], {}


KINDS = {
    "silent_failure": ("agent", silent_failure), "repeated_call": ("agent", repeated_call), "ungrounded": ("agent", ungrounded),
    "unknown_name": ("agent", unknown_name), "incomplete_result": ("agent", incomplete_result), "broken_answer": ("agent", broken_answer),
    "admitted_result": (None, admitted_result), "right_answer": (None, right_answer),
    "injected_call": (None, injected_call), "user_fault": ("user", user_fault), "rate_limit": ("environment", rate_limit),
    "conflicting_labels": ("grader", conflicting_labels), "good": (None, good),
}  # fmt: skip
