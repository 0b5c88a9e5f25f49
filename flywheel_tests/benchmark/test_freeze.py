"""Which cases a week was evaluated on, when others were added or retired since."""

import polars as pl

from flywheel.benchmark.cases import Case, benchmark_version
from flywheel.benchmark.freeze import active, evaluated, frozen_and_retired, frozen_row
from flywheel.lake import Lake
from flywheel.promotion.decision import core_version
from flywheel.workflows.pack import Pack

TOOLS = "t" * 64


def case(number: int, part: str = "core") -> Case:
    return Case.model_validate(
        {"id": f"c{number}", "cluster": f"c{number}", "category": "refusal", "exercises": {"buckets": [], "tools": []},
         "messages": [{"role": "user", "content": f"say {number}"}], "expectation": {"kind": "reply"}, "slice": part}
    )  # fmt: skip


def test_the_cases_of_a_week_are_found_again_after_others_came_and_one_went(lake: Lake, pack: Pack):
    then = [case(1), case(2), case(3, "old")]
    rows = [frozen_row(one, TOOLS) for one in then]
    lake.replace_partition("benchmark", rows, workflow="desk")
    first = lake.read_partition("benchmark", workflow="desk")
    version = benchmark_version(then, pack.contract_sha256)
    results = pl.DataFrame({"case_id": [one.id for one in then] * 2, "benchmark_version": version})
    assert evaluated(first, results, pack.contract_sha256) == active(first) == then
    now = frozen_and_retired(
        first, [*(frozen_row(one, TOOLS) for one in (then[0], then[2])), frozen_row(case(4, "new"), TOOLS)]
    )
    assert [one.id for one in active(now)] == ["c1", "c3", "c4"]
    assert evaluated(now, results, pack.contract_sha256) == then, "retired ones too"
    assert core_version(then, pack, version) == core_version(
        evaluated(now, results, pack.contract_sha256), pack, version
    )
    assert evaluated(now, results.filter(pl.col("case_id") != "c2"), pack.contract_sha256) == active(now), (
        "not the same cases"
    )
    assert (
        evaluated(now, results, "other tools") == active(now) == evaluated(now, results.clear(), pack.contract_sha256)
    )
