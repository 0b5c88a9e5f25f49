"""Old runs as demonstrations: what a verifier passed, what a person is asked about, and what is never taken."""

from flywheel.benchmark.cases import load_cases
from flywheel.benchmark.freeze import frozen_and_retired, frozen_row
from flywheel.benchmark.leaks import Registry, read_registry
from flywheel.datasets.week_zero.cells import Cell
from flywheel.datasets.week_zero.old_runs import old_runs
from flywheel.lake import Lake
from flywheel.toolcalls.arguments import canonical_json
from flywheel.workflows.pack import Pack
from flywheel_tests.datasets.samples import called, said
from flywheel_tests.datasets.week_zero.shown import collected, old_run

PLENTY = {Cell("tool_calling", "open_door"): 9, Cell("refusal", ""): 9, Cell("recovery", "open_door"): 9}


def with_verifiers(pack: Pack, *names: str) -> Pack:
    return Pack(**{**vars(pack), "settings": pack.settings.model_copy(update={"verifiers": list(names)})})


def opened(pack: Pack, key: str, door: str, **more) -> dict:
    return old_run(
        pack, key, f"run {key} wants the {door} way", called("open_door", door=door), said("It is open."), **more
    )


def test_only_a_named_verifier_makes_a_run_good_and_success_is_a_proposal(pack: Pack, lake: Lake):
    gold = canonical_json([{"name": "open_door", "arguments": {"door": "blue"}}])
    collected(
        lake, pack, opened(pack, "rewarded", "red", outcome_status="unknown", reward=1.0), opened(pack, "said", "green"),
        opened(pack, "golden", "blue", outcome_status="unknown", expected_actions=gold),
        opened(pack, "missed", "red", outcome_status="unknown", expected_actions=gold), opened(pack, "silent", "gold", outcome_status="unknown"),
        opened(pack, "failed", "red", reward=1.0), failed=("failed",),
    )  # fmt: skip
    taken = old_runs(lake, with_verifiers(pack, "reward", "gold_actions"), PLENTY, (), None)
    assert sorted((row["trace_id"], row["verifier"]) for row in taken.verified) == [
        ("golden", "gold_actions"),
        ("rewarded", "reward"),
    ]
    assert [row["trace_id"] for row in taken.proposed] == ["said"] and taken.passed_over == {
        "a failure was found on it": 1
    }
    row = taken.verified[0]
    assert row["annotator"] == "base" and row["principal_ref"] == f"p-{row['trace_id']}" and row["tools"] == pack.tools
    unnamed = old_runs(lake, pack, PLENTY, (), None)
    assert not unnamed.verified and sorted(row["trace_id"] for row in unnamed.proposed) == ["rewarded", "said"]
    assert not old_runs(lake, pack, PLENTY, ("rewarded", "said"), None).proposed, "known ones are not taken again"


def test_cells_fill_once_twins_and_broken_runs_stay_out(pack: Pack, lake: Lake):
    broken = opened(pack, "broken", "purple")
    collected(lake, pack, opened(pack, "one", "red"), opened(pack, "twin", "red"), opened(pack, "two", "blue"), broken,
              old_run(pack, "cut", "open"), old_run(pack, "asked", "sing", said("Doors only.")),
              groups={"twin": "one"})  # fmt: skip
    taken = old_runs(lake, pack, {Cell("tool_calling", "open_door"): 2, Cell("refusal", ""): 1}, (), None)
    assert len(taken.proposed) == 3 and len({"one", "twin"} & {row["trace_id"] for row in taken.proposed}) == 1
    assert taken.passed_over == {"it is no whole run with valid calls": 2, "its near-duplicate is taken": 1}
    again = old_runs(lake, pack, {Cell("tool_calling", "open_door"): 1}, (), None)
    assert len(again.proposed) == 1 and again.passed_over["its cell of the plan has enough"] == 2


def test_a_goodbye_is_cut_off_and_a_run_may_end_with_its_last_call(pack: Pack, lake: Lake):
    bye = {"role": "user", "content": "Thanks, bye."}
    collected(lake, pack, old_run(pack, "bye", "the red one", called("open_door", door="red"), said("Open."), bye, reward=1.0),
              old_run(pack, "call", "and the blue", called("open_door", door="blue")))  # fmt: skip
    taken = old_runs(lake, pack, PLENTY, (), None)
    assert {row["messages"][-1]["role"] for row in taken.proposed} == {"assistant", "tool"} and taken.rewarded == 1


def test_runs_near_a_benchmark_case_are_never_proposed(pack: Pack, lake: Lake):
    case = next(one for one in load_cases(pack.folder / "benchmark", pack.tools) if one.category == "refusal")
    asked = old_run(pack, "near", case.messages[-1]["content"], said("I only open and close doors."))
    collected(lake, pack, asked)
    lake.replace_partition(
        "benchmark",
        frozen_and_retired(lake.empty("benchmark"), [frozen_row(case, pack.tools_sha256)]),
        workflow=pack.name,
    )
    taken = old_runs(lake, pack, PLENTY, (), Registry(read_registry(lake, pack.name)))
    assert not taken.proposed and taken.passed_over == {"it is near a benchmark case": 1}
