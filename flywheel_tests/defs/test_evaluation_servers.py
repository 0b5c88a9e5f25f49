"""Whom the stage `eval_results` asks when it starts no server of its own: an attached one, or one that several workflows share."""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from flywheel.chat import Renderer
from flywheel.errors import FlywheelError
from flywheel.evaluation.servers import told
from flywheel.evaluation.session import Session
from flywheel.report.page import server_note
from flywheel.serving.shared_server import SharedServer, offered
from flywheel.serving.trained_on import TrainedOn
from flywheel.serving.vllm_server import ServerSpec
from flywheel.workflows.base_model import find_base_model
from flywheel.workflows.loader import load_pack
from flywheel_tests.defs.test_evaluation import WEEK, WORKFLOW, Week, fail
from flywheel_tests.serving.fake_vllm import FakeVllm, on_loopback
from flywheel_tests.stand_ins.training import write_adapter


@pytest.fixture
def week(tmp_path: Path, renderer: Renderer, monkeypatch: pytest.MonkeyPatch) -> Week:
    return Week(tmp_path, renderer, monkeypatch)


def test_an_attached_server_is_asked_over_http_and_the_page_says_what_it_did_not_prove(
    week: Week, monkeypatch: pytest.MonkeyPatch
):
    week.freeze(week.cases[::6])
    adapter = write_adapter(week.home / "checkpoints" / WORKFLOW, "tiny-random-000000000000")
    trained = week.table("checkpoint").drop("week", "workflow").with_columns(adapter_id=pl.lit(adapter))
    week.lake.replace_partition("checkpoint", trained, workflow=WORKFLOW, week=WEEK)
    monkeypatch.setattr("flywheel.evaluation.servers.evaluate", fail)
    file, server = week.pack.folder / "workflow.yaml", FakeVllm(week.renderer, adapter)
    with on_loopback(server) as url:
        file.write_text(f"{file.read_text()}\ntrainer: elsewhere\nserving: attach\nattach: {{url: {url}}}\n")
        facts = week.materialize()
    rows = week.table("eval_results")
    assert set(rows.filter(arm="candidate")["adapter_id"]) == {adapter} and not rows["infra_error"].count()
    assert "that it serves what was trained: neither PEFT" in facts["not_proven"].value
    page = server_note(rows)
    assert (
        "at 127.0.0.1:" in page
        and "vLLM 0.32.0" in page
        and "<li>that it serves what was trained: neither PEFT" in page
    )
    assert server_note(rows.clear()) == "" and week.materialize()["unchanged"].value is True


def test_an_attached_server_elsewhere_must_be_listed(week: Week):
    file = week.pack.folder / "workflow.yaml"
    file.write_text(f"{file.read_text()}\nserving: attach\nattach: {{url: 'https://gpu.example.com/v1'}}\n")
    with pytest.raises(dg.Failure, match=r"gpu.example.com is not on this machine[\s\S]*purpose: server"):
        week.materialize()
    file.write_text(file.read_text().replace("attach: {", "# {"))
    with pytest.raises(FlywheelError, match="serving: attach and attach: .* go together"):
        load_pack(week.pack.folder)


def test_a_server_that_workflows_share_is_named_on_the_page_and_in_the_metadata(week: Week):
    today: Any = TrainedOn(week.pack, find_base_model(week.home / "models", "tiny-random"))
    one = Session([{"arm": "candidate"}], 0, [], 0.0, shared_by="door, window")
    assert told([(today, one)]) == "one server for all arms, shared by door, window"
    other = Session([{"arm": "incumbent"}], 0, [], 0.0)
    assert told([(today, one), (today, other)]).endswith(
        "candidate on tiny-random (chatml_hermes), shared by door, window; incumbent on tiny-random (chatml_hermes)"
    )
    server = json.dumps({"vllm": "0", "shared_by": "door, <window>", "session": "s"})
    page = server_note(pl.DataFrame({"server": [server, server, None]}))
    assert page == "<p>Asked of one server that was shared by door, &lt;window&gt;.</p>"
    assert server_note(pl.DataFrame({"server": ['{"vllm":"0"}']})) == ""


def test_the_stage_takes_the_server_that_is_offered(week: Week, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    taken: list[Any] = []
    evaluate = week._evaluate
    monkeypatch.setattr(
        "flywheel.evaluation.servers.evaluate",
        lambda *given, **named: taken.append(named["shared"]) or evaluate(*given, **named),
    )
    shared = SharedServer(["door", "window"], ServerSpec(tmp_path, week.renderer.family), tmp_path / "shared.log")
    with offered(shared):
        week.materialize()
    assert taken == [shared] and shared.starts == 0
