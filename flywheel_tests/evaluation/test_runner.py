"""Running an arm: what is stored of each case, and what becomes of servers and models that misbehave."""

import dataclasses
import json

import polars as pl
import pytest

from flywheel.benchmark.cases import Case
from flywheel.benchmark.row_digest import row_sha256, tampered
from flywheel.chat import Renderer
from flywheel.evaluation.metrics import metric_rows
from flywheel.evaluation.runner import Arm, Benchmark, not_run
from flywheel.lake import TABLES, Lake
from flywheel.workflows.evaluation_settings import Decoding, Evaluation
from flywheel.workflows.pack import Pack
from flywheel_tests.evaluation.conftest import RunArm
from flywheel_tests.evaluation.fake_server import completion, door_model

WEEK = "2026-01-05"


def metric(rows: list[dict], name: str, category: str = "all") -> dict:
    return next(
        row
        for row in metric_rows(rows, rates={"accelerator_hour": 3.6})
        if (row["metric"], row["category"]) == (name, category)
    )


def changed(pack: Pack, **settings) -> Pack:
    return dataclasses.replace(pack, settings=pack.settings.model_copy(update=settings))


def test_a_model_that_does_everything_right_is_stored_whole_and_survives_the_lake(
    run: RunArm, renderer: Renderer, lake: Lake
):
    rows = run(door_model(renderer), base_model_sha256="b", generation_sha256="g")
    assert all(row["success"] for row in rows), [row["failure_reason"] for row in rows if not row["success"]]
    columns = set(TABLES["eval_results"].polars_schema()) - {"week", "workflow"}
    assert columns - set(rows[0]) <= {"slice"}, "every declared column is written"
    row = next(row for row in rows if row["category"] == "multi_step")
    steps = row["model_steps"]
    for name in ("raw_outputs", "prompt_sha256", "completion_ids", "finish_reasons", "step_seconds"):
        assert len(json.loads(row[name])) == steps == 2, name
    assert renderer.decode(json.loads(row["completion_ids"])[1]) == json.loads(row["raw_outputs"])[1] == "it is done"
    assert sum(json.loads(row["step_seconds"])) <= row["seconds"]
    assert json.loads(row["sampling"]) == {"temperature": 0, "top_p": 1, "max_tokens": 40, "tool_choice": "auto"}
    assert (row["stop_reason"], row["seed"], row["epoch"]) == ("answered", 0, 0)
    lake.replace_partition("eval_results", rows, workflow="door", week=WEEK)
    stored = lake.read_partition("eval_results", workflow="door", week=WEEK)
    assert tampered(stored) == []
    for column, value in (("success", False), ("raw_outputs", '["x"]'), ("adapter_id", "other"), ("row_sha256", None)):
        edited = stored.with_columns(
            pl.when(pl.col("case_id") == "idle-0").then(pl.lit(value)).otherwise(pl.col(column)).alias(column)
        )
        assert tampered(edited) == [
            f"1 of {len(rows)} result rows are not what evaluation wrote: idle-0 (candidate)"
        ], column


def test_a_digest_outlives_a_new_column(run: RunArm, renderer: Renderer, door_cases: list[Case]):
    row = run(door_model(renderer), cases=door_cases[:1])[0]
    assert row_sha256({**row, "column_of_next_year": None}) == row["row_sha256"] != row_sha256({**row, "calls": 9})


@pytest.mark.parametrize(
    ("answer", "said"),
    [((502, "text/html", "<html>Bad gateway</html>"), "HTTP 502: <html>"), ((200, "text/html", "<html>Sign in</html>"), "no chat completion but text/html"),
     ((200, "application/json", '{"choices": [{"mess'), "no chat completion but application/json"),
     ((200, "application/json", '{"choices": []}'), "no chat completion"), ((200, "application/json", "[1]"), "no chat completion"),
     (None, "ReadTimeout")],
)  # fmt: skip
def test_an_endpoint_that_fails_is_counted_and_never_scored_zero(
    run: RunArm, door_cases: list[Case], answer, said: str
):
    rows = run(lambda body: answer, cases=door_cases[:6], timeout_seconds=0.3)
    assert all(row["success"] is None and said in row["infra_error"] and row["failure_bucket"] is None for row in rows)
    assert metric(rows, "infra_error_rate")["numerator"] == 6
    success = metric(rows, "task_success")
    assert success["value"] is None and success["denominator"] == 0
    with pytest.raises(StopIteration):
        metric(rows, "pass^3")


def test_an_error_in_the_middle_keeps_what_was_done(run: RunArm, renderer: Renderer, door_cases: list[Case]):
    good = door_model(renderer)
    episode = [case for case in door_cases if case.category == "multi_step"][:1]
    row = run(
        lambda body: good(body) if body["messages"][-1]["role"] == "user" else (500, "text/plain", "dead"),
        cases=episode,
    )[0]
    assert row["infra_error"].startswith("HTTP 500") and row["model_steps"] == 1 and row["success"] is None


