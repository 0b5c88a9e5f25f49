"""An endpoint's arms: kept over a killed run, given up where it does not answer, and refused where it wants another key."""

import json
from pathlib import Path
from typing import Any

import pytest

from flywheel.benchmark.cases import Case
from flywheel.chat import Renderer
from flywheel.errors import FlywheelError
from flywheel.evaluation.endpoint_session import PATIENCE, Endpoint, evaluate_endpoint
from flywheel.evaluation.runner import Benchmark
from flywheel.evaluation.session import Session, arms_of
from flywheel.workflows.pack import Pack
from flywheel.workflows.serving_settings import EndpointSettings
from flywheel_tests.evaluation.fake_server import completion
from flywheel_tests.stand_ins.endpoint import Answer, endpoint, named

HTML = (200, "text/html", "<html>Sign in</html>")


@pytest.fixture
def asked(door: Pack, door_cases: list[Case], tmp_path: Path) -> Any:
    """Asks an endpoint that answers so with the incumbent's two arms; gives the session and how often it was asked."""

    def ask(answer: Answer, *, timeout_seconds: float = 30, cases: int = 8, **settings: Any) -> tuple[Session, int]:
        benchmark = Benchmark(door_cases[:cases], "v", door, generation_sha256="g")
        arms = [arm for arm in arms_of("new", "endpoint:large-1@x") if arm.name != "candidate"]
        with endpoint(answer) as server:
            whom = EndpointSettings(url=server.url, model="large-1", **settings)
            session = evaluate_endpoint(
                benchmark,
                arms,
                Endpoint(whom, "a test", tmp_path / "egress.jsonl", "k", timeout_seconds),
                folder=tmp_path,
            )
            return session, len(server.asked)

    return ask


def test_what_cannot_be_proven_is_said_and_its_own_word_is_kept(asked: Any, renderer: Renderer):
    session, _ = asked(lambda body: named(completion(renderer, "hm"), "large-1-2026-01-31", system_fingerprint="f"))
    server = json.loads(session.rows[0]["server"])
    assert server["answered_as"] == "large-1-2026-01-31" and "changed" not in server
    (proof,) = session.not_proven
    assert "how it renders prompts" in proof and proof.startswith("large-1 at 127.0.0.1:")
    assert {row["arm"] for row in session.rows} == {"incumbent", "incumbent_again"} and session.rows[0][
        "success"
    ] is False


def test_one_that_says_nothing_of_itself_leaves_more_open(asked: Any, renderer: Renderer):
    session, _ = asked(lambda body: completion(renderer, "hm"))
    assert len(session.not_proven) == 3 and "which model answered: its answers name none" in str(session.not_proven)
    assert "it names no fingerprint" in str(session.not_proven)


def test_finished_arms_are_not_asked_again_after_a_killed_run(
    door: Pack, door_cases: list[Case], renderer: Renderer, tmp_path: Path
):
    benchmark = Benchmark(door_cases[:3], "v", door, generation_sha256="g")
    with endpoint(lambda body: named(completion(renderer, "hm"), "large-1")) as server:
        whom = Endpoint(EndpointSettings(url=server.url, model="large-1"), "a test", tmp_path / "egress.jsonl", None)
        first, times = evaluate_endpoint(benchmark, arms_of("new", "e")[:1], whom, folder=tmp_path), len(server.asked)
        assert evaluate_endpoint(benchmark, arms_of("new", "e")[:1], whom, folder=tmp_path).rows == first.rows
        assert len(server.asked) == times > 0
        other = benchmark._replace(generation_sha256="other")
        evaluate_endpoint(other, arms_of("new", "e")[:1], whom, folder=tmp_path)
        assert len(server.asked) == 2 * times


def test_one_that_answers_with_a_page_is_given_up_and_has_no_score(asked: Any):
    session, times = asked(lambda body: HTML, cases=40)
    assert not [row for row in session.rows if row["success"] is not None]
    said = [row["infra_error"] for row in session.rows]
    assert any("no chat completion but text/html: '<html>Sign in" in text for text in said)
    assert any(
        f"not asked any more: {PATIENCE} requests in a row failed, the last with DecodingError" in text for text in said
    )
    assert times < len(session.rows), "what would fail anyway is not sent"


def test_one_that_does_not_answer_in_time_has_no_score(asked: Any):
    session, _ = asked(lambda body: None, timeout_seconds=0.2, cases=2)
    # Which of the two it is depends on how busy the machine is.
    assert {row["infra_error"].partition(":")[0] for row in session.rows} <= {"ReadTimeout", "ConnectTimeout"}


@pytest.mark.parametrize(
    ("named_as", "settings", "fits"),
    [
        ("large-1", {}, True),
        ("acme/large-1", {}, True),
        ("large-1-2026-01-31", {}, True),
        ("large-1-mini", {}, False),
        ("small-2", {}, False),
        ("small-2", {"answers_as": "small-2"}, True),
    ],
)
def test_another_model_than_the_one_asked_for_is_no_answer(
    asked: Any, renderer: Renderer, named_as: str, settings: dict[str, str], fits: bool
):
    session, _ = asked(lambda body: named(completion(renderer, "hm"), named_as), cases=1, **settings)
    errors = {row["infra_error"] for row in session.rows}
    assert errors == {None} if fits else f"asked for large-1, and {named_as} answered" in str(errors)


@pytest.mark.parametrize(
    ("status", "said", "remedy"),
    [(401, "no key", "FLYWHEEL_FRONTIER_KEY"), (404, "no such model", "its url .* and its model")],
)
def test_what_a_person_can_mend_stops_the_stage(asked: Any, status: int, said: str, remedy: str):
    with pytest.raises(FlywheelError, match=rf"said {status}: {said}[\s\S]*{remedy}"):
        asked(lambda body: (status, "text/plain", said), cases=1)
