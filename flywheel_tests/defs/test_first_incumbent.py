"""An endpoint as the first incumbent: a week's candidate is compared with it, and the pointer says what it was."""

import json
import shutil
from collections.abc import Iterator
from typing import Any

import dagster as dg
import polars as pl
import pytest

from flywheel.chat import Renderer
from flywheel.errors import FlywheelError
from flywheel.promotion.decision import judge
from flywheel.promotion.gate import Decision
from flywheel.report.page import server_note
from flywheel.workflows.loader import load_pack
from flywheel_tests.defs.test_evaluation import WORKFLOW, Week, week
from flywheel_tests.evaluation.fake_server import completion
from flywheel_tests.stand_ins.endpoint import Answer, Endpoint, endpoint, named

__all__ = ["week"]


def name_first(week: Week, url: str, *, more: str = "") -> str:
    """Write the endpoint into the pack; returns what stands for it."""
    file = week.home / "workflows" / WORKFLOW / "workflow.yaml"
    file.write_text(f"{file.read_text()}\nfirst_incumbent: {{endpoint: {{url: '{url}', model: large-1}}}}\n{more}\n")
    week.pack = load_pack(file.parent)
    assert week.pack.first_incumbent
    return week.pack.first_incumbent


@pytest.fixture
def hums(renderer: Renderer) -> Iterator[Endpoint]:
    """An endpoint that only hums."""
    with endpoint(lambda body: named(completion(renderer, "hm"), "large-1-2026-01-31")) as server:
        yield server


def verdict(week: Week, incumbent: str) -> Decision:
    empty = week.lake.empty
    rows = week.table("eval_results")
    return judge(
        rows, week.cases, empty("corrected_traces"), empty("checkpoint"), week.pack, incumbent=incumbent
    ).decision


def test_the_candidate_is_compared_with_the_endpoint_that_serves_today(
    week: Week, hums: Endpoint, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("FLYWHEEL_FRONTIER_KEY", "secret")
    first = name_first(week, hums.url, more="rates: {accelerator_hour: 2}")
    facts = week.materialize()
    assert first == f"endpoint:large-1@{hums.host}" and week.servers == 1 and week.served == ["new"]
    rows = week.table("eval_results")
    assert {(arm, who) for arm, who in rows.select("arm", "adapter_id").iter_rows()} == {
        ("incumbent", first), ("incumbent_again", first), ("candidate", "new"), ("base", "base"),
    }  # fmt: skip
    assert facts["servers"].value.startswith(
        f"an endpoint, and a server here: incumbent, incumbent_again on large-1 at {hums.host}; candidate, base on tiny-random"
    )
    assert "how it renders prompts" in facts["not_proven"].value
    assert {key for key, _ in hums.asked} == {"Bearer secret"}
    log = (week.home / "egress" / f"{WORKFLOW}.jsonl").read_text()
    assert len(log.splitlines()) == len(hums.asked) and "secret" not in log and week.pack.system[:30] not in log
    priced = week.table("eval_metrics").filter(metric="cost_per_1000_steps", category="all")
    assert set(priced["arm"]) == {"candidate", "base"}, "an endpoint's hours are not ours"
    decision = verdict(week, first)
    assert decision.verdict == "PROMOTE" and decision.noise and decision.noise.flipped == 0
    assert any(
        f"the incumbent is the endpoint large-1 at {hums.host} (answered as large-1-2026-01-31)" in one
        for one in decision.reasons
    )
    assert f"large-1 at {hums.host}" in server_note(rows) and "Not proven of it" in server_note(rows)
    times = len(hums.asked)
    assert week.materialize()["unchanged"].value is True and len(hums.asked) == times


def fickle(renderer: Renderer) -> Answer:
    """Answers as one model for a while, and then as the next version of it."""
    seen: list[Any] = []

    def answer(body: dict[str, Any]) -> Any:
        seen.append(body)
        return named(completion(renderer, "hm"), "large-1" if len(seen) < 4 else "large-1-2026-02-01")

    return answer


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("page", "no chat completion but text/html"),
        ("liar", "asked for large-1, and small-2 answered"),
        ("fickle", "the endpoint changed while the incumbent ran: it answered as large-1 and as large-1-2026-02-01"),
    ],
)
def test_an_endpoint_that_is_none_or_not_itself_makes_the_week_invalid(
    week: Week, renderer: Renderer, kind: str, reason: str
):
    answers: dict[str, Answer] = {
        "page": lambda body: (200, "text/html", "<html>"),
        "liar": lambda body: named(completion(renderer, "hm"), "small-2"),
        "fickle": fickle(renderer),
    }
    with endpoint(answers[kind]) as server:
        first = name_first(week, server.url)
        week.materialize()
    decision = verdict(week, first)
    assert decision.verdict == "INVALID" and any(reason in one for one in decision.reasons), decision.reasons


def test_a_host_that_is_not_listed_is_not_asked_and_no_key_stands_in_the_pack(week: Week):
    name_first(week, "https://api.example.com/v1")
    with pytest.raises(dg.Failure, match=r"api.example.com is not on this machine[\s\S]*purpose: frontier"):
        week.materialize()
    assert week.servers == 0
    file = week.pack.folder / "workflow.yaml"
    file.write_text(file.read_text().replace("https://api", "https://me:key@api"))
    with pytest.raises(FlywheelError, match="a password does not stand in the pack"):
        load_pack(week.pack.folder)


def test_an_endpoint_that_the_pack_no_longer_names_is_said_and_decides_nothing(week: Week):
    shutil.rmtree(week.home / "egress", ignore_errors=True)
    week.serve_before("endpoint:old-1@api.example.com")
    facts = week.materialize()
    assert "is not the first_incumbent that workflow.yaml names" in facts["not_evaluated"].value
    rows = week.table("eval_results")
    asked = rows.filter(pl.col("arm").is_in(["incumbent", "incumbent_again"]))
    assert asked.height and asked["success"].null_count() == asked.height
    assert verdict(week, "endpoint:old-1@api.example.com").verdict == "INVALID"
    assert json.loads(rows.filter(arm="incumbent")["server"][0]) == {}
