"""What is said after a batch went out: questions, answers, amendments and recalls travel with it, and an import states what is billable."""

import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner

from flywheel.cli import app
from flywheel.corrections.handoff.letters import Correspondence
from flywheel.corrections.handoff.recall import recalls
from flywheel.corrections.handoff.verify import correction, ed25519
from flywheel.corrections.handoff.verify.batch import load_batch
from flywheel.corrections.handoff.verify.command import seal, verify_folder
from flywheel.corrections.partner.opened import open_batch
from flywheel.errors import FlywheelError
from flywheel.workflows.pack import Pack
from flywheel_tests.conftest import SUPPORT_DESK
from flywheel_tests.corrections.handoff.house import BATCH, WEEK, WORKFLOW, House, build, copied, part
from flywheel_tests.corrections.partner.bench import accept, correct, hand_back, visitors


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, pack: Pack) -> House:
    return build(tmp_path_factory.mktemp("built"), pack, 4)


@pytest.fixture
def house(tmp_path: Path, built: House, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setattr(correction, "SHORTEST", timedelta(0))  # nobody here takes five seconds
    monkeypatch.setenv("FLYWHEEL_HOME", str(tmp_path))
    shutil.copytree(SUPPORT_DESK, tmp_path / "workflows" / WORKFLOW)
    return copied(built, tmp_path)


def flywheel(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["batch", *arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return done.output


def written(house: House, number: int) -> dict[str, Any]:
    """The statement beside the return, its signature proved."""
    text = (house.folder.parent / "batch-work" / "returns" / "statement.json").read_bytes()
    key = ed25519.public_key((house.folder / "public_key.pem").read_bytes())
    signature = (house.folder.parent / "batch-work" / "returns" / "statement.json.sig").read_bytes()
    assert key and ed25519.verify(key, text, signature)
    statement = json.loads(text)
    assert statement["number"] == number
    return statement


def test_questions_amendments_recalls_and_what_is_billable(house: House, tmp_path: Path):
    opened = open_batch(house.folder)
    returns, batch = str(opened.returns), str(house.folder)
    ann, rob = visitors(opened, "ann", "rob")
    first = ann.take()
    assert (
        ann.http.post("/questions", data={"csrf": ann.csrf, "item": first, "text": "Is slow too_slow?"}).status_code
        == 303
    )
    assert ann.http.post("/questions", data={"csrf": ann.csrf, "text": ""}).status_code == 422
    assert ann.http.post("/questions", data={"csrf": ann.csrf, "text": "Ask a.person@gmail.com?"}).status_code == 422
    assert correct(ann) == first and "Is slow too_slow?" in ann.http.get("/questions").text
    second = correct(ann)
    accept(rob)
    accept(rob)
    assert "2 corrections, 0 that cannot be fixed, 2 decisions, 1 questions" in hand_back(rob).text

    told = flywheel("import", returns, "--batch", batch)
    assert (
        "1 new questions" in told
        and "accepted 2 of 4 items" in told
        and "billable 2 items" in told
        and "at 95 an hour" in told
    )
    assert written(house, 1)["accepted"]["item_ids"] == [first, second]
    flywheel("import", returns, "--batch", batch)
    assert written(house, 1)["rejected"] == [], "the same return has the same statement"
    asked = flywheel("questions", WORKFLOW, WEEK)
    assert "OPEN" in asked and "acme/ann" in asked and "Is slow too_slow?" in asked
    with pytest.raises(FlywheelError, match="nobody asked"):
        flywheel("answer", WORKFLOW, WEEK, "ffff", "No.", "--by", "lea")
    flywheel("answer", WORKFLOW, WEEK, asked.split()[0], "Yes, it is.", "--by", "lea", "--batch", batch)
    assert "answered" in flywheel("questions", WORKFLOW, WEEK)
    (tmp_path / "amendment.md").write_text("From now on ask before you cancel.")
    assert "amendment-1" in flywheel(
        "amend", WORKFLOW, WEEK, str(tmp_path / "amendment.md"), "--by", "lea", "--batch", batch
    )
    told = flywheel(
        "recall", WORKFLOW, WEEK, second, "item02", "--reason", "poisoning", "--by", "lea", "--batch", batch
    )
    assert "calls 2 items back" in told and "1 of them were accepted before" in told
    assert house.store.state(second, BATCH).status == "withdrawn"
    with pytest.raises(FlywheelError, match="no item ghost"):
        flywheel("recall", WORKFLOW, WEEK, "ghost", "--reason", "mistake", "--by", "lea")

    opened = open_batch(house.folder)
    ann, rob = visitors(opened, "ann", "rob")
    page = ann.http.get("/questions").text
    assert "Yes, it is." in page and "ask before you cancel" in page and "item02" in page
    assert "ask before you cancel" in ann.http.get("/").text, "the guidelines are shown as amended"
    assert ann.http.get("/annotate/item02/text?message=1").status_code == 404
    assert correct(ann) == "item03" and ann.take() == "", "what was called back is offered to nobody"
    accept(rob)
    assert "part-002: 1 corrections" in (page := hand_back(rob).text) and "nothing is missing now" in page
    row = json.loads((opened.returns / "part-002" / "corrections.jsonl").read_text())
    assert row["guideline_version"] == "amendment-1"
    told = flywheel("import", returns, "--batch", batch, code=1)
    statement = written(house, 2)
    assert (
        statement["accepted"]["item_ids"] == [first, "item03"] and statement["recalled"] == 2 and statement["open"] == 0
    )
    assert [(one["item_id"], one["rules"], one["billable"]) for one in statement["rejected"]] == [
        (second, ["V23"], True)
    ]
    assert statement["billable"]["items"] == 3 and f"item {second}: V23" in told


def test_a_letter_that_was_changed_left_out_or_is_anothers_stops_the_batch(house: House, tmp_path: Path):
    opened = open_batch(house.folder)
    (ann,) = visitors(opened, "ann")
    item = correct(ann)
    flywheel("recall", WORKFLOW, WEEK, "item02", "--reason", "mistake", "--by", "lea", "--batch", str(house.folder))
    flywheel("recall", WORKFLOW, WEEK, "item03", "--reason", "mistake", "--by", "lea", "--batch", str(house.folder))
    assert set(load_batch(house.folder).letters.recalled) == {"item02", "item03"}
    folder, whole = house.folder / "letters", shutil.copytree(house.folder / "letters", tmp_path / "whole")

    def refused(rule: str) -> None:
        with pytest.raises(FlywheelError, match=rule):
            open_batch(house.folder)
        shutil.rmtree(folder)
        shutil.copytree(whole, folder)

    (folder / "letter-001.json").write_bytes((folder / "letter-001.json").read_bytes().replace(b"item02", b"item01"))
    refused("V02")
    (folder / "letter-001.json").unlink()
    refused("V01")
    (folder / "letter-002.json.sig").unlink()
    refused("V01")
    other = Correspondence(tmp_path / "other", BATCH, Ed25519PrivateKey.generate())
    other.recall([item], "mistake", by="mallory")
    shutil.copytree(tmp_path / "other" / "letters", folder, dirs_exist_ok=True)
    refused("V02")
    with pytest.raises(FlywheelError, match="no folder of batch"):
        other.deliver(tmp_path)
    assert open_batch(house.folder).store.state(item, BATCH).status == "auto_checked", "nothing that was done is lost"


def test_the_beginning_of_two_questions_answers_neither(tmp_path: Path):
    desk = Correspondence(tmp_path, BATCH, Ed25519PrivateKey.generate())
    ids = ("a1" + "0" * 14, "a2" + "0" * 14)
    desk.take([{"question_id": one, "item_id": None, "text": f"May I\u2028{one}?"} for one in ids], "acme")
    with pytest.raises(FlywheelError, match="'a' is the beginning of 2 questions: a10.*, a20"):
        desk.answer("a", "Yes.", by="Dana")
    assert not desk.letters().all, "a signed letter cannot be taken back"
    assert desk.answer("a2", "Yes.", by="Dana") == 1 and desk.letters().answers[0]["question_id"] == ids[1]


def test_a_question_with_personal_data_is_not_taken_and_refuses_nothing(house: House):
    row = {"schema_version": "question/1", "question_id": "0" * 16, "item_id": None, "actor_ref": "ann", "asked_at": "2099-01-01T00:00:00+00:00"}  # fmt: skip
    folder = part(house, [])
    texts = ("May I?", "Ask a.person@gmail.com", "")
    (folder / "questions.jsonl").write_text("".join(json.dumps({**row, "text": text}) + "\n" for text in texts))
    handed = load_batch(house.folder)
    seal(folder, handed, 1, False)
    verdict = verify_folder(folder, handed)
    assert [one["text"] for one in verdict.questions] == ["May I?"]
    found = sorted((one["rule_id"], one["class"]) for one in verdict.report["findings"])
    assert found == [("V09", "minor"), ("V15", "major")]
    assert "a.person" not in json.dumps(verdict.report)


def test_what_an_erasure_names_can_be_called_back_planted_items_too(house: House):
    payload = {"kind": "overlap", "source": "item01", "item": {}, "expected": None, "barred": []}
    house.store.plant(BATCH, "twin", 0.5, payload)
    (called_back,) = recalls(house.store, ["item01"])
    house.store.erase_items(["item01"])
    told = flywheel("recall", WORKFLOW, WEEK, *called_back.item_ids, "--reason", "erasure", "--by", "lea")
    assert called_back.item_ids == ["item01", "twin"] and "calls 2 items back" in told
