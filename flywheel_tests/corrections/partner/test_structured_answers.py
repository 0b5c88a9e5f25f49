"""Structured answers at a partner's bench: the same form as in the house, and what breaks its schema is refused there."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from flywheel.corrections.handoff.importing import handed_out, import_return
from flywheel.corrections.handoff.verify import correction
from flywheel.corrections.partner.opened import open_batch
from flywheel.toolcalls.structured_answers import ResponseSchema
from flywheel.workflows.pack import Pack
from flywheel_tests.corrections.handoff.house import BATCH, build, rows
from flywheel_tests.corrections.partner.bench import accept, hand_back, visitors
from flywheel_tests.corrections.workbench.house import SYSTEM, call, result, says, user

SCHEMA = {"type": "object", "required": ["order_id", "state"], "additionalProperties": False,
          "properties": {"order_id": {"type": "string"}, "state": {"enum": ["open", "shipped"]}}}  # fmt: skip
RUN = [SYSTEM, user("where is order R4821?"), call("get_order", {"order_id": "R4821"}), result({"order_id": "R4821", "status": "shipped"}),
       says("It has been shipped.")]  # fmt: skip


def test_an_answer_goes_from_the_partners_form_into_the_store(
    tmp_path: Path, pack: Pack, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(correction, "SHORTEST", timedelta(0))  # nobody here takes five seconds
    table = rows(pack, 1)
    table[0] |= {"messages": json.dumps(RUN), "message_index": 4, "failure_cluster": "(answer) / schema_violation"}
    structured = replace(pack, responses=(ResponseSchema("status", SCHEMA, ("get_order",)),))
    house = build(tmp_path, structured, table=table)
    opened = open_batch(house.folder)
    ann, rob = visitors(opened, "ann", "rob")
    ann.take()
    assert ann.edit("mark:4").status_code == 200 and "fill in the form" in ann.page
    refused = ann.submit(content="It was shipped yesterday.")
    assert refused.status_code == 422 and "status" in refused.text
    assert ann.edit("form").status_code == 200 and 'name="v:/order_id"' in ann.page
    right = {"s:/order_id": "given", "v:/order_id": "R4821", "s:/state": "given", "v:/state": "1"}
    assert ann.submit(**right).status_code == 303
    accept(rob)
    assert "1 corrections" in hand_back(rob).text
    done = import_return(house.store, house.lake, handed_out(house.folder), opened.returns)
    assert done.verdict.report["verdict"] == "accepted" and len(done.submitted) == 1
    (state,) = house.store.states(BATCH).values()
    assert state.proposal and state.proposal["messages"][4]["content"] == '{"order_id": "R4821", "state": "shipped"}'
