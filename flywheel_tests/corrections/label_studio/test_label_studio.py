"""Label Studio files: what a project holds, and the export of a real server (1.23.2) read back into the store."""

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flywheel.cli import app
from flywheel.corrections.handoff.importing import handed_out, import_return
from flywheel.corrections.handoff.verify.answers import Response
from flywheel.corrections.handoff.verify.batch import Batch
from flywheel.corrections.label_studio import projects
from flywheel.corrections.label_studio.answers import read_exports, write_part
from flywheel.corrections.label_studio.form import Unfit, fields_of, text_of, value_of
from flywheel.corrections.label_studio.projects import write_projects
from flywheel.errors import FlywheelError
from flywheel.toolcalls.arguments import canonical_json
from flywheel.workflows.pack import Pack
from flywheel_tests.corrections.handoff.house import BATCH, House, build, call, rows, run

EXPORT = Path(__file__).parent / "export_1_23_2.json"
SYSTEM = {"role": "system", "content": "You help."}


def refund(number: int, arguments: dict[str, Any]) -> list[dict[str, Any]]:
    said = f"Order A{number} came broken <script>alert(1)</script> \u202eevil, I want 12.5 back."
    return [SYSTEM, {"role": "user", "content": said}, call("refund_order", arguments),
            {"role": "tool", "tool_call_id": "call_0", "content": '{"error":"BAD"}'}, {"role": "assistant", "content": "Done."}]  # fmt: skip


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, pack: Pack) -> House:
    return _house(tmp_path_factory.mktemp("shared"), pack)


@pytest.fixture
def house(tmp_path: Path, pack: Pack) -> House:
    return _house(tmp_path, pack)


def _house(tmp_path: Path, pack: Pack) -> House:
    """The batch that was in the real server: four tools and clusters."""
    table = rows(pack, 8)
    for number, cluster, messages in (
        (4, "refund_order / wrong_arguments / amount", refund(4, {"order_id": "A4", "reason": "damaged", "amount": "12,5"})),
        (5, "refund_order / wrong_arguments / amount", refund(5, {"order_id": "A5", "reason": "late", "amount": 3})),
        (6, "update_address / schema_violation / type", [SYSTEM, {"role": "user", "content": "Send A6 to Main 1, Rome, 00100."},
                                                         call("update_address", {"order_id": "A6", "address": "Main 1 Rome"})]),
        (7, "(reply) / missing_call", [SYSTEM, {"role": "user", "content": "Where is order A7?"},
                                       {"role": "assistant", "content": "It is on its way."}]),
    ):  # fmt: skip
        table[number] |= {"failure_cluster": cluster, "messages": canonical_json(messages)}
    return build(tmp_path, pack, table=table)


def export(house: House, batch: Batch, change: Any = None) -> Path:
    """The real export with this batch's hash in it."""
    tasks = json.loads(EXPORT.read_text())
    made = batch.manifest["created_at"].replace("2026", "2027", 1)
    for task in tasks:
        task["data"]["batch_sha256"] = batch.sha256
        for annotation in task["annotations"]:
            annotation["created_at"] = made
            if change:
                change(task["data"]["item_id"], annotation)
    file = house.returns / "export.json"
    file.write_text(json.dumps(tasks))
    return file


def test_one_project_a_tool_and_cluster_filled_with_what_the_model_did(house: House, tmp_path: Path):
    made = write_projects(handed_out(house.folder), tmp_path / "projects")
    assert [(folder.name, tasks) for folder, tasks in made] == [
        ("01-cancel-order", 4), ("02-refund-order", 2), ("03-update-address", 1), ("04-reply", 1),
    ]  # fmt: skip
    form = ElementTree.parse(made[1][0] / "config.xml").getroot()
    assert [area.get("name") for area in form.iter("TextArea")] == [
        "arg_0",
        "arg_1",
        "arg_2",
        "other_arguments",
        "reply",
        "rationale",
    ]
    tools = next(choices for choices in form.iter("Choices") if choices.get("name") == "tool")
    assert [(one.get("value"), one.get("hotkey")) for one in tools][4] == ("refund_order", "5")
    (first, _) = json.loads((made[1][0] / "tasks.json").read_text())
    filled = {one["from_name"]: one["value"] for one in first["predictions"][0]["result"]}
    assert filled["arg_0"] == {"text": ["A4"]} and filled["arg_2"] == {"text": ["12,5"]}
    assert "\u202e" not in first["data"]["dialogue"][1]["text"] and "\\u202e" in first["data"]["dialogue"][1]["text"]
    reply = json.loads((made[3][0] / "tasks.json").read_text())[0]["predictions"][0]["result"]
    assert reply[1]["value"] == {"text": ["It is on its way."]}
    with pytest.raises(FlywheelError, match="holds something else"):
        write_projects(handed_out(house.folder), tmp_path / "projects")


