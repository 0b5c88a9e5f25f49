"""A broken run says nothing about a model: whatever is missing, the verdict is INVALID with the reason, never a pass."""

import json

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.promotion.evidence import Evidence, Rules
from flywheel.promotion.gate import decide
from flywheel.promotion.validity import broken
from flywheel_tests.promotion.test_gate import arm, rate

CASES = 200
GOOD, OLD = arm(rate(0.6, CASES)), arm(rate(0.05, CASES, seed=1), "incumbent")
RULES = Rules(0.08, {"schema_valid_rate": 0.9})


def failing(rows: pl.DataFrame, first: int, error: str | None) -> pl.DataFrame:
    """The first so many runs without a score: after a server error, or for no reason given."""
    part = pl.int_range(pl.len()) < first
    return rows.with_columns(
        success=pl.when(part).then(None).otherwise(pl.col("success")),
        infra_error=pl.when(part).then(pl.lit(error, pl.String)).otherwise(pl.col("infra_error")),
    )


@pytest.mark.parametrize("side", ["candidate", "incumbent"])
def test_two_percent_of_the_runs_may_be_lost_to_the_server_and_no_more(side: str):
    def judge(lost: int):
        arms = {"candidate": GOOD, "incumbent": OLD}
        arms[side] = failing(arms[side], lost, "HTTP 500")
        return decide(Evidence(arms["candidate"], arms["incumbent"], OLD.tail(60), set()), RULES)

    few, many = judge(4), judge(5)
    assert few.verdict == "PROMOTE" and few.difference and few.difference.n == 196, "left out, not scored 0"
    assert any("left out after server or network errors" in reason and "4 of 200" in reason for reason in few.reasons)
    assert many.verdict == "INVALID" and f"5 of 200 runs of the {side} ended in a server or network error" in many.reasons[0]  # fmt: skip


def test_what_the_server_broke_is_asked_again_and_what_cannot_be_served_is_not():
    whole = pl.concat([GOOD.with_columns(adapter_id=pl.lit("a"), server=pl.lit("{}")),
                       OLD.with_columns(adapter_id=pl.lit("lost"), server=pl.lit("{}"))])  # fmt: skip
    assert broken(whole, ()) == broken(whole.clear(), ()) == []
    few, many = (failing(whole, lost, "HTTP 500") for lost in (4, 5))
    assert broken(few, ()) == [] and "5 of 200 runs of the candidate" in broken(many, ())[0]
    gone = whole.with_columns(infra_error=pl.when(arm="incumbent").then(pl.lit("adapter lost is missing")))
    assert len(broken(gone, ())) == 1 and broken(gone, ("lost",)) == [], "it would only fail again"
    changed = whole.with_columns(server=pl.lit('{"attached":"host","changed":"version 1 -> 2"}'))
    assert "changed while the candidate ran" in broken(changed, ())[0]


@pytest.mark.parametrize("which", ["candidate", "incumbent"])
def test_an_endpoint_that_answered_as_two_models_decides_nothing_on_either_side(which: str):
    two = '{"endpoint":"api.example.com","model":"large","answered_as":"a, b","changed":"it answered as a and as b"}'
    arms = {name: rows.with_columns(server=pl.lit("{}")) for name, rows in (("candidate", GOOD), ("incumbent", OLD))}
    arms[which] = arms[which].with_columns(server=pl.lit(two))
    decision = decide(Evidence(arms["candidate"], arms["incumbent"], arms["incumbent"].tail(60), set()), RULES)
    assert decision.verdict == "INVALID" and f"the endpoint changed while the {which} ran" in decision.reasons[0]
    alone = two.replace("a, b", "a").replace(',"changed":"it answered as a and as b"', "")
    other = alone.replace('answered_as":"a', 'answered_as":"c')
    arms = {"candidate": GOOD.with_columns(server=pl.lit(alone)), "incumbent": OLD.with_columns(server=pl.lit(other))}
    two_endpoints = decide(Evidence(arms["candidate"], arms["incumbent"], arms["incumbent"].tail(60), set()), RULES)
    assert two_endpoints.verdict == "PROMOTE", "each is one model, and they may be two"


def test_an_a_a_run_that_the_server_broke_is_none():
    """One case that came out the same says nothing of the other 59."""
    for again in (failing(OLD.head(60), 59, "HTTP 500"), failing(OLD.head(60), 1, None)):
        decision = decide(Evidence(GOOD, OLD, again, set()), RULES)
        assert decision.verdict == "INVALID" and "A/A run is missing or was broken by errors" in decision.reasons[0]
    assert decide(Evidence(GOOD, OLD, failing(OLD.head(60), 1, "HTTP 500"), set()), RULES).verdict == "PROMOTE"


