"""The quick look over a frame of runs: it passes over none that the detectors object to when they see it alone."""

import json
from collections import Counter
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.chat.messages import Function, Message, ToolCall, messages_to_json
from flywheel.detectors.finding import Rules
from flywheel.detectors.grounding import HINTS, looks_ungrounded
from flywheel.failures.triage import COLUMNS, Triage
from flywheel.lake import TABLES
from flywheel.toolcalls.incomplete_results import HINTS as UNFINISHED
from flywheel.toolcalls.incomplete_results import lack_in
from flywheel.toolcalls.results import is_error_text
from flywheel_tests.failures.planted import CUT, EMPTY, FOUND, PART, TOOLS

WORDS = st.one_of(
    st.sampled_from(["A12345", "a@b.example", "2026-03-04", "٣٤٥٦٧", "1234", "done", "no, wrong", "<tool_call>", 'say "x1234"\n']),
    st.from_regex(r"[A-Za-z0-9_\-@.]{1,9}", fullmatch=True),
    st.text(max_size=9),
)  # fmt: skip
ARGUMENTS = st.one_of(
    st.builds(lambda value, plain: json.dumps({"booking_id": value}, ensure_ascii=plain), WORDS, st.booleans()),
    st.builds(lambda key, value: json.dumps({"booking_id": "A1", key: value}),
              st.sampled_from(["last_name", "firstName", "FULL_NAME", "name"]), st.sampled_from(["Okafor", "done", "Ana", "A1", "Zoë Li"])),
    st.sampled_from(['{"booking_id": 5}', "{}", "[]", '{"booking_id": ', '{"booking_id": "\\ud800"}', '{"booking_id": NaN}']),
)  # fmt: skip
RESULTS = st.sampled_from(
    ['{"ok": true}', '{"ok": true}', '{"error": "LOST"}', "Error: locked", "A12345 found", *EMPTY[:2], CUT[0], PART[0]]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 2) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                ["orders", "status", "failed", "errors", "partial", "complete", "truncated", "is_truncated", "total"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=4,
)
SPACES = st.text(" \n\t\r\f\x1c\u2003", max_size=2)
CONTENTS = st.one_of(
    st.builds(lambda before, value, cut, after, plain: before + json.dumps(value, ensure_ascii=plain)[:cut] + after, SPACES, JSON, st.integers(1, 60), SPACES, st.booleans()),
    st.builds(lambda word, mark: word + mark, WORDS, st.sampled_from(["[truncated]", "… (output truncated)", "<Result  truncated>", "[…\ntruncated", "truncated"])),
    st.sampled_from([*EMPTY, *CUT, *PART]),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.one_of(ARGUMENTS, WORDS))
def test_the_hints_of_a_column_leave_out_no_call(arguments: str):
    text = messages_to_json([Message("assistant", None, [ToolCall("c", Function("f", arguments))])]).decode()
    assert looks_ungrounded("c", arguments, text) <= pl.Series([text]).str.contains(HINTS).item()


@settings(max_examples=300, deadline=None)
@given(CONTENTS, st.booleans())
def test_no_result_that_lacks_something_escapes_the_look_at_a_column(content: str, ours: bool):
    message = Message("tool", content, None, "c")
    text = messages_to_json([message]).decode() if ours else json.dumps([{"role": "tool", "content": content}])
    assert (lack_in(content) is not None) <= pl.Series([text]).str.contains(UNFINISHED).item()


@st.composite
def runs(draw: st.DrawFn) -> dict[str, Any]:
    messages = [Message("user", f"please {draw(WORDS)}")]
    for number in range(draw(st.integers(0, 3))):
        function = Function(draw(st.sampled_from(["find_booking", "find_booking", "unheard_of"])), draw(ARGUMENTS))
        messages.append(Message("assistant", None, [ToolCall(f"call_{number}", function)]))
        messages.append(Message("tool", draw(RESULTS), None, f"call_{number}"))
    if draw(st.integers(0, 3)) == 0:
        messages += [Message("assistant", "which?"), Message("user", draw(WORDS))]
    if draw(st.integers(0, 3)):
        messages.append(Message("assistant", draw(WORDS | st.sampled_from(FOUND))))
    errors = sum(message.role == "tool" and is_error_text(message.content or "") for message in messages)
    return {
        "messages": messages_to_json(messages).decode(), "tools_sha256": "x", "tool_errors": errors, "outcome_status": "unknown",
        "reward": None, "feedback_score": draw(st.sampled_from([None, None, None, -1.0])), "expected_actions": None,
        "metadata": draw(st.sampled_from(["{}", '{"error": "overloaded"}'])), "adapter_id": draw(st.sampled_from("ab")),
        "principal_ref": None, "tenant_id": None,
    }  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(st.lists(runs(), min_size=1, max_size=12))
def test_a_frame_is_judged_as_its_runs_are(made: list[dict[str, Any]]):
    schema = {name: TABLES["production_traces"].polars_schema()[name] for name in COLUMNS}
    frame = pl.DataFrame([{**run, "trace_id": f"t{number}"} for number, run in enumerate(made)], schema=schema)
    triage = Triage({"x": json.dumps(TOOLS)}, Rules())
    found = triage.frame(frame)
    alone = [triage.one(row) for row in frame.iter_rows(named=True)]
    assert found.failures == [failure for failure in alone if failure]
    called: Counter[tuple[str, str | None]] = Counter()
    for run in made:
        calls = [call for message in json.loads(run["messages"]) for call in message.get("tool_calls") or []]
        called.update((run["adapter_id"], name) for name in {None, *(call["function"]["name"] for call in calls)})
    assert found.opportunities == called
