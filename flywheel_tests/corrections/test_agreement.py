"""Agreement of corrections, layer by layer; alpha itself is tested in statistics/test_agreement.py."""

import pytest

from flywheel.corrections.agreement import agreement
from flywheel.corrections.answers import Answer, answer_of


def test_layers_of_answers():
    call = {"role": "assistant", "tool_calls": [{"function": {"name": "t", "arguments": '{"a": 1}'}}]}
    made = answer_of({"first_bad_message_index": 0, "messages": [call]}, "ann")
    assert made == Answer("ann", 0, "call", "t", {"a": 1})
    assert answer_of({"unfixable": "tool_bug"}).kind == "unfixable: tool_bug"
    assert answer_of({"first_bad_message_index": 0, "messages": [{"content": "Hi."}]}).kind == "reply"
    other = made._replace(tool="u", actor="bob")
    found = agreement([(made, made), (other, other), (made, other)])
    assert found["step"].alpha is None and found["tool"].alpha == pytest.approx(1 - (1 / 3) / (18 / 30))
    assert found["arguments"].pairs == 2 and found["arguments"].alpha is None
