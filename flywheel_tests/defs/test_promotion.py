"""The stage `promotion` and the pointer: what people did stays, damaged adapters decide nothing, a stale evaluation is refused."""

import json
import shutil
from pathlib import Path

import dagster as dg
import pytest

from flywheel.benchmark.cases import benchmark_version
from flywheel.benchmark.row_digest import DIGEST, row_sha256
from flywheel.defs.promotion import promotion
from flywheel.defs.resources import House
from flywheel.evaluation.decides import what_decides
from flywheel.partitions import partition_key
from flywheel.promotion.pointer import serving
from flywheel.promotion.pointer_file import read_pointer
from flywheel.promotion.releases import Releases
from flywheel_tests.promotion.house import WEEKS, blank, decide, make_adapter, make_house


@pytest.fixture
def acts(tmp_path: Path) -> Releases:
    made = make_house(tmp_path)
    made.lake.replace_partition("benchmark", [], workflow="door")
    return made


def evaluated(acts: Releases, week: str, candidate: str, incumbent: str, **more: str) -> None:
    """A week whose candidate solves what its incumbent does not."""
    rows = [
        blank("eval_results", case_id=f"c{case}", case_cluster=f"c{case}", category="tool_calling", arm=arm, epoch=0, adapter_id=adapter,
              success=arm == "candidate" or case % 2 == 0, calls=1, schema_valid_calls=1, benchmark_version="b", scorer_version="s",
              decoding="greedy_auto", **more)
        for arm, adapter in (("candidate", candidate), ("incumbent", incumbent), ("incumbent_again", incumbent))
        for case in range(120)
    ]  # fmt: skip
    rows = [{**row, DIGEST: row_sha256(row)} for row in rows]
    trained = blank("checkpoint", adapter_id=candidate, tools_sha256=acts.pack.tools_sha256)
    rows = [{**row, DIGEST: row_sha256(row)} for row in rows]
    acts.lake.replace_partition("eval_results", rows, workflow="door", week=week)
    acts.lake.replace_partition("checkpoint", [trained], workflow="door", week=week)
    acts.lake.replace_partition("corrected_traces", [], workflow="door", week=week)


def run(acts: Releases, week: str) -> dict:
    with dg.build_asset_context(partition_key=partition_key(week, "door")) as context:
        promotion(context, House(home=str(acts.settings.home)))
    return acts.lake.read_partition("promotion", workflow="door", week=week).row(0, named=True)


def test_what_a_person_did_stays_when_weeks_are_rematerialized(acts: Releases):
    first, second = make_adapter(acts.settings, 1), make_adapter(acts.settings, 2)
    evaluated(acts, WEEKS[0], first, "base")
    assert run(acts, WEEKS[0])["served_adapter_id"] == first, "the door pack releases by itself"
    evaluated(acts, WEEKS[1], second, first)
    assert run(acts, WEEKS[1])["served_adapter_id"] == second
    assert read_pointer(acts.settings.pointer("door")).adapter_id == second
    assert acts.lake.lineage("next_asks", workflow="door", week=WEEKS[1]), (
        "what the verdict asks for is written with it"
    )
    acts.roll_back(by="Dana", reason="r")
    for week in WEEKS[:2]:
        run(acts, week)
    assert serving(acts.log()) == first and acts.log().height == 3
    assert read_pointer(acts.settings.pointer("door")).adapter_id == first, "the file follows the log"
    evaluated(acts, WEEKS[1], first, first)  # other inputs: the past week is judged anew, and moves nothing
    assert run(acts, WEEKS[1])["served_adapter_id"] == first and acts.log().height == 3


def test_a_rollback_between_evaluation_and_decision_asks_for_another_evaluation(acts: Releases):
    first = make_adapter(acts.settings, 1)
    decide(acts, WEEKS[0], first, automatic=True)
    evaluated(acts, WEEKS[1], make_adapter(acts.settings, 2), first)
    acts.roll_back(by="Dana", reason="r")
    with pytest.raises(dg.Failure, match="was evaluated against .*, and base serves") as caught:
        run(acts, WEEKS[1])
    assert "--stage eval_results" in (caught.value.description or "") and acts.log().height == 2


def test_a_week_whose_run_was_broken_is_decided_when_it_was_run_again(acts: Releases):
    first = make_adapter(acts.settings, 1)
    evaluated(acts, WEEKS[0], first, "base", infra_error="HTTP 500")
    assert run(acts, WEEKS[0])["verdict"] == "INVALID" and serving(acts.log()) == "base"
    evaluated(acts, WEEKS[0], first, "base")
    assert run(acts, WEEKS[0])["verdict"] == "PROMOTE" and serving(acts.log()) == first
    assert acts.log().sort("decided_at")["verdict"].to_list() == ["INVALID", "PROMOTE"]


