"""Response schemas of a pack: declared with a condition, loaded in order, refused with file and remedy."""

import json
import shutil
from pathlib import Path

import pytest

from flywheel.errors import FlywheelError
from flywheel.workflows.loader import load_pack
from flywheel_tests.conftest import SUPPORT_DESK

SCHEMA = {"type": "object", "properties": {"topic": {"type": "string"}}, "required": ["topic"]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = Path(shutil.copytree(SUPPORT_DESK, tmp_path / "desk"))
    (made / "responses").mkdir()
    return made


def declare(folder: Path, entries: list[dict], **schemas: object) -> None:
    with (folder / "workflow.yaml").open("a") as file:
        file.write(f"\nresponses: {json.dumps(entries)}\n")
    for name, schema in schemas.items():
        (folder / "responses" / f"{name}.json").write_text(schema if isinstance(schema, str) else json.dumps(schema))


def test_a_pack_says_which_answers_must_have_which_schema(folder: Path):
    plain = load_pack(SUPPORT_DESK)
    declare(
        folder,
        [{"name": "ticket", "after_tools": ["create_ticket"]}, {"name": "rest"}],
        ticket=SCHEMA,
        rest={"type": "object"},
    )
    pack = load_pack(folder)
    assert [(one.name, one.after_tools) for one in pack.responses] == [("ticket", ("create_ticket",)), ("rest", ())]
    assert (
        pack.response("ticket") is pack.responses[0]
        and pack.responses[0].schema == SCHEMA
        and pack.response("x") is None
    )
    assert plain.responses == () and plain.contract_sha256 == plain.tools_sha256 == pack.tools_sha256
    assert pack.contract_sha256 != pack.tools_sha256, "what cases are held against has changed"


@pytest.mark.parametrize(
    ("entries", "schemas", "said"),
    [
        ([{"name": "ticket"}], {}, "no responses/ticket.json"),
        ([{"name": "ticket"}], {"ticket": "{"}, r"not valid JSON.*ticket.json:1"),
        ([{"name": "ticket"}], {"ticket": []}, "a response schema must be a JSON Schema"),
        ([{"name": "ticket"}], {"ticket": {"type": "array"}}, '"type": "object"'),
        ([{"name": "ticket"}], {"ticket": {"type": "object", "properties": {"a": {"type": "text"}}}}, "invalid JSON Schema"),
        ([{"name": "ticket"}] * 2, {"ticket": SCHEMA}, "listed twice"),
        ([{"name": "ticket"}, {"name": "rest"}], {"ticket": SCHEMA, "rest": SCHEMA}, "rest never applies"),
        ([{"name": "ticket", "after_tools": ["make_ticket"]}], {"ticket": SCHEMA}, "'make_ticket', which is no tool"),
        ([], {"ticket": SCHEMA}, "does not say when ticket applies"),
        ([{"name": "../x"}], {}, "responses.0.name"),
        ([{"name": "ticket", "before": 1}], {"ticket": SCHEMA}, "responses.0.before"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_with_its_place(folder: Path, entries: list, schemas: dict, said: str):
    declare(folder, entries, **schemas)
    with pytest.raises(FlywheelError, match=f"(?s){said}") as refused:
        load_pack(folder)
    assert refused.value.remedy and refused.value.where
