"""A batch goes out, a scripted partner makes every mistake the issue names, and both sides say the same about each."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flywheel.cli import app
from flywheel.corrections.handoff.importing import handed_out, import_return
from flywheel.corrections.handoff.verify.command import verify_folder
from flywheel.errors import FlywheelError
from flywheel.workflows.pack import Pack
from flywheel_tests.conftest import SUPPORT_DESK
from flywheel_tests.corrections.handoff.house import (
    BATCH,
    END,
    START,
    House,
    bare_path,
    batch_of,
    build,
    copied,
    correction,
    decision,
    hand_out,
    items,
    part,
    unfixable,
    with_arguments,
    zipapp,
)

PATCH = [{"op": "replace", "path": "/2/tool_calls/0/function/arguments", "value": '{"order_id": "A2", "reason": "too_slow"}'},
         {"op": "remove", "path": "/4"}, {"op": "remove", "path": "/3"}]  # fmt: skip


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, pack: Pack) -> House:
    return build(tmp_path_factory.mktemp("built"), pack)


@pytest.fixture
def house(tmp_path: Path, built: House) -> House:
    return copied(built, tmp_path)


def mistakes(house: House) -> Path:
    """A complete part: four right answers, a mistake on each of the others, one missing, one unfixable."""
    it = items(house)
    leaked = correction(it[4])
    leaked["resulting_messages"][4]["content"] = "Mail me at new.person@gmail.com."
    changed = correction(it[9])
    changed["resulting_messages"][1] = {"role": "user", "content": "Something else."}
    by_patch = correction(it[2], patch=PATCH, suffix_mode="truncated", trainable_indices=[2])
    del by_patch["resulting_messages"]
    lines = [correction(it[0]), correction(it[1]), by_patch, with_arguments(it[3], {"order_id": "A3", "reason": "tired"}), leaked,
             correction(it[5], guideline_version="0"), correction(it[6], submitted_at="2099-01-07T09:00:01+00:00", active_ms=900),
             correction(it[7], actor_ref="rob"), correction(it[8], base_sha256="0" * 64), changed, '{"item_id": "item10", '
             '"actor_ref": "=cmd()"}', correction(it[1] | {"item_id": "ghost"})]  # fmt: skip
    return part(house, lines, decisions=[decision(one["item_id"]) for one in it[:10]], complete=True)


EXPECTED = {"item03": "V07", "item04": "V09", "item05": "V11", "item06": "V12", "item07": "V10", "item08": "V05", "item09": "V14",
            "item10": "V15", "item11": "V04", "ghost": "V03"}  # fmt: skip


def test_both_sides_write_the_same_report_and_the_import_takes_the_rest(house: House, tmp_path: Path):
    mistakes(house)
    ended = zipapp(house, "returns", "--batch", "batch", "--out", str(tmp_path), site=bare_path(tmp_path / "site"))
    assert ended.returncode == 1, ended.stdout + ended.stderr
    partners = (tmp_path / "rejection.json").read_bytes()
    done = import_return(house.store, house.lake, handed_out(house.folder), house.returns)
    assert (house.returns / "rejection.json").read_bytes() == partners
    report = json.loads(partners)
    assert {one["item_id"]: one["rule_id"] for one in report["findings"] if one["item_id"]} == EXPECTED
    wrong = next(one for one in report["findings"] if one["rule_id"] == "V07")
    assert (wrong["got"], wrong["path"].split("/")[-1], wrong["class"]) == ("tired", "reason", "critical")
    assert "too_slow" in wrong["expected"] and wrong["billable"] is False and len(report["top_rules"]) == 5
    assert "new.person" not in partners.decode()
    assert report["verdict"] == "accepted_in_part" and report["accepted_items"] == ["item00", "item01", "item02"]
    assert sorted(done.submitted) == sorted(done.decided) == report["accepted_items"] and not done.not_taken
    states = house.store.states(BATCH)
    assert {key for key, state in states.items() if state.status == "accepted"} == set(report["accepted_items"])
    assert {state.status for key, state in states.items() if key not in report["accepted_items"]} == {"queued"}
    assert (states["item00"].annotator, states["item00"].reviewer) == ("acme/ann", "acme/rob")
    assert (states["item02"].proposal or {})["messages"][2]["tool_calls"][0]["function"]["arguments"].endswith(
        '"too_slow"}'
    )


def test_importing_again_changes_nothing_and_refused_items_come_again(house: House):
    mistakes(house)
    handed = handed_out(house.folder)
    import_return(house.store, house.lake, handed, house.returns)
    events = house.store.verify_chain()
    again = import_return(house.store, house.lake, handed, house.returns)
    assert house.store.verify_chain() == events
    assert not again.submitted and not again.decided and sorted(again.unchanged) == ["item00", "item01", "item02"]
    it = items(house)
    part(house, [correction(one) for one in it[3:10]], unfixables=[unfixable(one) for one in it[10:]], number=2, complete=True,
         decisions=[decision(one["item_id"], actor_ref="sue") for one in it[3:]])  # fmt: skip
    done = import_return(house.store, house.lake, handed, house.returns)
    left = {one["rule_id"] for one in done.verdict.report["findings"]}
    assert left == {"V03"}, "the ghost of part 1 is all that is wrong now"
    # rob stood in two roles on item07 in part 1: he is neither now
    assert len(done.submitted) == 9
    counted = [state.status for state in house.store.states(BATCH).values()]
    assert counted.count("accepted") == 10 and counted.count("dropped") == 2


def test_a_changed_file_refuses_its_part_and_nothing_else(house: House, tmp_path: Path):
    it = items(house)
    part(house, [correction(it[0])])
    broken = part(house, [correction(it[1])], number=2)
    data = (broken / "corrections.jsonl").read_bytes()
    (broken / "corrections.jsonl").write_bytes(data.replace(b"too slow", b"too late"))
    ended = zipapp(house, "returns", "--batch", "batch", site=bare_path(tmp_path / "site"))
    assert ended.returncode == 1 and "V01 x 1" in ended.stdout
    partners = (house.returns / "rejection.json").read_bytes()
    verdict = verify_folder(house.returns, handed_out(house.folder))
    assert (house.returns / "rejection.json").read_bytes() == partners
    assert [one["rule_id"] for one in verdict.report["findings"]] == ["V01"]
    assert [one.item_id for one in verdict.accepted] == ["item00"]
    assert zipapp(house, "returns/part-002", "--batch", "batch", site=tmp_path / "site").returncode == 3


def test_too_many_critical_items_refuse_the_lot(house: House):
    it = items(house)
    part(house, [with_arguments(one, {"order_id": 1}) for one in it[:4]] + [correction(one) for one in it[4:]])
    verdict = verify_folder(house.returns, handed_out(house.folder))
    assert verdict.report["verdict"] == "rejected" and not verdict.accepted
    assert "4 items have a critical finding; the plan allows 3" in verdict.report["reasons"]
    assert "break V07" in str(verdict.report["systematic"])


def test_exporting_freezes_the_batch_and_again_gives_the_same_bytes(house: House, tmp_path: Path):
    assert batch_of(house.store).frozen
    before = {file.relative_to(house.folder): file.read_bytes() for file in house.folder.rglob("*") if file.is_file()}
    events = house.store.verify_chain()
    again = hand_out(house.store, house.lake, house.pack, tmp_path)
    assert again.manifest_sha256 == house.exported.manifest_sha256 and house.store.verify_chain() == events
    assert before == {
        file.relative_to(house.folder): file.read_bytes() for file in house.folder.rglob("*") if file.is_file()
    }
    opened = house.store.open_batch(
        week="2026-01-05", workflow="support_desk", version="v2", item_ids=[], qa_mode="three"
    )
    assert opened == BATCH
    assert (tmp_path / "qa" / "keys" / "batch_signing_key.pem").stat().st_mode & 0o777 == 0o600
    manifest = json.loads((house.folder / "manifest.json").read_text())
    assert manifest["counts"]["by_tool"] == {"cancel_order": 12} and manifest["item_count"] == 12


def test_a_folder_that_holds_something_else_is_left_alone(house: House, tmp_path: Path):
    (tmp_path / "batch" / "manifest.json").write_text("{}")
    with pytest.raises(FlywheelError, match="holds something else"):
        hand_out(house.store, house.lake, house.pack, tmp_path)


def test_an_interrupted_import_is_finished_by_the_next(house: House, monkeypatch: pytest.MonkeyPatch):
    it = items(house)
    part(house, [correction(it[0])], decisions=[decision("item00")])
    real, calls = house.store.append, []

    def failing(*arguments, **options):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(house.store, "append", failing)
    with pytest.raises(KeyboardInterrupt):
        import_return(house.store, house.lake, handed_out(house.folder), house.returns)
    assert house.store.state("item00", BATCH).status == "submitted"
    import_return(house.store, house.lake, handed_out(house.folder), house.returns)
    assert house.store.state("item00", BATCH).status == "accepted"


def test_what_the_house_already_did_stands_and_is_told_by_item(house: House):
    from flywheel.corrections.states import Event

    house.store.append(BATCH, Event("item00", "claim", "ann"))
    it = items(house)
    part(house, [correction(it[0]), correction(it[1])])
    done = import_return(house.store, house.lake, handed_out(house.folder), house.returns)
    assert "ann works or worked on it" in done.not_taken["item00"] and done.submitted == ["item01"]
    house.store.close_batch(BATCH)
    with pytest.raises(FlywheelError, match="the batch is closed"):
        import_return(house.store, house.lake, handed_out(house.folder), house.returns)


def test_the_partners_dispute_and_adjudication_follow(house: House):
    it = items(house)
    settled = [
        decision("item00", verdict="dispute"),
        decision("item00", actor_ref="joy", role="adjudicator", note="ann is right"),
    ]
    part(house, [correction(it[0]), correction(it[1]), correction(it[2])],
         decisions=[*settled, decision("item01", verdict="dispute"), decision("item02", verdict="return")])  # fmt: skip
    done = import_return(house.store, house.lake, handed_out(house.folder), house.returns)
    states = house.store.states(BATCH)
    assert [states[f"item0{n}"].status for n in range(3)] == ["accepted", "disputed", "queued"]
    assert states["item00"].adjudicator == "acme/joy"
    assert [one["rule_id"] for one in done.verdict.report["findings"]] == ["V21"]


def test_the_commands(tmp_path: Path, pack: Pack, monkeypatch: pytest.MonkeyPatch):
    import shutil

    monkeypatch.setenv("FLYWHEEL_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    shutil.copytree(SUPPORT_DESK, tmp_path / "workflows" / "support_desk")
    house = build(tmp_path, pack)
    shutil.rmtree(house.folder)
    told = CliRunner().invoke(
        app, ["batch", "export", "support_desk", "2026-01-05", "--out", str(house.folder), "--partner", "acme"]
    )
    assert told.exit_code == 0 and "12 items" in told.output and house.exported.fingerprint in told.output, told.output
    it = items(house)
    part(house, [correction(it[0])], decisions=[decision("item00")])
    both = [str(house.returns), "--batch", str(house.folder)]
    assert CliRunner().invoke(app, ["batch", "verify", *both]).exit_code == 0
    taken = CliRunner().invoke(app, ["batch", "import", *both])
    assert taken.exit_code == 0 and "1 answers new in the store, 1 decided" in taken.output, taken.output
    listed = CliRunner().invoke(app, ["batch", "list"])
    assert "frozen, people work on it  12 items: 1 accepted, 11 queued" in listed.output
    closed = CliRunner().invoke(app, ["batch", "close", "support_desk", "2026-01-05", "--by", "lea"])
    assert "the lot is closed; 1 of 1 drawn items wait for their audit" in closed.output, closed.output
    part(house, [correction(it[1], started_at=START, submitted_at=END, guideline_version="9")], number=2)
    assert CliRunner().invoke(app, ["batch", "verify", *both]).exit_code == 1
