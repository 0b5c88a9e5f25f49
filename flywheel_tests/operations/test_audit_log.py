"""`flywheel audit`: every act with authority is found where it was recorded, with who, when and why; and no record can be bent."""

import json
import sqlite3
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flywheel.cli import app
from flywheel.corrections.events import EventStore
from flywheel.corrections.workbench.people import People
from flywheel.datasets.withdrawals import withdraw
from flywheel.errors import FlywheelError
from flywheel.operations.act_log import account
from flywheel.operations.audit_log import audit_log
from flywheel.operations.erase import erase
from flywheel.privacy.vault import Vault
from flywheel.settings import Settings
from flywheel_tests.promotion.house import WEEKS, blank, decide, make_adapter, make_house

PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A house in which each kind of act was done once, by Dana unless said otherwise; the tests only read it."""
    acts = make_house(tmp_path_factory.mktemp("audited") / "home")
    first, second = make_adapter(acts.settings, 1), make_adapter(acts.settings, 2)
    decide(acts, WEEKS[0], first, verdict="REJECT")
    decide(acts, WEEKS[1], second)
    acts.approve(WEEKS[1], by="Dana", reason="looked at it")
    acts.roll_back(by="Eve", reason="refunds fail", override=True)
    acts.override(first, by="Dana", reason="the shop's fault")
    people = People(acts.settings.home / "qa" / "people.json")
    people.add("ann", ["annotator"], PASSWORD, by="Dana", reason="new in the team")
    people.add("ann", ["annotator", "lead"], PASSWORD, by="Dana")
    people.remove("ann", by="Eve", reason="left")
    store = EventStore(acts.settings.qa_store("door"), workflow="door")
    batch = store.open_batch(week=WEEKS[0], workflow="door", version="v1", item_ids=["i1"], qa_mode="three")
    store.export_batch(batch, "f" * 64)
    store.close_batch(batch, reason="enough", by="Dana")
    step = blank("training_steps", row_id="x1", annotator="ann")
    acts.lake.replace_partition("training_steps", [step], workflow="door", week=WEEKS[0])
    withdraw(acts.lake, "door", "annotator", "ann", by="Dana", reason="left")
    erase(acts.settings, "a-person-77", reason="they asked", by="Dana")
    return acts.settings


def test_every_act_is_there_with_who_when_and_why(settings: Settings):
    found = audit_log(settings)
    told = {(one.act, one.by, one.reason) for one in found.acts}
    assert told >= {
        ("promote", "Dana", "looked at it"), ("rollback", "Eve", "refunds fail"), ("override", "Dana", "the shop's fault"),
        ("erase", "Dana", "they asked"), ("role", "Dana", "new in the team"), ("role", "Eve", "left"), ("close", "Dana", "enough"),
        ("export", "system", "f" * 64), ("withdraw", "Dana", "left"),
    }  # fmt: skip
    assert [one.at for one in found.acts] == sorted(one.at for one in found.acts)
    roles = [one.what for one in found.acts if one.act == "role"]
    assert roles == [
        "ann: nobody -> annotator",
        "ann: annotator -> annotator, lead",
        "ann: removed, had annotator, lead",
    ]
    assert "a-person-77" not in str(found) and PASSWORD not in str(found)
    assert found.unrecorded == [] and found.chains == ["3 correction events: the chain holds", "3 role changes: the chain holds", "0 acts of acts.jsonl: the chain holds"]  # fmt: skip


def test_the_command_prints_and_filters(settings: Settings):
    def run(*words: str) -> str:
        done = CliRunner().invoke(app, ["audit", *words], env={"FLYWHEEL_HOME": str(settings.home)})
        assert done.exit_code == 0, done.exception
        return done.output

    whole = run()
    assert "by Eve: refunds fail  [promotion_log]" in whole and "by Dana: they asked  [vault]" in whole
    assert run("--act", "rollback").count(" UTC ") == 1
    assert " UTC " not in run("--since", "2999-01-01") and "door" not in run("--workflow", "support_desk")
    lines = [json.loads(line) for line in run("--json").splitlines()]
    assert {line["act"] for line in lines} >= {"promote", "rollback", "override", "erase", "role"}
    with pytest.raises(FlywheelError, match="no act"):
        raise CliRunner().invoke(app, ["audit", "--act", "delete"]).exception  # type: ignore[misc]


@pytest.fixture
def people(tmp_path: Path) -> People:
    """Ann came and left again."""
    made = People(tmp_path / "qa" / "people.json")
    made.add("ann", ["annotator"], PASSWORD, by="Dana", reason="new in the team")
    made.remove("ann", by="Eve", reason="left")
    return made


def test_a_line_of_the_role_log_that_was_changed_is_found(people: People, tmp_path: Path):
    file, settings = tmp_path / "qa" / "role_changes.jsonl", Settings(home=tmp_path)
    whole = file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for damage in (
        whole.replace("new in the team", "ordered by the boss"),
        "".join(whole.splitlines(True)[1:]),
        whole + "{}\n",
        whole + "x\n",
    ):
        file.write_text(damage)
        with pytest.raises(FlywheelError, match="changed after it was written"):
            audit_log(settings)
        with pytest.raises(FlywheelError, match="changed after it was written"):
            people.add("bob", ["lead"], PASSWORD, by="Dana")
    assert people.names() == {}, "nothing is changed that cannot be recorded"


def test_roles_given_by_hand_are_named(people: People, tmp_path: Path):
    people.add("bob", ["reviewer"], PASSWORD, by="Dana")
    file = tmp_path / "qa" / "people.json"
    file.write_text(file.read_text().replace('"reviewer"', '"lead"'))
    assert [one for one in audit_log(Settings(home=tmp_path)).unrecorded if one.startswith("bob has the roles lead")]


def test_tombstones_are_final_and_those_of_an_older_vault_stay(tmp_path: Path):
    folder = tmp_path / "vault"
    folder.mkdir()
    older = sqlite3.connect(folder / "vault.sqlite")
    older.execute("CREATE TABLE erasures (principal_ref TEXT PRIMARY KEY, at TEXT NOT NULL, reason TEXT NOT NULL, counts TEXT NOT NULL)")  # fmt: skip
    older.execute("INSERT INTO erasures VALUES ('p1', '2026-01-05T00:00:00+00:00', 'asked', '{}')")
    older.commit()
    older.close()
    vault = Vault(folder)
    vault.destroy("p1", at="2026-01-06T00:00:00+00:00", reason="again", counts="{}", by="Dana")
    assert [(one.principal_ref, one.reason, one.by) for one in vault.tombstones()] == [("p1", "asked", ""), ("p1", "again", "Dana")]  # fmt: skip
    assert vault.erased() == {"p1"}
    connection = sqlite3.connect(folder / "vault.sqlite")
    for statement in ("DELETE FROM erasures", "UPDATE erasures SET actor = 'Eve'"):
        with pytest.raises(sqlite3.IntegrityError, match="final"):
            connection.execute(statement)
    connection.close()


def test_without_a_name_the_account_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FLYWHEEL_HOME", str(tmp_path))
    done = CliRunner().invoke(app, ["workbench-users", "add", "ann", "--role", "lead"], input=PASSWORD + "\n")
    assert done.exit_code == 0
    assert [one.by for one in audit_log(Settings()).acts] == [account()]