def test_an_adapter_trained_after_the_evaluation_asks_for_another_evaluation(acts: Releases):
    """As after `checkpoint import --replace`: the week must not release what its checkpoint no longer names."""
    evaluated(acts, WEEKS[0], make_adapter(acts.settings, 1), "base")
    later = blank(
        "checkpoint",
        adapter_id=make_adapter(acts.settings, 2),
        tools_sha256=acts.pack.tools_sha256,
        forgetting_nats=0.0,
    )
    acts.lake.replace_partition("checkpoint", [later], workflow="door", week=WEEKS[0])
    with pytest.raises(dg.Failure, match="was evaluated, and the week's checkpoint is adapter-") as caught:
        run(acts, WEEKS[0])
    assert "--stage eval_results" in (caught.value.description or "") and acts.log().height == 0
    acts.lake.replace_partition("checkpoint", [], workflow="door", week=WEEKS[0])
    with pytest.raises(dg.Failure, match="checkpoint is none"):
        run(acts, WEEKS[0])


def test_an_incumbent_whose_files_are_gone_makes_the_week_invalid_and_stays(acts: Releases):
    first = make_adapter(acts.settings, 1)
    decide(acts, WEEKS[0], first, automatic=True)
    evaluated(acts, WEEKS[1], make_adapter(acts.settings, 2), first)
    shutil.rmtree(acts.settings.checkpoints("door") / first)
    row = run(acts, WEEKS[1])
    assert (row["verdict"], row["served_adapter_id"]) == ("INVALID", first)
    assert "the incumbent cannot serve" in json.loads(row["reasons"])[0]


def test_a_decision_notes_what_its_arms_ran_with_unless_the_pack_was_edited_since(acts: Releases):
    first, second = make_adapter(acts.settings, 1), make_adapter(acts.settings, 2)
    renderer = House(home=str(acts.settings.home)).renderer(acts.pack)
    arms = {"candidate": first, "incumbent": "base", "gone": {}}
    version = benchmark_version([], acts.pack.tools_sha256)
    generation = what_decides(acts.pack, renderer, acts.base, version, arms).generation_sha256
    evaluated(acts, WEEKS[0], first, "base", generation_sha256=generation)
    decision = run(acts, WEEKS[0])["decision_id"]
    noted = json.loads(acts.log()["configuration"][0])
    pointer = read_pointer(acts.settings.pointer("door"))
    assert pointer.configuration == {**noted, "adapter_id": first} and noted["vllm"] == "0.32.0"
    assert pointer.evaluated_by == f"decision {decision} of week {WEEKS[0]}"
    evaluated(acts, WEEKS[1], second, first, generation_sha256="of another prompt")
    run(acts, WEEKS[1])
    assert acts.log().sort("week")["configuration"][1] is None
    assert read_pointer(acts.settings.pointer("door")).evaluated_by is None


def test_a_candidate_takes_over_from_the_endpoint_and_the_log_notes_it(acts: Releases):
    workflows = acts.settings.home / "workflows"
    kept = workflows.resolve() / "door"
    workflows.unlink()
    shutil.copytree(kept, workflows / "door")
    file = workflows / "door" / "workflow.yaml"
    file.write_text(
        f"{file.read_text()}\nfirst_incumbent: {{endpoint: {{url: 'http://127.0.0.1:9/v1', model: large-1}}}}\n"
    )
    endpoint, first, second = (
        "endpoint:large-1@127.0.0.1:9",
        make_adapter(acts.settings, 1),
        make_adapter(acts.settings, 2),
    )
    evaluated(acts, WEEKS[0], first, endpoint)
    row = run(acts, WEEKS[0])
    assert (row["incumbent_adapter_id"], row["served_adapter_id"]) == (endpoint, first)
    log = acts.log().row(0, named=True)
    assert (log["previous_adapter_id"], log["served_adapter_id"]) == (endpoint, first)
    pointer = read_pointer(acts.settings.pointer("door"))
    assert pointer.adapter_id == first and pointer.previous_adapter_id == endpoint
    evaluated(acts, WEEKS[1], second, endpoint)
    with pytest.raises(dg.Failure, match=f"was evaluated against {endpoint}, and {first} serves"):
        run(acts, WEEKS[1])
    file.write_text(file.read_text().replace("first_incumbent", "# "))
    assert run(acts, WEEKS[0])["incumbent_adapter_id"] == endpoint, "a decided week keeps what it was judged against"
