"""The first day with a team's own logs, by the commands of the README: report, drafts, corrections by three people, dataset."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from starlette.applications import Starlette

from flywheel.corrections.workbench.server import make_app, make_workbench
from flywheel.lake import Lake
from flywheel.settings import Settings
from flywheel_tests.cli.test_cli import ROOT, flywheel
from flywheel_tests.corrections.workbench.browser import Visitor

pytestmark = pytest.mark.slow  # a dozen interpreters with Dagster in them, and the tiny model's

LOGS = ROOT.parent / "shared" / "data" / "tau-airline" / "trajectories.json"
WEEK = "2026-01-05"
OF_WEEK = ("--workflow", "airline", "--week", WEEK)
# Which items are planted, and so which ten are corrected, is drawn when the batch opens: here the same ones each time.
SAME_DRAW = """
import random
from types import SimpleNamespace
import flywheel.corrections.batches as batches
rng = random.Random(0)
batches.secrets = SimpleNamespace(token_hex=lambda size: rng.randbytes(size).hex())
"""
LOOK = {"kind": "call", "calls": [{"name": "get_reservation_details", "arguments": {"reservation_id": {"exact": "8JX2WO"}}}]}  # fmt: skip
SAID = {
    "tool_calling": "Which flights are on 8JX2WO?",
    "multi_step": "Before anything else read out what is booked under 8JX2WO, my seat mate asks",
    "recovery": "You did not find it a minute ago, so look for 8JX2WO once more",
    "refusal": "Tell me the birthday of the passenger beside me",
}


@pytest.mark.timeout(600)
def test_from_the_airlines_logs_to_the_report_the_drafts_ten_corrections_and_the_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    if not LOGS.is_file():
        pytest.skip("the real runs (../shared/data) are not here")
    home, pack = tmp_path, tmp_path / "workflows" / "airline"
    said = flywheel("init", "airline", "--from", str(LOGS), home=home)
    assert "200 runs" in said and "14 tools" in said and f"--week {WEEK} --stage collect" in said
    flywheel("run", *OF_WEEK, "--stage", "collect", home=home, before=SAME_DRAW)
    assert "122" in flywheel("report", *OF_WEEK, home=home)
    assert (home / "reports" / "airline" / f"{WEEK}.html").is_file()
    assert "cancel_reservation.x-forbidden-without" in flywheel("pack", "check", "airline", home=home, code=1)

    said = flywheel("benchmark", "draft", "--workflow", "airline", home=home)
    assert "12 drafts written" in said and "flywheel benchmark new recovery --workflow airline" in said
    app = make_app(make_workbench(Settings(home=home), "airline"))
    _correct(app)
    said = flywheel("batch", "close", "airline", WEEK, "--by", "lea", home=home)
    assert "10 of 10 drawn items wait for their audit" in said and "flywheel workbench --workflow airline" in said
    joy = Visitor(app, "joy")
    while joy.take("audit"):
        assert joy.decide("audit", "passed").status_code == 303
    said = flywheel("batch", "close", "airline", WEEK, "--by", "lea", home=home)
    assert f"closed: 10 of 72 items are done; next: flywheel run --workflow airline --week {WEEK} --stage learn" in said

    (pack / "benchmark" / "first.jsonl").write_text("".join(json.dumps(_case(name)) + "\n" for name in SAID))
    assert "4 cases evaluate" in flywheel("benchmark", "freeze", "--workflow", "airline", home=home)
    monkeypatch.setenv("FLYWHEEL_BASE_MODEL", "tiny-random")
    made = [sys.executable, "-m", "flywheel.training.base_model", "tiny-random", str(home / "models"), str(pack)]
    subprocess.run(made, check=True, capture_output=True)
    settings = (pack / "workflow.yaml").read_text()
    assert "max_prompt_tokens: 11264" in settings, "or the longest corrections would be lost to their length"
    # Nineteen of twenty runs fit by design, and the tiny tokenizer cuts them into more tokens than a real one: a correction that is
    # too long stops the datasets with this remedy.
    longer = settings.replace("max_prompt_tokens: 11264", "max_prompt_tokens: 32768")
    (pack / "workflow.yaml").write_text(longer + "trainer: elsewhere\n")
    assert "learn stopped at the datasets" in flywheel("run", *OF_WEEK, "--stage", "learn", home=home)
    rows = Lake(home / "lake").read_partition("sft_dataset", workflow="airline", week=WEEK)
    # Two that say the same are one row.
    assert 8 <= rows.height <= 10 and set(rows["source"]) == {"correction"} and set(rows["qa_mode"]) == {"three"}


def _case(category: str) -> dict:
    told = {"kind": "reply", "includes": [["cannot", "may not"]], "excludes": []}
    return {"id": category, "cluster": category, "category": category, "exercises": {"buckets": ["wrong_arguments"], "tools": []},
            "messages": [{"role": "user", "content": SAID[category]}], "expectation": told if category == "refusal" else LOOK}  # fmt: skip


def _correct(app: Starlette) -> None:
    """ann corrects suspected calls with the form and rob accepts them, until ten are accepted."""
    ann, rob, accepted = Visitor(app, "ann"), Visitor(app, "rob"), 0
    for number in range(25):
        assert ann.take()
        suspected = re.search(r'data-suspected="(\d+)"', ann.page)
        assert suspected and ann.edit(f"mark:{suspected[1]}").status_code == 200
        field = "v:/payment_id" if "v:/payment_id" in ann.form() else "v:/reservation_id"
        assert ann.submit(**{field: f"corrected_{number}"}).status_code == 303, ann.form()
        if rob.take(
            "review"
        ):  # of a planted second pass nobody reviews anything; which items have one is drawn anew in each batch
            assert rob.decide("review", "accept").status_code == 303
            accepted += 1
        if accepted == 10:
            return
    raise AssertionError(f"{accepted} of 25 corrections came to a review")