def test_a_model_that_never_stops_ends_at_its_limits_and_is_named_for_it(
    run: RunArm, renderer: Renderer, door_cases: list[Case]
):
    babble = run(
        lambda body: completion(renderer, '<tool_call>{"name": "open_door"' + " la" * 20, finish="length"),
        cases=door_cases,
    )
    assert not any(row["success"] for row in babble)
    assert {(row["failure_bucket"], row["failure_sub_kind"]) for row in babble} == {
        ("premature_termination", "max_tokens")
    }
    episodes = [case for case in door_cases if case.category == "multi_step"]
    asks = [case for case in episodes if "jammed" not in str(case.expectation)][:3]
    loop = run(
        lambda body: completion(renderer, None, [("open_door", '{"door": "red"}'), ("close_door", '{"door": "red"}')]),
        cases=asks,
    )
    assert {row["stop_reason"] for row in loop} == {"max_steps"} and {row["model_steps"] for row in loop} == {3}
    assert all("premature_termination" in json.loads(row["failure_tags"]) for row in loop)


def test_a_run_that_fills_its_own_context_is_the_models_and_a_case_that_never_fitted_is_not(
    run: RunArm, renderer: Renderer, door_cases: list[Case]
):
    full = (
        400,
        "application/json",
        json.dumps({"error": {"message": "This model's maximum context length is 512 tokens."}}),
    )
    good = door_model(renderer)
    episode = [case for case in door_cases if case.category == "multi_step"][:1]
    row = run(lambda body: good(body) if body["messages"][-1]["role"] == "user" else full, cases=episode)[0]
    assert row["infra_error"] is None and (row["success"], row["stop_reason"]) == (False, "context_length")
    assert "premature_termination" in json.loads(row["failure_tags"])
    assert run(lambda body: full, cases=episode)[0]["infra_error"].startswith("HTTP 400")


def test_a_server_with_a_longer_context_is_asked_as_one_of_the_workflows_own(
    run: RunArm, renderer: Renderer, door: Pack, door_cases: list[Case]
):
    """Answers are cut where the own server would cut them, and a prompt that it would refuse is never sent."""
    (case,) = [case for case in door_cases if case.category == "multi_step"][:1]
    asked: list[int] = []
    good = door_model(renderer)

    def answer(body):
        asked.append(body["max_tokens"])
        return good(body)

    prompt = len(renderer.prompt_ids([{"role": "system", "content": door.system}, *case.messages], door.tools))
    whole = run(answer, cases=[case])[0]
    assert asked == [40, 40] and whole["success"]
    asked.clear()
    row = run(answer, cases=[case], longest=prompt + 7)[0]
    assert asked == [7], "the second prompt is longer and was not sent"
    assert (row["stop_reason"], row["infra_error"], row["model_steps"]) == ("context_length", None, 1)
    asked.clear()
    never = run(answer, cases=[case], longest=prompt - 1)[0]
    assert not asked and never["infra_error"].startswith("HTTP 400: This model's maximum context length is")


def test_epochs_have_seeds_of_their_own_at_production_temperature_and_give_pass_k(
    run: RunArm, renderer: Renderer, door: Pack, door_cases: list[Case]
):
    settings = {"evaluation": Evaluation(epochs=3), "decoding": Decoding(mode="sampled_auto", temperature=0.7)}
    asked = []
    good = door_model(renderer)

    def flaky(body):
        asked.append((body["seed"], body["temperature"]))
        return good(body) if body["seed"] != 1002 or "red" in str(body["messages"]) else completion(renderer, "no")

    cases = [case for case in door_cases if case.category == "tool_calling"]
    rows = run(flaky, pack=changed(door, **settings), cases=cases, arm=Arm("incumbent_again", "a", "a", seed=1000))
    assert set(asked) == {(1000, 0.7), (1001, 0.7), (1002, 0.7)}
    assert [row["epoch"] for row in rows[:: len(cases)]] == [0, 1, 2]
    red = sum("red" in str(case.messages) for case in cases)
    assert (metric(rows, "pass^3")["numerator"], metric(rows, "pass^3")["denominator"]) == (red, len(cases))
    assert metric(rows, "task_success")["numerator"] == 2 * len(cases) + red


def test_an_arm_that_could_not_run_has_a_row_for_every_case_with_the_reason(door: Pack, door_cases: list[Case]):
    rows = not_run(Arm("incumbent", "gone", "gone"), Benchmark(door_cases, "v1", door), "adapter gone is missing")
    assert {row["infra_error"] for row in rows} == {"adapter gone is missing"} and len(rows) == len(door_cases)
    assert tampered(pl.DataFrame(rows, infer_schema_length=None)) == []
