"""Personal fields: by name, by value, nested, and not everything that is called a name."""

import json
from pathlib import Path

from flywheel.operations.pack_draft.evidence import Evidence
from flywheel.operations.pack_draft.personal import draft_personal
from flywheel.operations.pack_draft.tools import schema_of
from flywheel_tests.operations.pack_draft.logs import run, sampled, tool

CALLS = [
    {"firstName": "Mia", "contact": f"mia{n}@shop.example.com", "product_name": "Lamp", "user_id": f"mia_li_{n}", "name": "Mia Li",
     "note": "late", "patient_id": str(n), "people": [{"dob": "1990-04-05", "seat": "12A"}], "city": "Rome"}
    for n in range(6)
]  # fmt: skip


def test_fields_are_marked_by_name_and_by_value_and_no_value_is_quoted(tmp_path: Path):
    tools = {"book": tool("book", schema_of(CALLS))}
    evidence = Evidence(sampled(tmp_path, [run(n, [("book", one, "ok")]) for n, one in enumerate(CALLS)]).runs)
    guesses = draft_personal(evidence, tools)
    assert {guess.id: guess.value for guess in guesses} == {
        "book.firstName.x-pii": "person_name",
        "book.contact.x-pii": "email",
        "book.user_id.x-pii": "person_id",
        "book.name.x-pii": "person_name",
        "book.people.*.dob.x-pii": "date",
    }
    properties = tools["book"]["function"]["parameters"]["properties"]
    assert properties["people"]["items"]["properties"]["dob"]["x-pii"] == "date"
    assert "x-pii" not in properties["patient_id"]  # '3' as an id would be replaced in every sentence
    assert "Mia" not in json.dumps([guess.because for guess in guesses])


def test_what_a_tool_declares_is_left_alone(tmp_path: Path):
    schema = {"type": "object", "properties": {"email": {"type": "string", "x-pii": "free_text"}}}
    tools = {"book": tool("book", schema)}
    assert (
        draft_personal(
            Evidence(sampled(tmp_path, [run(1, [("book", {"email": "a@b.example.com"}, "ok")])]).runs), tools
        )
        == []
    )
