"""`flywheel audit` of hand-offs and jobs elsewhere: letters and statements proved by their signatures, questions, and who took in what."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flywheel.cli import app
from flywheel.corrections.handoff.verify.batch import load_batch
from flywheel.corrections.handoff.verify.command import seal
from flywheel.errors import FlywheelError
from flywheel.operations.act_log import account
from flywheel.operations.audit_log import audit_log
from flywheel.settings import Settings
from flywheel.workflows.pack import Pack
from flywheel_tests.conftest import SUPPORT_DESK
from flywheel_tests.corrections.handoff.house import WEEK, WORKFLOW, House, build, correction, items, part

QUESTION = {"schema_version": "question/1", "question_id": "a" * 16, "item_id": "item00", "actor_ref": "ann",
            "asked_at": "2099-01-07T08:00:00+00:00", "text": "Is slow too_slow?"}  # fmt: skip


def flywheel(home: Path, *arguments: str) -> str:
    done = CliRunner().invoke(app, [*arguments], env={"FLYWHEEL_HOME": str(home)})
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.output


@pytest.fixture(scope="module")
def talked(tmp_path_factory: pytest.TempPathFactory, pack: Pack) -> Path:
    """A house that handed a batch out, was asked, answered, amended, called an item back, and took a return in."""
    home = tmp_path_factory.mktemp("talked")
    shutil.copytree(SUPPORT_DESK, home / "workflows" / WORKFLOW)
    house: House = build(home, pack, 3)
    folder = part(house, [correction(items(house)[0])])
    (folder / "questions.jsonl").write_text(json.dumps(QUESTION) + "\n")
    seal(folder, load_batch(house.folder), 1, False)
    for _ in range(2):  # the second time changes nothing
        flywheel(home, "batch", "import", str(house.returns), "--batch", str(house.folder), "--by", "Ida")
    flywheel(home, "batch", "answer", WORKFLOW, WEEK, "aaaa", "Yes, it is.", "--by", "lea")
    (home / "amendment.md").write_text("From now on\nask before you cancel.")
    flywheel(home, "batch", "amend", WORKFLOW, WEEK, str(home / "amendment.md"), "--by", "max")
    flywheel(home, "batch", "recall", WORKFLOW, WEEK, "item02", "--reason", "erasure", "--by", "lea")
    return home


@pytest.fixture
def copy(talked: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A copy of the house, and the one file in it of a name."""
    shutil.copytree(talked, tmp_path, dirs_exist_ok=True)
    return lambda name: next(path for path in tmp_path.rglob(name) if "qa" in path.parts or path.parent == tmp_path)


def test_what_was_said_to_a_partner_is_listed_with_who_when_and_what(talked: Path):
    found = audit_log(Settings(home=talked))
    told = [
        (one.act, one.by, one.what, one.reason, one.recorded_in) for one in found.acts if one.act not in ("export",)
    ]
    where = f"batch of week {WEEK}"
    statement = next(one for one in told if one[0] == "statement")
    assert statement[:2] == ("statement", "Ida") and statement[4] == "qa/handoff, signed"
    assert statement[2].startswith(f"statement 1 to acme, {where}: 1 of 3 items accepted, 1 billable, ")
    told.remove(statement)
    assert told == [
        ("answer", "lea", f"letter 1, {where}: answers question {'a' * 16} about item item00", "Yes, it is.", "qa/handoff, signed"),
        ("amend", "max", f"letter 2, {where}: amendment-1 of the guidelines", "From now on ask before you cancel.", "qa/handoff, signed"),
        ("recall", "lea", f"letter 3, {where}: calls 1 items back: item02", "erasure", "qa/handoff, signed"),
        ("question", "acme/ann", f"question {'a' * 16} about item item00, {where}", "Is slow too_slow?", "qa/handoff, not signed"),
    ]  # fmt: skip
    assert {one.workflow for one in found.acts} == {WORKFLOW} and not found.unrecorded
    assert "3 letters and 1 statements to partners: the signatures hold" in found.chains
    assert "1 acts of acts.jsonl: the chain holds" in found.chains
    printed = flywheel(talked, "audit", "--act", "recall")
    assert "by lea: erasure  [qa/handoff, signed]" in printed and printed.count(" UTC ") == 1


@pytest.mark.parametrize(
    ("name", "before", "after", "said"),
    [
        ("letter-003.json", b"item02", b"item01", "a letter was changed: V02"),
        ("statement-001.json", b'"items": 3', b'"items": 2', "a statement was changed or taken away"),
        ("acts.jsonl", b"Ida", b"Eve", "the log of acts was changed after it was written"),
        ("questions.jsonl", b"}", b"", "a question of a partner cannot be read"),
    ],
)
def test_a_record_that_was_bent_ends_the_command_with_its_place(
    copy: Callable[[str], Path], tmp_path: Path, name: str, before: bytes, after: bytes, said: str
):
    file = copy(name)
    whole = file.read_bytes()
    assert before in whole
    file.write_bytes(whole.replace(before, after))
    with pytest.raises(FlywheelError, match=said) as told:
        audit_log(Settings(home=tmp_path))
    assert told.value.where and told.value.remedy


def test_what_was_taken_away_is_named(copy: Callable[[str], Path], tmp_path: Path):
    copy("statement-001.json").unlink()
    (unrecorded,) = audit_log(Settings(home=tmp_path)).unrecorded
    assert unrecorded.startswith("statement 1 of batch") and "signed by Ida" in unrecorded
    copy("letter-001.json").unlink()
    with pytest.raises(FlywheelError, match="a letter was changed: V01"):
        audit_log(Settings(home=tmp_path))


def test_a_key_that_is_gone_is_not_made_anew_and_a_strange_folder_is_named(copy: Callable[[str], Path], tmp_path: Path):
    (copy("handoff") / "another").mkdir()
    assert "qa/handoff/another belongs to no batch" in audit_log(Settings(home=tmp_path)).unrecorded[0]
    key = copy("batch_signing_key.pem")
    key.unlink()
    with pytest.raises(FlywheelError, match="the key that signed them is gone"):
        audit_log(Settings(home=tmp_path))
    assert not key.exists()


def test_nothing_is_taken_in_that_cannot_be_recorded(copy: Callable[[str], Path], tmp_path: Path):
    copy("acts.jsonl").write_text("x\n")
    with pytest.raises(FlywheelError, match="the log of acts was changed"):
        flywheel(tmp_path, "batch", "import", str(tmp_path / "returns"), "--batch", str(tmp_path / "batch"))


def test_who_took_a_return_in_is_the_account_where_nobody_is_named(copy: Callable[[str], Path], tmp_path: Path):
    copy("acts.jsonl").unlink()
    (before,) = [one.by for one in audit_log(Settings(home=tmp_path)).acts if one.act == "statement"]
    flywheel(tmp_path, "batch", "import", str(tmp_path / "returns"), "--batch", str(tmp_path / "batch"))
    after = [one.by for one in audit_log(Settings(home=tmp_path)).acts if one.act == "statement"]
    assert before == "not recorded" and after == ["not recorded", account()], "the recall made another statement"
