"""The simulated customers and experts: varied, repeatable, right, and strangers to the benchmark."""

import asyncio
import json
import random

import msgspec
import pytest

from flywheel.benchmark.cases import load_cases
from flywheel.benchmark.fingerprints import case_text
from flywheel.corrections.proposal import auto_check
from flywheel.demo import benchmark_author, support_customers
from flywheel.demo.conversation import acceptable, converse, correct_run, expert, inbox_line
from flywheel.demo.protocol import Goal
from flywheel.demo.scan import shared_material
from flywheel.traces.adapters import messages
from flywheel.workflows.pack import Pack

GOALS = support_customers.make_goals(1, 300, "2026-01-05")


def play(goal: Goal, pack: Pack, agent=None):
    return asyncio.run(converse(goal, agent or expert(goal, support_customers), pack, support_customers, budget=8))


async def useless(messages: list[dict]) -> dict:
    return {"role": "assistant", "content": "We value your message."}


def test_the_committed_benchmark_is_what_its_author_writes(tmp_path, pack: Pack):
    benchmark_author.write(tmp_path)
    for file in sorted(tmp_path.glob("*.jsonl")):
        assert file.read_bytes() == (pack.folder / "benchmark" / file.name).read_bytes(), file.name


def test_production_shares_no_phrase_and_no_entity_with_the_benchmark(pack: Pack):
    cases = [case_text(case) for case in load_cases(pack.folder / "benchmark", pack.tools)]
    said = [m["content"] for goal in GOALS for m in play(goal, pack).messages if m["role"] == "user"]
    common = [pack.system, pack.guidelines]
    assert shared_material(cases, said, common=common) == set()
    assert shared_material(cases, [*said, cases[7]], common=common), "a planted case is found"


def test_the_same_seed_gives_the_same_customers_and_another_week_gives_others():
    assert support_customers.make_goals(1, 50, "2026-01-05") == support_customers.make_goals(1, 50, "2026-01-05")
    assert support_customers.make_goals(1, 50, "2026-01-05") != support_customers.make_goals(1, 50, "2026-01-12")
    assert len({goal.opening for goal in GOALS}) > 290 and len({goal.wishes[0].kind for goal in GOALS}) == 8
    assert [Goal.from_json(json.loads(json.dumps(goal.to_json()))) for goal in GOALS] == GOALS


def test_an_expert_meets_every_goal_and_finds_nothing_to_correct(pack: Pack):
    for goal in GOALS:
        talk = play(goal, pack)
        assert talk.outcome == "success", goal
        assert asyncio.run(correct_run(goal, talk.messages, pack, support_customers)) is None


def test_a_useless_agent_is_corrected_at_its_first_wrong_step(pack: Pack):
    for goal in GOALS[:60]:
        talk = play(goal, pack, useless)
        proposal = asyncio.run(correct_run(goal, talk.messages, pack, support_customers))
        assert proposal and proposal.first_bad_message_index == 2
        assert auto_check(proposal, talk.messages, pack.tools) == []
        final = proposal.messages[-1]
        assert acceptable(support_customers.solve(goal, proposal.messages[:-1]), final)


def test_runs_are_logged_as_the_inbox_reads_them(pack: Pack):
    for number, goal in enumerate(GOALS[:40]):
        talk = play(goal, pack, useless if number % 2 else None)
        trace = messages.read(
            json.dumps(inbox_line(goal, talk, pack, week="2026-01-05", model="base", number=number)).encode()
        )
        assert trace.environment == "simulated" and msgspec.to_builtins(trace.messages) == talk.messages
        assert "goal" not in json.dumps(trace.metadata), "what a customer really wants is hidden from the stages"


def test_a_careless_annotator_is_wrong(pack: Pack):
    rng = random.Random(0)
    for goal in GOALS[:80]:
        start = [{"role": "system", "content": pack.system}, {"role": "user", "content": goal.opening}]
        right = support_customers.solve(goal, start)
        assert not acceptable(right, support_customers.careless(right.message, rng))


@pytest.mark.parametrize(
    "call",
    [
        ("nope", {}),
        ("get_order", {"wrong": 1}),
        ("update_address", {"order_id": "A", "address": "x"}),
        ("list_orders", {"email": 5}),
    ],
)
def test_the_shop_answers_mistakes_with_an_error(pack: Pack, call: tuple[str, dict]):
    assert json.loads(pack.environment(1).call(*call))["error"]


def test_the_shop_is_seeded_and_its_state_is_a_copy(pack: Pack):
    shop = pack.environment(3)
    assert shop.state() == pack.environment(3).state() != pack.environment(4).state()
    shop.state()["orders"].clear()
    assert shop.state()["orders"]
