"""Drafts: every command gives the next value, nothing is lost, and what is submitted passes the automatic check."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.corrections.proposal import auto_check
from flywheel.corrections.workbench import draft as ops
from flywheel.corrections.workbench.draft import Draft
from flywheel.workflows.pack import Pack
from flywheel_tests.corrections.workbench.house import call, result, wrong_enum, wrong_tool

RUN = wrong_enum()


def parameters(pack: Pack, name: str) -> Any:
    return next(tool["function"]["parameters"] for tool in pack.tools if tool["function"]["name"] == name)


def arguments(draft: Draft) -> Any:
    return json.loads(draft.calls[draft.call]["function"]["arguments"])


def test_a_wrong_value_is_mended(pack: Pack):
    draft = ops.mark(ops.accept(Draft(), 2), RUN, 4)
    draft = ops.set_arguments(draft, {"order_id": "R4821", "reason": "found_cheaper"})
    proposal = ops.proposal_of(draft, RUN)
    assert proposal and auto_check(proposal, RUN, pack.tools) == []
    assert (proposal.first_bad_message_index, proposal.trainable_indices, proposal.suffix_mode) == (4, [4], "truncated")
    assert proposal.messages[:4] == RUN[:4] and len(proposal.messages) == 5, "what followed is stale"
    assert proposal.messages[4]["tool_calls"][0]["id"] == "call_2", "the call keeps its id"


def test_another_tool_keeps_the_arguments_of_equal_names(pack: Pack):
    draft = ops.change_tool(ops.mark(Draft(), RUN, 4), "refund_order", parameters(pack, "refund_order"))
    assert draft.calls[0]["function"]["name"] == "refund_order" and arguments(draft) == {
        "order_id": "R4821",
        "reason": "cheaper",
    }
    draft = ops.change_tool(draft, "track_shipment", parameters(pack, "track_shipment"))
    assert arguments(draft) == {}


def test_a_call_becomes_an_answer_and_an_answer_a_call(pack: Pack):
    answered = ops.answer(ops.mark(Draft(), RUN, 4), "No.")
    assert answered.step == {"role": "assistant", "content": "No."}
    called = ops.change_tool(answered, "get_order", parameters(pack, "get_order"))
    assert called.calls[0]["id"].startswith("call_") and called.step and called.step["content"] is None


def test_changing_a_step_drops_what_followed_from_it():
    draft = ops.observe(ops.mark(Draft(), RUN, 4), [result({"ok": 1}, 2)], "reexecuted")
    draft = ops.go_on(draft, {"role": "assistant", "content": "Done."}, "model")
    assert ops.suffix_mode(draft) == "rolled_forward" and draft.open == 2
    proposal = ops.proposal_of(draft, RUN)
    assert proposal and proposal.trainable_indices == [4], "the model's own step is no person's"
    mine = ops.set_content(draft, "It is done.")
    again = ops.proposal_of(mine, RUN)
    assert again and again.trainable_indices == [4, 6]
    shorter = ops.set_content(ops.choose(mine, 0), "with words")
    assert len(shorter.tail) == 1 and ops.suffix_mode(shorter) == "truncated"


def test_undo_takes_back_one_command_and_typing_as_one():
    marked = ops.mark(Draft(), RUN, 4)
    typed = marked
    for text in ("f", "fo", "found_cheaper"):
        typed = ops.typed(typed, ops.set_arguments(typed, {"order_id": "R4821", "reason": text}))
    assert arguments(ops.undo(typed)) == {"order_id": "R4821", "reason": "cheaper"}
    assert ops.undo(ops.undo(typed)).marked is None and ops.undo(Draft()) == Draft()


def test_two_calls_in_one_step(pack: Pack):
    draft = ops.add_call(ops.mark(Draft(), RUN, 2), "get_order")
    draft = ops.set_arguments(draft, {"order_id": "R1"})
    assert [one["function"]["name"] for one in draft.calls] == ["get_order", "get_order"]
    assert len({one["id"] for one in draft.calls}) == 2
    proposal = ops.proposal_of(draft, RUN)
    assert proposal and auto_check(proposal, RUN, pack.tools) == []
    assert len(ops.remove_call(draft).calls) == 1 and ops.remove_call(ops.remove_call(draft)).calls


def test_a_returned_correction_is_gone_on_from():
    draft = ops.set_arguments(ops.mark(Draft(), RUN, 4), {"order_id": "R4821", "reason": "other"})
    proposal = ops.proposal_of(draft, RUN)
    assert proposal
    again = ops.begin_again({**proposal.payload(), "origins": ["written"]})
    assert again.marked == 4 and again.tail == draft.tail
    assert ops.begin_again({"unfixable": "tool_bug"}) == Draft()


COMMANDS = st.lists(
    st.one_of(
        st.tuples(st.just("mark"), st.sampled_from([2, 4, 6])),
        st.tuples(st.just("accept"), st.sampled_from([2, 4, 6])),
        st.tuples(st.just("tool"), st.sampled_from(["get_order", "refund_order", "nonsense"])),
        st.tuples(st.just("raw"), st.sampled_from(["{", "{}", '{"order_id": "R"}'])),
        st.tuples(st.just("content"), st.sampled_from(["", "words"])),
        st.tuples(st.sampled_from(["answer", "undo", "observe", "go_on", "cut", "add", "remove", "unfixable"]), st.none()),
        st.tuples(st.just("choose"), st.integers(-1, 4)),
    ),
    max_size=25,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(COMMANDS)
def test_no_order_of_commands_breaks_a_draft_or_touches_the_run(commands: list[Any]):
    before, draft = json.dumps(RUN), Draft()
    for name, value in commands:
        draft = {
            "mark": lambda d, v: ops.mark(d, RUN, v), "accept": ops.accept, "tool": lambda d, v: ops.change_tool(d, v, {}) if d.step else d,
            "raw": ops.set_raw, "content": ops.set_content, "answer": lambda d, v: ops.answer(d), "undo": lambda d, v: ops.undo(d),
            "observe": lambda d, v: ops.observe(d, [result("x", 2)], "recorded") if d.calls else d,
            "go_on": lambda d, v: ops.go_on(d, call("get_order", {}), "model") if d.tail else d, "cut": lambda d, v: ops.cut(d),
            "add": lambda d, v: ops.add_call(d, "get_order"), "remove": lambda d, v: ops.remove_call(d), "choose": ops.choose,
            "unfixable": lambda d, v: ops.set_unfixable(d, "tool_bug"),
        }[name](draft, value)  # fmt: skip
        assert len(draft.tail) == len(draft.origins) and (
            not draft.tail or draft.tail[draft.open]["role"] == "assistant"
        )
        assert ops.restored(json.loads(json.dumps(draft.payload()))) == draft, "a draft survives being stored"
        proposal = ops.proposal_of(draft, RUN)
        if proposal:
            assert proposal.messages[: draft.marked] == RUN[: draft.marked]
    assert json.dumps(RUN) == before


def test_a_wrong_tool_with_two_arguments(pack: Pack):
    run = wrong_tool()
    draft = ops.change_tool(ops.mark(Draft(), run, 4), "refund_order", parameters(pack, "refund_order"))
    draft = ops.set_arguments(draft, {"order_id": "R7310", "reason": "damaged"})
    proposal = ops.proposal_of(draft, run)
    assert proposal and auto_check(proposal, run, pack.tools) == []
