"""The rules of a build one by one: remedies, length, today's tools, coverage, verified steps, replay, export."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.chat import Renderer
from flywheel.chat.canonical import canonical_messages
from flywheel.datasets import candidates
from flywheel.datasets.build import build
from flywheel.datasets.coverage import branches_of, covered, proposal, thin
from flywheel.datasets.export import export, openai_row
from flywheel.datasets.length import ELIDED, shorten
from flywheel.datasets.remedies import REMEDIES, remedies_of, supervised_remedy
from flywheel.datasets.replay import find_replay, prompts_of, read_replay
from flywheel.datasets.steps import Step
from flywheel.datasets.tools_today import judge_today
from flywheel.datasets.verified import verified_steps
from flywheel.detectors.finding import BUCKETS
from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel.toolcalls.arguments import sha256_of
from flywheel.toolcalls.structured_answers import ResponseSchema
from flywheel.workflows.pack import Pack
from flywheel_tests.datasets.samples import WEEKS, called, correction, put, said, workshop


def function(name: str, **properties) -> dict:
    parameters = {"type": "object", "properties": properties, "required": [], "additionalProperties": False}
    return {"type": "function", "function": {"name": name, "parameters": parameters}, "x-access": "write"}


def test_every_bucket_has_a_remedy_and_a_pack_may_override_it():
    for bucket in BUCKETS:
        assert supervised_remedy(bucket, {}) in ("steps", "trajectory")
    assert REMEDIES["schema_violation"] == REMEDIES["wrong_arguments"] == ("steps",)
    assert "pair" in remedies_of("wrong_tool_selection", {}) and "pair" in remedies_of("refusal_error", {})
    assert remedies_of("bad_recovery", {}) == ("trajectory",) and remedies_of(None, {}) == ("steps",)
    assert remedies_of("schema_violation", {"schema_violation": ["steps", "pair"]}) == ("steps", "pair")


@settings(max_examples=60)
@given(st.lists(st.sampled_from(["user", "assistant", "tool"]), max_size=12), st.integers(1, 400))
def test_shortening_fits_or_says_no_and_never_touches_the_last_request(roles: list[str], limit: int):
    history = [
        {"role": "system", "content": "s"},
        *({"role": role, "content": f"{n} " + "x" * 30} for n, role in enumerate(roles)),
    ]

    def fits(messages):
        return sum(len(message["content"]) for message in messages) <= limit

    for policy in ("none", "elide_tool_results", "drop_oldest_turns"):
        shorter, elided = shorten(history, fits, policy)
        assert shorter is None or fits(shorter)
        assert (shorter == history) == (elided == 0 and shorter is not None)
        users = [message for message in history if message["role"] == "user"]
        assert shorter is None or not users or users[-1] in shorter
        assert shorter is None or shorter[0] == history[0]
    assert ELIDED not in json.dumps(history)


def test_a_long_history_is_shortened_as_production_does_and_its_target_stays_whole(
    pack: Pack, renderer: Renderer, lake: Lake
):
    row = correction(pack, "go", called("open_door", door="red"), said("It is done."))
    messages = json.loads(row["messages"])
    messages[3]["content"] = "result " * 3000
    row["messages"] = json.dumps(messages)
    shop = workshop(lake, pack, renderer)
    put(shop, WEEKS[0], row)
    made = build(shop, WEEKS[0])
    assert (
        len(made.sft) == 1
        and made.mix.reasons() == {"too_long": 1}
        and "context policy none" in made.left_out[0]["detail"]
    )
    made = build(workshop(lake, pack, renderer, context_policy="elide_tool_results"), WEEKS[0])
    assert len(made.sft) == 2 and not made.mix.reasons()
    (shortened,) = [one for one in made.sft if one["elided_messages"]]
    assert json.loads(shortened["target"]) == said("It is done.") and ELIDED in shortened["messages"]


def test_a_renamed_tool_migrates_and_a_lost_one_is_listed(pack: Pack):
    today = [function("open_gate", door={"enum": ["red"]})]
    step = Step(
        "correction",
        "c",
        WEEKS[0],
        "k",
        "f",
        1,
        pack.tools,
        [{"role": "user", "content": "x"}],
        called("open_door", door="red"),
        "q",
        "human",
        "three",
    )
    assert judge_today(step, pack.tools, {}).step is step
    assert judge_today(step, today, {}).kept_out == "tool_gone"
    moved = judge_today(step, today, {"open_door": "open_gate"})
    assert (
        moved.kept_out == ""
        and moved.step.target["tool_calls"][0]["function"]["name"] == "open_gate"
        and moved.step.tools == today
    )
    wrong = judge_today(step._replace(target=called("open_door", door="blue")), today, {"open_door": "open_gate"})
    assert wrong.kept_out == "invalid_today" and "open_gate" in wrong.detail


def test_both_sides_of_a_pair_have_the_renamed_tool(pack: Pack, renderer: Renderer):
    """Else the pair would teach names: the old one is wrong, whatever its arguments."""
    today = [function("open_gate", door={"enum": ["red", "green"]})]
    rules = candidates.Rules(2_000, tools=today, tool_migrations={"open_door": "open_gate"})
    step = Step("correction", "c", WEEKS[0], "k", "f", 1, pack.tools, [{"role": "user", "content": "x"}], called("open_door", door="red"), "q",
                "human", "three", "wrong_tool_selection")  # fmt: skip

    def row_of(wrong: dict) -> dict:
        return candidates.candidate_row(step._replace(rejected=wrong), renderer, rules)

    row = row_of(called("open_door", door="green"))
    assert json.loads(row["rejected"]) == called("open_gate", door="green") and row["pair"]
    assert json.loads(row_of(said("No."))["rejected"]) == said("No.")
    same = row_of(called("open_gate", door="red"))
    assert same["rejected"] is None and not same["pair"], "under today's names it was right"
    both = row_of(called("open_door", door="red"))
    assert both["rejected"] is None and not both["pair"]


def test_a_structured_answer_is_learned_as_canonical_json_and_a_broken_one_is_kept_out(pack: Pack, renderer: Renderer):
    schema = {"type": "object", "properties": {"state": {"enum": ["open", "shut"]}}, "required": ["state"]}
    rules = candidates.Rules(2_000, tools=pack.tools, responses=[ResponseSchema("door", schema, ("open_door",))])
    history = [
        {"role": "user", "content": "x"},
        called("open_door", door="red"),
        {"role": "tool", "tool_call_id": "call_0", "content": "{}"},
    ]
    step = Step("correction", "c", WEEKS[0], "k", "f", 3, pack.tools, history, said('{ "state":"open" }'), "q", "human", "three",
                "schema_violation", rejected=said("It is open."))  # fmt: skip
    row = candidates.candidate_row(step, renderer, rules)
    assert json.loads(row["target"]) == said('{"state": "open"}') and row["kept_out"] == ""
    assert json.loads(row["rejected"]) == said("It is open."), "what the model wrote stays as it wrote it"
    broken = candidates.candidate_row(step._replace(target=said('{"state": "ajar"}')), renderer, rules)
    assert broken["kept_out"] == "invalid_today" and broken["detail"].startswith("answer door: ")
    free = candidates.candidate_row(step._replace(target=said("Hello."), history=history[:1]), renderer, rules)
    assert free["kept_out"] == "" and json.loads(free["target"]) == said("Hello.")
    assert candidates.candidate_row(step._replace(source="replay"), renderer, rules)["target"] == json.dumps(
        step.target
    )
    plain = candidates.Rules(2_000, tools=pack.tools)
    assert "responses" not in plain.values() and sha256_of(rules.values()) != sha256_of(plain.values())


def test_coverage_counts_enums_optional_fields_formats_and_truth_values():
    tools = [function("book", seat={"enum": ["aisle", "window"]}, day={"type": "string", "format": "date"}, meal={"type": "boolean"},
                      guests={"type": "array", "items": {"type": "object", "properties": {"age": {"type": "integer"}}}})]  # fmt: skip
    targets = [
        json.dumps(called("book", seat="aisle", day="2026-01-01", meal=True, guests=[{"age": 3}])),
        json.dumps(called("book", seat="aisle")),
    ]
    counts = {(one.branch.path, one.branch.kind, one.branch.value): one.examples for one in covered(tools, targets)}
    assert (
        counts["", "tool", "called"] == counts["seat", "enum", '"aisle"'] == 2
        and counts["seat", "enum", '"window"'] == 0
    )
    assert (
        counts["day", "optional", "given"]
        == counts["day", "optional", "left out"]
        == counts["day", "format", "date"]
        == 1
    )
    assert counts["meal", "boolean", "true"] == 1 and counts["guests[].age", "optional", "given"] == 1
    missing = thin(covered(tools, targets), 2)
    assert missing[0].examples == 0 and len(branches_of(tools)) == len(counts)
    assert '2 more calls of book with seat = "window" (has 0)' in [proposal(one, 2) for one in missing]


def test_equal_answers_are_equal_whatever_ids_and_spaces():
    one, other = called("open_door", 1, door="red"), called("open_door", 2, door="red")
    other["tool_calls"][0]["function"]["arguments"] = '{"door":   "red"}'
    assert (
        canonical_messages([one])
        == canonical_messages([other])
        != canonical_messages([called("open_door", door="blue")])
    )


def test_only_a_named_verifier_makes_a_production_step_good():
    run = {"trace_id": "t", "week": WEEKS[0], "conversation_id": "k", "principal_ref": None, "tenant_id": None, "source_file": "f", "tools_sha256": "x",
           "messages": json.dumps([{"role": "user", "content": "open"}, called("open_door", door="red")]), "reward": 1.0,
           "expected_actions": json.dumps([{"name": "open_door", "arguments": {"door": "red"}}])}  # fmt: skip
    assert verified_steps([run], {"x": "[]"}, [], set()) == []
    for verifier in ("reward", "gold_actions"):
        (step,) = verified_steps([run], {"x": "[]"}, [verifier], set())
        assert step.verified_by == f"verifier_{verifier}" and step.source == "verified"
    assert verified_steps([run], {"x": "[]"}, ["reward"], {"t"}) == [], "a failure was found on it"
    wrong = {
        **run,
        "reward": 0.0,
        "expected_actions": json.dumps([{"name": "open_door", "arguments": {"door": "blue"}}]),
    }
    assert verified_steps([wrong], {"x": "[]"}, ["reward", "gold_actions"], set()) == []


def test_replay_takes_its_share_and_its_absence_names_the_command(
    pack: Pack, renderer: Renderer, lake: Lake, tmp_path: Path
):
    shop = workshop(lake, pack, renderer, replay=0.1)
    put(shop, WEEKS[0], *(correction(pack, f"one thing {n}", said(f"ok {n}")) for n in range(18)))
    notes = build(shop, WEEKS[0]).mix.notes
    assert any("flywheel dataset replay --workflow door" in note for note in notes)
    prompts = prompts_of(pack)
    assert prompts.name == "general_prompts_1.jsonl" and len({json.dumps(one) for one in prompts.prompts}) == 64
    rows = [{"messages": messages, "target": said(f"answer {n}")} for n, messages in enumerate(prompts.prompts[:9])]
    manifest = {"base": "small", "base_sha256": "base", "template_sha256": renderer.template_sha256, "prompts_sha256": prompts.sha256,
                "answers_sha256": sha256_of(rows), "sampled_at": "2026-01-01"}  # fmt: skip
    folder = tmp_path / "replay" / "small-0"
    folder.mkdir(parents=True)
    (folder / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert find_replay(tmp_path / "replay", "another base", renderer.template_sha256, prompts) is None
    found = find_replay(tmp_path / "replay", "base", renderer.template_sha256, prompts)
    made = build(shop._replace(replay=found), WEEKS[0])
    assert made.mix.counts["replay"] == [9, 2] and made.mix.reasons() == {"share_replay": 7}
    assert {row["verified_by"] for row in made.sft if row["source"] == "replay"} == {"base_model small"}
    (folder / "answers.jsonl").write_text(json.dumps(rows[0]) + "\n")
    with pytest.raises(FlywheelError, match="changed after it was sampled"):
        read_replay(found)


def test_the_packs_own_replay_prompts_are_checked_line_by_line(pack: Pack, tmp_path: Path):
    settings = pack.settings.model_copy(
        update={"datasets": pack.settings.datasets.model_copy(update={"replay_prompts": "own.jsonl"})}
    )
    own = replace(pack, folder=tmp_path, settings=settings)
    with pytest.raises(FlywheelError, match="missing"):
        prompts_of(own)
    (tmp_path / "own.jsonl").write_text('{"messages": [{"role": "user", "content": "hi"}]}\n\n{"messages": []}\n')
    with pytest.raises(FlywheelError, match=r"own\.jsonl:3"):
        prompts_of(own)


def test_export_keeps_every_value_and_trains_the_target_alone(
    pack: Pack, renderer: Renderer, lake: Lake, tmp_path: Path
):
    shop = workshop(lake, pack, renderer)
    put(
        shop,
        WEEKS[0],
        correction(pack, "open it", called("open_door", door="red"), said("Zo\u00eb: 3.14159265358979, 1e-12")),
    )
    made = build(shop, WEEKS[0])
    lake.replace_partition("sft_dataset", made.sft, workflow=pack.name, week=WEEKS[0])
    lake.replace_partition("preference_dataset", made.pairs, workflow=pack.name, week=WEEKS[0])
    assert export(lake, pack.name, WEEKS[0], tmp_path) == {
        "openai.jsonl": 2,
        "trl_sft.jsonl": 2,
        "trl_preference.jsonl": 1,
    }
    lines = [json.loads(line) for line in (tmp_path / "openai.jsonl").read_text().splitlines()]
    assert all(
        message.get("weight", 1) == 0
        for line in lines
        for message in line["messages"][:-1]
        if message["role"] == "assistant"
    )
    assert all("weight" not in line["messages"][-1] for line in lines)
    last = next(line for line in lines if not line["messages"][-1].get("tool_calls"))
    assert last["messages"][-1]["content"] == "Zo\u00eb: 3.14159265358979, 1e-12"
    assert last["messages"][2]["tool_calls"][0]["function"]["arguments"] == '{"door": "red"}'
    trl = [json.loads(line) for line in (tmp_path / "trl_preference.jsonl").read_text().splitlines()]
    assert set(trl[0]) == {"prompt", "chosen", "rejected", "tools"} and isinstance(trl[0]["tools"], str)
    assert "tools" not in openai_row(
        {"messages": "[]", "target": '{"role": "assistant", "content": "x"}', "tools": "[]"}
    )