def test_a_task_says_what_a_reply_at_its_step_has_to_be(shared: House):
    schema = {
        "type": "object",
        "required": ["state"],
        "properties": {"state": {"enum": ["open", "shipped"]}, "note": {"type": "string"}},
    }
    plain = handed_out(shared.folder)
    item = plain.items["item07"]
    assert "reply_schema" not in projects.task(item, plain)["data"] and "reply_schema" not in projects.config(item)
    always, later = (
        plain._replace(responses=(Response("status", schema, after, ""),)) for after in ((), ("get_order",))
    )
    said = projects.task(item, always)["data"]["reply_schema"]
    assert said.startswith(
        "A reply here is one JSON object, status, and nothing around it. state: one of open, shipped; note: text, may"
    )
    assert json.loads(said.partition("\n")[2]) == schema
    assert projects.task(item, later)["data"]["reply_schema"] == "A reply here is words."
    form = ElementTree.fromstring(projects.config(item, structured=True))
    assert [text.get("value") for text in form.iter("Text")] == ["$step", "$reply_schema"]


def test_a_real_export_becomes_corrections_with_typed_arguments(house: House):
    batch = handed_out(house.folder)
    answers = read_exports([export(house, batch)], batch)
    assert answers.unanswered == 1 and [one["item_id"] for one in answers.unfixable] == ["item02"]
    assert [(one["item_id"], one["path"], one["got"], one["expected"]) for one in answers.refused] == [
        ("item05", "amount", "twelve", "a number")
    ]
    folder = write_part(answers, batch, house.returns / "part-001", number=1)
    done = import_return(house.store, house.lake, batch, folder)
    assert done.verdict.report["verdict"] == "accepted" and len(done.submitted) == 6
    states = house.store.states(BATCH)
    assert {states[item].status for item in done.submitted} == {"auto_checked"}, "pass 1 only"
    assert states["item04"].annotator == "acme/ls-1"
    written = {item: (states[item].proposal or {}).get("messages", [{}])[-1] for item in done.submitted}
    assert json.loads(written["item04"]["tool_calls"][0]["function"]["arguments"])["amount"] == 12.5
    assert json.loads(written["item06"]["tool_calls"][0]["function"]["arguments"])["address"]["zip"] == "00100"
    assert written["item07"]["tool_calls"][0]["function"]["name"] == "get_order"
    events = house.store.verify_chain()
    write_part(read_exports([export(house, batch)], batch), batch, house.returns / "part-001", number=1)
    assert (
        len(import_return(house.store, house.lake, batch, folder).unchanged) == 6
        and house.store.verify_chain() == events
    )


def _set(annotation: dict[str, Any], control: str, *texts: str) -> None:
    kept = [one for one in annotation["result"] if one["from_name"] != control]
    annotation["result"] = [
        *kept,
        {"from_name": control, "to_name": "run", "type": "textarea", "value": {"text": list(texts)}},
    ]


def _choose(annotation: dict[str, Any], control: str, value: str) -> None:
    kept = [one for one in annotation["result"] if one["from_name"] != control]
    annotation["result"] = [*kept, {"from_name": control, "type": "choices", "value": {"choices": [value]}}]


@pytest.mark.parametrize(
    ("item", "change", "said"),
    [
        ("item00", lambda one: _set(one, "arg_1", "slowly"), ("reason", "slowly")),
        ("item00", lambda one: _set(one, "arg_1", "too_slow", "other"), ("arg_1", "too_slow | other")),
        ("item00", lambda one: _choose(one, "tool", "get_weather"), ("tool", "get_weather")),
        ("item00", lambda one: _choose(one, "tool", "(reply)"), ("reply", "")),
        ("item07", lambda one: _set(one, "other_arguments", "{'a': 1}"), ("other_arguments", "{'a': 1}")),
        ("item07", lambda one: _set(one, "other_arguments", "[1]"), ("other_arguments", "[1]")),
    ],
)
def test_what_does_not_fit_is_refused_by_item(shared: House, item: str, change: Any, said: tuple[str, str]):
    batch = handed_out(shared.folder)
    answers = read_exports([export(shared, batch, lambda name, one: change(one) if name == item else None)], batch)
    (found,) = [one for one in answers.refused if one["item_id"] == item]
    assert (found["rule_id"], found["path"], found["got"]) == ("V22", *said) and found["fix_hint"]


