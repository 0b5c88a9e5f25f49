"""Habits before writing and unknown failures: proposed with their counts, and in force only once confirmed."""

import json
from pathlib import Path

import pytest

from flywheel.errors import FlywheelError
from flywheel.operations.pack_draft.draft import draft_pack
from flywheel.operations.pack_draft.evidence import Evidence
from flywheel.operations.pack_draft.policies import draft_policies
from flywheel.operations.pack_draft.results import draft_results
from flywheel.traces.failures import error_results
from flywheel.workflows.guesses import answer, open_guesses
from flywheel.workflows.loader import load_pack
from flywheel_tests.operations.pack_draft.logs import run, sampled

ACCESS = {"get_order": "read_only", "list_shops": "read_only", "cancel_order": "write"}


def careful(number: int, *, look: bool = True, said: str = "Yes, cancel it.", result: str = "{}") -> dict:
    order = {"order_id": f"R{number}00"}
    one = run(
        number,
        [("list_shops", {}, "[]"), *([("get_order", order, "{}")] if look else []), ("cancel_order", order, result)],
    )
    place = next(
        i
        for i, m in enumerate(one["messages"])
        if m.get("tool_calls") and m["tool_calls"][0]["function"]["name"] == "cancel_order"
    )
    ask = [{"role": "assistant", "content": "Shall I?"}, {"role": "user", "content": said}]
    return {**one, "messages": [*one["messages"][:place], *ask, *one["messages"][place:]]}


def policies(tmp_path: Path, runs: list[dict]) -> dict[str, str]:
    return {guess.id: guess.because for guess in draft_policies(Evidence(sampled(tmp_path, runs).runs), ACCESS)}


def test_looking_at_the_same_thing_and_asking_before_writing_are_proposed(tmp_path: Path):
    found = policies(tmp_path, [careful(n, look=n != 5) for n in range(24)])
    assert found == {
        "cancel_order.x-forbidden-without": "get_order was called before 23 of 24 successful calls, about the same thing before 23",
        "cancel_order.person-agrees": "the person's last words before 24 of 24 successful calls agree",
    }


@pytest.mark.parametrize(
    "runs",
    [
        [careful(n, look=n % 2 == 0, said="What does it cost?") for n in range(24)],  # half looked, nobody agreed
        [careful(n) for n in range(10)],  # too few to be a habit
        [careful(n, result="Error: closed") for n in range(24)],  # nothing was ever written
    ],
)
def test_what_is_no_habit_is_not_proposed(tmp_path: Path, runs: list[dict]):
    assert policies(tmp_path, runs) == {}


def test_failures_that_triage_does_not_know_are_proposed(tmp_path: Path):
    said = ["{}"] * 8 + ["No such order", "Error: no such order", '{"error": "GONE"}', "Order could not be read"]
    guesses, remarks = draft_results(
        Evidence(sampled(tmp_path, [run(n, [("get_order", {}, one)]) for n, one in enumerate(said)]).runs)
    )
    assert [(guess.id, guess.value, guess.in_force) for guess in guesses] == [
        ("get_order.x-error-results", ["could not", "no such"], False)
    ]
    assert remarks == ["2 of 12 tool results report a failure: 1 in text, 1 in a JSON body"]


def test_a_word_that_most_results_hold_is_no_failure(tmp_path: Path):
    runs = [run(n, [("check", {}, "failed logins: 0")]) for n in range(6)]
    assert draft_results(Evidence(sampled(tmp_path, runs).runs))[0] == []


def test_a_confirmed_failure_is_one_from_the_next_reading_on(tmp_path: Path, lake):
    from flywheel_tests.traces.test_inbox import WEEK
    from flywheel_tests.traces.test_inbox import read as read_week

    runs = [
        run(n, [("get_order", {}, "no such order" if n == 0 else "{}")], started_at="2026-01-06T10:00:00Z")
        for n in range(4)
    ]
    folder = tmp_path / "shop"
    draft_pack(folder, sampled(tmp_path / "in", runs))

    def failed() -> list[int]:
        pack = load_pack(folder)
        rows = read_week(tmp_path / "in", lake, error_results=error_results(pack.tools)).traces[WEEK]
        return sorted(row["tool_errors"] for row in rows)

    assert "get_order.x-error-results" in {guess.id for guess in open_guesses(folder)}
    assert failed() == [0, 0, 0, 0]
    answer(folder, ["get_order.x-error-results"], by="ann", confirm=True)
    assert failed() == [0, 0, 0, 1]


def test_a_declaration_that_is_no_list_of_texts_is_refused(tmp_path: Path):
    draft_pack(tmp_path / "shop", sampled(tmp_path, [run(1, [("get_order", {}, "{}")])]))
    tools = json.loads((tmp_path / "shop" / "tools.json").read_text())
    (tmp_path / "shop" / "tools.json").write_text(json.dumps([{**tools[0], "x-error-results": "no such"}]))
    with pytest.raises(FlywheelError, match="x-error-results"):
        load_pack(tmp_path / "shop")
