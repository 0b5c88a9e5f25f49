"""A batch goes to a partner, is corrected at their bench with nothing of the house at hand, and comes back through the house's judge."""

import json
import os
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flywheel.cli import app
from flywheel.corrections.handoff.importing import handed_out, import_return
from flywheel.corrections.handoff.verify import correction
from flywheel.corrections.partner.handing_back import write_part
from flywheel.corrections.partner.opened import open_batch
from flywheel.corrections.partner.rows import pseudonym
from flywheel.corrections.released import found_right
from flywheel.errors import FlywheelError
from flywheel.workflows.pack import Pack
from flywheel_tests.corrections.handoff.house import BATCH, House, build, copied, rows
from flywheel_tests.corrections.partner import bench
from flywheel_tests.corrections.partner.bench import accept, correct, hand_back, visitors
from flywheel_tests.corrections.workbench.house import wrong_tool


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, pack: Pack) -> House:
    table = rows(pack, 4)
    table[2] |= {"messages": json.dumps(wrong_tool()), "message_index": 4, "failure_cluster": "track_shipment / wrong"}
    return build(tmp_path_factory.mktemp("built"), pack, table=table)


@pytest.fixture
def house(tmp_path: Path, built: House, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setattr(correction, "SHORTEST", timedelta(0))  # nobody here takes five seconds
    return copied(built, tmp_path)


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_the_bench_needs_nothing_of_the_house(house: House, tmp_path: Path):
    """In a process in which dagster, torch, deltalake and the rest cannot be imported, on a folder that holds the batch alone."""
    alone = tmp_path / "elsewhere" / "batch"
    shutil.copytree(house.folder, alone)
    ran = subprocess.run([sys.executable, bench.__file__, str(alone)], capture_output=True, text=True, check=False,
                         env={**os.environ, "FLYWHEEL_HOME": str(tmp_path / "no-home"), "PYTHONPATH": os.pathsep.join(sys.path)})  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.strip() == "[]", "loaded although a partner does not have it"
    assert not (tmp_path / "no-home").exists()
    done = import_return(house.store, house.lake, handed_out(house.folder), alone.parent / "batch-work" / "returns")
    assert len(done.submitted) == len(done.decided) == 1 and not done.not_taken
    state = house.store.state(done.submitted[0], BATCH)
    assert (state.status, state.annotator, state.reviewer) == ("accepted", "acme/ann", "acme/rob")


def test_parts_hold_what_is_new_and_the_house_takes_them(house: House):
    opened = open_batch(house.folder)
    ann, rob, joy = visitors(opened, "ann", "rob", "joy")
    first = correct(ann)
    assert "mark the first wrong step" in ann.http.get("/").text and write_part(opened) is None, "nothing is reviewed"
    part = write_part(opened, unreviewed=True)
    assert part and (part.corrections, part.decisions, part.complete) == (1, 0, False)
    accept(rob)
    correct(ann)
    assert ann.take() and ann.edit("unfixable:tool_bug").status_code == 200 and ann.submit().status_code == 303
    assert ann.take() and "R7310" in ann.page
    ann.edit("mark:4")
    ann.edit("tool:get_order", **{"s:/order_id": "given", "v:/order_id": "R7310"})
    assert "as recorded" in ann.edit("again", **{"s:/order_id": "given", "v:/order_id": "R7310"}).text
    assert ann.submit().status_code == 303
    assert rob.take("review") and rob.decide("review", "dispute", "another answer").status_code == 303
    accept(rob)
    assert rob.take("review") and rob.decide("review", "drop").status_code == 303
    assert joy.take("adjudicate") and joy.decide("adjudicate", "drop", "no truth to be found").status_code == 303
    page = hand_back(joy, handling="none was seen", deletion="2099-02-01").text
    assert (
        "part-002: 1 corrections, 2 that cannot be fixed, 5 decisions, 0 questions, and nothing is missing now" in page
    ), page
    assert "nothing new" in hand_back(joy).text
    second = opened.returns / "part-002"
    about = next(one for one in lines(second / "decisions.jsonl") if one["item_id"] == first)
    assert about["answer_sha256"] and first not in {one["item_id"] for one in lines(second / "corrections.jsonl")}
    assert lines(second / "corrections.jsonl")[0]["suffix_mode"] == "reexecuted"
    done = import_return(house.store, house.lake, handed_out(house.folder), opened.returns)
    assert done.verdict.report["verdict"] == "accepted" and not done.verdict.report["findings"] and not done.not_taken
    assert sorted(one.status for one in house.store.states(BATCH).values()) == [
        "accepted",
        "accepted",
        "dropped",
        "dropped",
    ]
    assert not import_return(house.store, house.lake, handed_out(house.folder), opened.returns).submitted


def test_what_an_adjudicator_confirms_or_drops_goes_back_as_that_and_the_house_reads_it_so(house: House):
    opened = open_batch(house.folder)
    ann, rob, joy = visitors(opened, "ann", "rob", "joy")
    for _ in range(2):
        assert ann.take() and ann.edit("unfixable:not_a_failure").status_code == 200 and ann.submit().status_code == 303
        assert rob.take("review") and rob.decide("review", "dispute", "it is one").status_code == 303
    items = []
    for decision in ("confirm", "drop"):
        items.append(joy.take("adjudicate"))
        assert joy.decide("adjudicate", decision, "the guidelines say so").status_code == 303
    hand_back(joy, handling="none was seen", deletion="2099-02-01")
    sent = {one["item_id"]: one for one in lines(opened.returns / "part-001" / "unfixable.jsonl")}
    assert [sent[item]["code"] for item in items] == ["not_a_failure", "no_ground_truth"]
    done = import_return(house.store, house.lake, handed_out(house.folder), opened.returns)
    assert sorted(done.decided) == sorted(items) and not done.not_taken
    batch = next(one for one in house.store.batches() if one.name == BATCH)
    assert found_right(house.store, batch) == {items[0]}


def test_what_the_house_would_refuse_is_refused_at_the_bench(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(correction, "SHORTEST", timedelta(hours=1))
    opened = open_batch(house.folder)
    ann, rob = visitors(opened, "ann", "rob")
    ann.take()
    ann.edit("mark:2")
    refused = ann.submit(**bench.RIGHT)
    assert refused.status_code == 422 and "V12" in refused.text
    monkeypatch.setattr(correction, "SHORTEST", timedelta(0))
    ann.edit("answer")
    refused = ann.submit(content="Mail me at new.person@gmail.com.")
    assert refused.status_code == 422 and "V09" in refused.text and "new.person" not in refused.text
    assert ann.submit(content="I may not do that.").status_code == 303
    rob.take("review")
    refused = rob.decide("review", "dispute", "ask new.person@gmail.com")
    assert refused.status_code == 422 and "personal data" in refused.text
    assert rob.http.get("/lead").status_code == 404 and rob.http.get("/receipts").status_code == 404


def test_a_batch_that_cannot_be_proved_is_not_opened_and_nothing_is_lost(house: House, tmp_path: Path):
    ann, rob = visitors(open_batch(house.folder, fingerprint=house.exported.fingerprint), "ann", "rob")
    item = correct(ann)
    for damage, said in (("manifest.sig", "V02"), ("public_key.pem", "V02"), ("items.jsonl", "V01")):
        whole = (house.folder / damage).read_bytes()
        (house.folder / damage).unlink()
        with pytest.raises(FlywheelError, match=said):
            open_batch(house.folder)
        (house.folder / damage).write_bytes(whole)
    with pytest.raises(FlywheelError, match="fingerprint"):
        open_batch(house.folder, fingerprint="sha256:" + "0" * 64)
    other = shutil.copytree(house.folder, tmp_path / "other")
    with pytest.raises(FlywheelError, match="V02"):
        CliRunner().invoke(
            app, ["workbench", "--batch", str(other), "--fingerprint", "sha256:0"], catch_exceptions=False
        )
    assert not (tmp_path / "other-work").exists(), "nothing is written beside a batch that is not proved"
    assert open_batch(house.folder).store.state(item, BATCH).status == "auto_checked", "and what was done is there"
    accept(rob)


def test_the_work_of_another_batch_is_not_mixed_in(house: House, tmp_path: Path, pack: Pack):
    opened = open_batch(house.folder)
    other = build(tmp_path / "other", pack, 2)
    with pytest.raises(FlywheelError, match="another one") as caught:
        open_batch(other.folder, work=opened.work)
    assert "--work" in caught.value.remedy


def test_signed_returns_need_the_partners_own_key(house: House, tmp_path: Path, pack: Pack):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    files = []
    for name in ("theirs", "another"):
        key = Ed25519PrivateKey.generate()
        files.append(tmp_path / f"{name}.pem")
        files[-1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                                serialization.NoEncryption()))  # fmt: skip
        (tmp_path / f"{name}.pub").write_bytes(key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))  # fmt: skip
    signed = build(tmp_path / "signed", pack, 1, partner_key=tmp_path / "theirs.pub")
    opened = open_batch(signed.folder)
    ann, rob = visitors(opened, "ann", "rob")
    correct(ann)
    accept(rob)
    refused = hand_back(rob)
    assert refused.status_code == 409 and "must be signed" in refused.text and not list(opened.returns.glob("*"))
    with pytest.raises(FlywheelError, match="not the key acme gave"):
        write_part(open_batch(signed.folder, key=files[1]))
    shown = CliRunner().invoke(app, ["batch", "return", str(signed.folder), "--key", str(files[0])])
    assert shown.exit_code == 0 and "1 corrections, 0 that cannot be fixed, 1 decisions" in shown.output, shown.output
    done = import_return(signed.store, signed.lake, handed_out(signed.folder), opened.returns)
    assert done.submitted == done.decided == ["item00"]


@pytest.mark.parametrize("name", ["ann", "ann@acme.org", "a+b", "x" * 64])
def test_a_name_goes_out_as_the_format_takes_it(name: str, house: House):
    from flywheel.corrections.handoff.verify.schema import check_value

    form = handed_out(house.folder).schemas["correction"]["properties"]["actor_ref"]
    assert not check_value(form, pseudonym(name)) and (pseudonym(name) == name) == (name in ("ann", "x" * 64))
