"""The mix: one answer a history, nothing near the benchmark, every step accounted for."""

import json

import polars as pl
import pytest

from flywheel.benchmark.cases import load_cases
from flywheel.benchmark.fingerprints import fingerprints
from flywheel.benchmark.leaks import leaks_in
from flywheel.chat import Renderer
from flywheel.datasets.mix import supervised_mix
from flywheel.datasets.preference import preference_rows
from flywheel.datasets.steps import Step, steps_of_correction, steps_of_demonstration
from flywheel.lake import Lake
from flywheel.toolcalls.arguments import canonical_json
from flywheel.workflows.pack import Pack


@pytest.fixture(scope="module")
def registry(pack: Pack) -> pl.DataFrame:
    return pl.DataFrame([fingerprints(case) for case in load_cases(pack.folder / "benchmark", pack.tools)])


def step(pack: Pack, text: str, answer: str = "ok", week: str | None = "2026-01-05", conversation: str = "k") -> Step:
    history = [{"role": "system", "content": pack.system}, {"role": "user", "content": text}]
    target = {"role": "assistant", "content": answer}
    return Step(
        "correction", "c", week, conversation, "f", 2, pack.tools, history, target, "qa_three", "simulated", "three"
    )


def correction(pack: Pack, **changes) -> dict:
    messages = [{"role": "user", "content": "A1?"}, {"role": "assistant", "content": "Right."}, {"role": "user", "content": "go on"},
                {"role": "assistant", "content": "Later."}]  # fmt: skip
    return {
        "week": "2026-01-05", "correction_id": "c1", "conversation_id": "k", "failure_cluster": "f", "tools": canonical_json(pack.tools),
        "messages": canonical_json(messages), "trainable_indices": "[1, 3]", "first_bad_message_index": 1, "verified_by": "qa_three",
        "rejected_message": canonical_json({"role": "assistant", "content": "Wrong."}), "annotator_kind": "human", "qa_mode": "three",
        **changes,
    }  # fmt: skip


def test_read_is_kept_plus_left_out_and_rows_fit_the_table(
    pack: Pack, registry: pl.DataFrame, renderer: Renderer, lake: Lake
):
    steps = [step(pack, "status A1"), step(pack, "status A1"), step(pack, "long " * 3000), step(pack, "Please tell me the status of B1."),
             step(pack, "status A1", "another answer", week="2025-12-29")]  # fmt: skip
    mix = supervised_mix(steps, registry, renderer, max_prompt_tokens=6000)
    assert mix.left_out == {"repeated": 1, "other_answer": 1, "benchmark": 1, "too_long": 1}
    assert len(mix.rows) + sum(mix.left_out.values()) == len(steps)
    assert json.loads(mix.rows[0]["target"])["content"] == "ok", "the newest week's answer to a history stands"
    lake.replace_partition("sft_dataset", mix.rows, workflow="desk", week="2026-01-05")


def test_a_planted_case_is_barred_and_found_when_it_gets_in_another_way(
    pack: Pack, registry: pl.DataFrame, renderer: Renderer
):
    case = load_cases(pack.folder / "benchmark", pack.tools)[0]
    said = next(message["content"] for message in case.messages if message["role"] == "user")
    mix = supervised_mix(
        [step(pack, said), step(pack, "x", conversation=case.id)], registry, renderer, max_prompt_tokens=9999
    )
    assert mix.rows == [] and len(mix.leaks) == 2
    clean = supervised_mix([step(pack, "status A1")], registry, renderer, max_prompt_tokens=9999).rows[0]
    planted = {**clean, "messages": canonical_json([{"role": "user", "content": said}])}
    assert leaks_in(pl.DataFrame([clean]), registry) == []
    assert [leak.case_id for leak in leaks_in(pl.DataFrame([clean, planted]), registry)] == [case.id]


def test_the_order_of_the_steps_does_not_matter(pack: Pack, registry: pl.DataFrame, renderer: Renderer):
    steps = [step(pack, f"status A{n}") for n in range(5)]
    one = supervised_mix(steps, registry, renderer, max_prompt_tokens=9999)
    assert one.rows == supervised_mix(steps[::-1], registry, renderer, max_prompt_tokens=9999).rows


def test_only_steps_people_wrote_become_rows(pack: Pack):
    assert [s.message_index for s in steps_of_correction(correction(pack))] == [1, 3]
    assert [s.history[-1]["content"] for s in steps_of_correction(correction(pack))] == ["A1?", "go on"]
    shown = {**correction(pack), "demonstration_id": "d"}
    assert [s.message_index for s in steps_of_demonstration(shown)] == [1, 3]


def test_pairs_share_their_history_and_stand_on_the_first_wrong_step(pack: Pack, renderer: Renderer, lake: Lake):
    rows = preference_rows([correction(pack)], {"c1"}, renderer, max_prompt_tokens=9999)
    (row,) = rows
    assert (json.loads(row["chosen"])["content"], json.loads(row["rejected"])["content"]) == ("Right.", "Wrong.")
    assert json.loads(row["messages"]) == [{"role": "user", "content": "A1?"}]
    lake.replace_partition("preference_dataset", rows, workflow="desk", week="2026-01-05")
    assert preference_rows([correction(pack)], set(), renderer, max_prompt_tokens=9999) == [], (
        "barred in the mix, barred here"
    )
    same = correction(pack, rejected_message=canonical_json({"role": "assistant", "content": "Right."}))
    assert preference_rows([same], {"c1"}, renderer, max_prompt_tokens=9999) == []
