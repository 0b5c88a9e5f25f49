"""Fields that a pack declares: found wherever a schema can say so, replaced in all a run's texts, refused where they could never match."""

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from flywheel.errors import FlywheelError
from flywheel.privacy.declared import declaration_problem, declared_fields
from flywheel.privacy.redaction import policy_of, redact_frame
from flywheel.privacy.vault import Vault
from flywheel.workflows.loader import load_pack
from flywheel_tests.conftest import SUPPORT_DESK

NAME = {"type": "string", "x-pii": "person_name"}


def tool(more: dict[str, Any] | None = None, **properties: Any) -> dict[str, Any]:
    return {"function": {"name": "book", "parameters": {"type": "object", "properties": properties, **(more or {})}}}


def test_a_field_is_found_behind_alternatives_references_and_items():
    person = {"type": "object", "properties": {"name": NAME, "friends": {"items": {"$ref": "#/$defs/person"}}}}
    found = declared_fields(tool(
        {"$defs": {"person": person, "text": NAME}},
        phone={"anyOf": [{"type": "string", "x-pii": "phone"}, {"type": "null"}]},
        mail={"x-pii": "email", "oneOf": [{"type": "string"}, {"type": "null"}]},
        names={"anyOf": [NAME, {"type": "array", "items": {"allOf": [{"$ref": "#/$defs/text"}]}}]},
        who={"$ref": "#/$defs/person"},
    ))  # fmt: skip
    assert {(".".join(path), kind) for path, kind in found if len(path) <= 4} == {
        ("phone", "phone"), ("mail", "email"), ("names", "person_name"), ("names.*", "person_name"), ("who.name", "person_name"),
        ("who.friends.*.name", "person_name"),
    }  # fmt: skip


@pytest.mark.parametrize(("field", "said"), [
    ({"type": "array", "x-pii": "person_name", "items": {"type": "string"}}, "no text"),
    ({"type": "integer", "x-pii": "phone"}, "no text"),
    ({"x-pii": "phone", "anyOf": [{"type": "integer"}, {"type": "null"}]}, "no text"),
    ({"type": "object", "additionalProperties": NAME}, "no property or list element leads"),
    ({"type": "string", "x-pii": True}, "names no kind"),
])  # fmt: skip
def test_a_declaration_that_can_never_match_is_refused(tmp_path: Path, field: dict, said: str):
    assert said in (declaration_problem(tool(x=field)) or "")
    folder = Path(shutil.copytree(SUPPORT_DESK, tmp_path / "desk"))
    tools = json.loads((folder / "tools.json").read_text())
    tools[0]["function"]["parameters"]["properties"]["x"] = field
    (folder / "tools.json").write_text(json.dumps(tools))
    with pytest.raises(FlywheelError, match=said) as caught:
        load_pack(folder)
    assert "tools.json" in caught.value.where and "x-pii in parameters.properties.x" in caught.value.what


def test_what_only_looks_like_a_declaration_is_none():
    assert declaration_problem(tool(**{"x-pii": {"type": "string", "default": {"x-pii": 1}}})) is None
    assert declared_fields(tool(**{"x-pii": {"type": "string"}})) == ()


def run(arguments: str, **texts: str | None) -> pl.DataFrame:
    messages = [{"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "book", "arguments": arguments}}]},
                {"role": "tool", "tool_call_id": "c", "content": json.dumps({"booked": json.loads(arguments), "log": arguments})}]  # fmt: skip
    row = {"messages": json.dumps(messages), "request": "", "feedback_comment": None, "metadata": "{}", "signals": "[]", "expected_actions": None,
           "conversation_id": "c", "source_id": "s", "principal_ref": "ref", **texts}  # fmt: skip
    return pl.DataFrame([row], schema=dict.fromkeys(row, pl.String))


@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("value", ["Zoë Müller", 'Robert "Bob" Smith', "Calle Mayor 1\nMadrid", "Ana\\Eva"])
def test_a_value_that_json_escapes_is_gone_from_the_call_and_its_result(tmp_path: Path, value: str, ascii_only: bool):
    arguments = {"name": value, "seats": 2}
    frame = run(json.dumps(arguments, ensure_ascii=ascii_only))
    vault = Vault(tmp_path / "vault")
    done = redact_frame(frame, policy_of([tool(name=NAME)], kinds=()), vault)
    call, result = json.loads(done["messages"][0])
    [original] = vault.originals("ref")
    after = {"name": original.surrogate, "seats": 2}
    assert original.value == value and json.loads(done["redactions"][0]) == {"person_name": 1}
    assert json.loads(call["tool_calls"][0]["function"]["arguments"]) == after
    said = json.loads(result["content"])
    assert said["booked"] == json.loads(said["log"]) == after


def test_every_text_of_the_run_is_searched_but_ids_stay(tmp_path: Path):
    frame = run(
        json.dumps({"name": "Zoë Müller"}), request="I am\nZoë Müller", feedback_comment="Zoë Müller was angry",
        metadata=json.dumps({"user": "Zoë Müller"}), signals=json.dumps([{"name": "feedback", "explanation": "Zoë Müller again"}]),
        expected_actions=json.dumps([{"name": "book", "arguments": {"name": "Zoë Müller"}}]), conversation_id="of Zoë Müller",
    )  # fmt: skip
    vault = Vault(tmp_path / "vault")
    row = redact_frame(frame, policy_of([tool(name=NAME)], kinds=()), vault).row(0, named=True)
    [original] = vault.originals("ref")
    assert row["request"] == f"I am\n{original.surrogate}"
    assert row["feedback_comment"] == f"{original.surrogate} was angry"
    assert json.loads(row["metadata"]) == {"user": original.surrogate}
    assert json.loads(row["signals"]) == [{"name": "feedback", "explanation": f"{original.surrogate} again"}]
    assert json.loads(row["expected_actions"]) == [{"name": "book", "arguments": {"name": original.surrogate}}]
    assert row["conversation_id"] == "of Zoë Müller", (
        "another run of the conversation, without the call, has to find this one"
    )


def test_blanks_and_punctuation_are_no_values(tmp_path: Path):
    frame = run(json.dumps({"name": "  "}, indent=2))
    done = redact_frame(frame, policy_of([tool(name=NAME)], kinds=()), Vault(tmp_path / "vault"))
    assert json.loads(done["messages"][0]) == json.loads(frame["messages"][0]) and done["redactions"][0] == "{}"