def test_an_empty_field_is_no_argument_and_a_cancelled_annotation_no_answer(house: House):
    batch = handed_out(house.folder)

    def change(item: str, annotation: dict[str, Any]) -> None:
        if item == "item04":
            _set(annotation, "arg_2", "")
        annotation["was_cancelled"] = item == "item00"
        annotation["completed_by"] = {"email": "jo@mail.org"} if item == "item07" else 1
        annotation["result"] += [{"type": "relation", "from_id": "a"}, None]

    answers = read_exports([export(house, batch, change)], batch)
    (row,) = [one for one in answers.corrections if one["item_id"] == "item04"]
    assert "amount" not in row["resulting_messages"][-1]["tool_calls"][0]["function"]["arguments"]
    assert answers.unanswered == 2
    (other,) = [one["actor_ref"] for one in answers.corrections if one["item_id"] == "item07"]
    assert other.startswith("ls-") and "mail" not in other


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[{"id": 1}]', "[" * 100_000])
def test_another_format_is_told(shared: House, text: str):
    file = shared.returns / "export.json"
    file.write_text(text)
    with pytest.raises(FlywheelError, match="JSON|export"):
        read_exports([file], handed_out(shared.folder))
    file.write_text(EXPORT.read_text())
    with pytest.raises(FlywheelError, match="a task of another batch"):
        read_exports([file], handed_out(shared.folder))


ROOT = {"type": "object", "properties": {"a": {"$ref": "#/$defs/size"}, "b": {"anyOf": [{"$ref": "#/$defs/size"}, {"type": "null"}]}},
        "$defs": {"size": {"type": "integer"}}, "required": ["a"]}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "schema", "value"),
    [
        ("12", {"type": "integer"}, 12), (" -3 ", {"type": "integer"}, -3), ("12.0", {"type": "integer"}, Unfit), ("1e3", {"type": "number"}, 1000.0),
        ("012", {"type": "integer"}, Unfit), ("True", {"type": "boolean"}, True), ("yes", {"type": "boolean"}, Unfit), ("null", {"type": ["string", "null"]}, None),
        ("12", {"type": ["string", "integer"]}, "12"), (" a ", {"type": "string"}, " a "), ("[1]", {"type": "array"}, [1]), ("[1", {"type": "array"}, Unfit),
        ("1", {"enum": [1, "1"]}, 1), ("b", {"enum": ["a"]}, Unfit), ('{"a": 1}', {}, {"a": 1}), ("a b", {}, "a b"), ("NaN", {"type": "number"}, Unfit),
        ("7", fields_of(ROOT)[0].schema, 7), ("null", fields_of(ROOT)[1].schema, None), ("x", fields_of(ROOT)[1].schema, Unfit),
    ],
)  # fmt: skip
def test_texts_become_values_by_the_types_of_the_schema(text: str, schema: dict, value: Any):
    if value is Unfit:
        with pytest.raises(Unfit):
            value_of(text, schema)
    else:
        found = value_of(text, schema)
        assert found == value and type(found) is type(value)


@pytest.mark.parametrize("before", [12, "12", 1.5, True, {"a": [1]}, "a\nb", None, "null"])
def test_an_untouched_text_gives_the_value_it_was_made_from(before: Any):
    assert (
        value_of(text_of(before), {"type": ["string", "integer", "number", "boolean", "object", "null"]}, before)
        == before
        or before == "null"
    )


def test_the_batch_is_the_one_of_the_recorded_export():
    assert {task["data"]["item_id"] for task in json.loads(EXPORT.read_text())} == {
        f"item{number:02d}" for number in range(8)
    }
    assert len(run(0)) == 5


def test_the_commands(tmp_path: Path, house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FLYWHEEL_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    batch = ["--batch", str(house.folder)]
    made = CliRunner().invoke(
        app, ["batch", "label-studio", "export", str(house.folder), "--out", str(tmp_path / "projects")]
    )
    assert made.exit_code == 0 and "02-refund-order: 2 tasks" in made.output, made.output
    file = export(house, handed_out(house.folder))
    read = CliRunner().invoke(
        app, ["batch", "label-studio", "import", str(file), *batch, "--part", str(house.returns / "part-001")]
    )
    assert read.exit_code == 0, read.output
    assert (
        "refused: item item05, amount: got twelve, expected a number" in read.output and "6 answers new" in read.output
    )