def test_a_shared_server_may_start_again_but_not_become_another_between_two_arms():
    def judge(**other: str):
        told = {"vllm": "0.32.0", "arguments": "--model m", "shared_by": "one, two", "session": "first"}
        first, second = json.dumps(told), json.dumps({**told, **other})
        arms = [rows.with_columns(server=pl.lit(text)) for rows, text in ((GOOD, second), (OLD, first), (OLD, first))]
        return decide(Evidence(arms[0], arms[1], arms[2].tail(60), set()), RULES)

    assert judge().verdict == judge(session="second", shared_by="one, two, three").verdict == "PROMOTE"
    for part, value in (("vllm", "0.33.0"), ("arguments", "--model n")):
        decision = judge(**{part: value})
        assert decision.verdict == "INVALID"
        assert f"the server that workflows share changed between arms, in {part}: {value} at the candidate" in decision.reasons[0]  # fmt: skip


def test_an_empty_benchmark_and_arms_of_different_cases_are_named():
    empty = decide(Evidence(GOOD.clear(), OLD.clear(), OLD.clear(), set()), RULES)
    assert empty.verdict == "INVALID" and "the benchmark is empty" in empty.reasons[0]
    other = decide(Evidence(GOOD.head(190), OLD.tail(195), OLD.tail(60), set()), RULES)
    assert other.verdict == "INVALID"
    assert "did not run the same cases: 5 runs only the candidate, 10 only the incumbent" in " ".join(other.reasons)


def test_rows_that_were_taken_out_of_both_arms_make_no_verdict():
    """Without the cases that the candidate lost, a REJECT would read as a PROMOTE."""
    due = {(case, 0) for case in GOOD["case_id"]}
    worse, kept = (arm(rate(0.45, CASES, seed=3)), arm(rate(0.7, CASES, seed=1), "incumbent"))
    lost = worse.filter(~pl.col("success"))["case_id"].to_list()
    left = [rows.filter(~pl.col("case_id").is_in(lost)) for rows in (worse, kept)]
    blind = decide(Evidence(left[0], left[1], left[1].tail(60), set()), RULES)
    assert blind.verdict == "PROMOTE", "or the check below shows nothing"
    seen = decide(Evidence(left[0], left[1], left[1].tail(60), set(), due=due), RULES)
    assert seen.verdict == "INVALID" and f"{len(lost)} of 200 are missing, 0 are of no frozen case" in " ".join(
        seen.reasons
    )
    whole = decide(Evidence(worse, kept, kept.tail(60), set(), due=due), RULES)
    assert whole.verdict == "REJECT"


def test_an_epoch_of_one_case_that_is_gone_makes_no_verdict():
    twice = [pl.concat([rows.with_columns(epoch=pl.lit(epoch)) for epoch in range(2)]) for rows in (GOOD, OLD)]
    due = {(case, epoch) for case in GOOD["case_id"] for epoch in range(2)}
    assert decide(Evidence(twice[0], twice[1], OLD.tail(60), set(), due=due), RULES).verdict == "PROMOTE"
    for left in (twice[0][1:], twice[0].vstack(twice[0][:1].with_columns(case_id=pl.lit("of nobody")))):
        other = decide(Evidence(left, twice[1], OLD.tail(60), set(), due=due), RULES)
        assert other.verdict == "INVALID" and "did not run the same cases" in " ".join(other.reasons)


@settings(max_examples=25, deadline=None)
@given(
    st.sets(
        st.sampled_from(["candidate score", "incumbent score", "a case", "a_a", "metric", "forgetting", "scorer"]),
        min_size=1,
    )
)
def test_whatever_is_missing_nothing_is_promoted(missing: set[str]):
    candidate, incumbent, again = GOOD, OLD, OLD.head(60)
    if "candidate score" in missing:
        candidate = failing(candidate, 1, None)
    if "incumbent score" in missing:
        incumbent = failing(incumbent, 1, None)
    if "a case" in missing:
        candidate = candidate.head(CASES - 1)
    if "a_a" in missing:
        again = again.clear()
    if "scorer" in missing:
        candidate = candidate.with_columns(scorer_version=pl.lit(None, pl.String))
    metrics = {} if "metric" in missing else {"step_seconds_p95": 0.5}
    forgotten = None if "forgetting" in missing else 0.01
    rules = Rules(0.08, {"schema_valid_rate": 0.9}, 0.2, ceilings={"step_seconds_p95": 1.0})
    decision = decide(Evidence(candidate, incumbent, again, set(), forgotten, None, metrics), rules)
    assert decision.verdict == "INVALID" and len(decision.reasons) >= len(missing), decision.reasons
