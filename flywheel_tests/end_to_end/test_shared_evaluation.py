"""Slow: two workflows on one base through `flywheel run`, real vLLM and PEFT: one server for both, and each answers as on its own."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from flywheel.benchmark.cases import load_cases
from flywheel.benchmark.freeze import active, frozen_row
from flywheel.lake import TABLES, Lake
from flywheel.promotion.decision import judge
from flywheel.promotion.gate import Decision
from flywheel.promotion.noise import measured
from flywheel.settings import Settings
from flywheel.workflows.base_model import find_base_model
from flywheel.workflows.loader import load_pack
from flywheel_tests.operations.test_serve import random_adapter
from flywheel_tests.packs import door_simulation

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]
ROOT = Path(__file__).parents[2]
WEEK, BEFORE = "2026-01-12", "2026-01-05"
WORKFLOWS = ("door", "window")


def blank(table: str, **values: Any) -> dict[str, Any]:
    names = (name for name in TABLES[table].polars_schema() if name not in ("week", "workflow"))
    return {**dict.fromkeys(names), **values}


def build(home: Path) -> None:
    """Two packs that differ in prompt, context and cases; the door has an adapter as incumbent, the window has the base.

    One request at a time: what is decoded together depends on the moment at which requests arrive, and turns ties another way.
    """
    settings = Settings(home=home)
    for name, longest in (("door", 2048), ("window", 512)):
        folder = settings.workflows() / name
        shutil.copytree(door_simulation.FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__"))
        file = folder / "workflow.yaml"
        text = file.read_text().replace("max_model_len: 512", f"max_model_len: {longest}")
        # A random model calls nothing: there is no rate of valid calls on which a floor could be set.
        text = text.replace("concurrency: 16", "concurrency: 1").replace(
            "floors: {schema_valid_rate: 0.5}", "floors: {}"
        )
        file.write_text(text.replace("max_tokens: 40", "max_tokens: 16"))
    (settings.workflows() / "window" / "system.md").write_text("You open and close windows.\n")
    (home / "dagster").mkdir()
    (home / "dagster" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    command = [sys.executable, "-m", "flywheel.training.base_model", "tiny-random", str(settings.models()), str(door_simulation.FOLDER)]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    base, lake = find_base_model(settings.models(), "tiny-random"), Lake(settings.lake())
    for number, name in enumerate(WORKFLOWS):
        pack = load_pack(settings.workflows() / name)
        cases = load_cases(pack.folder / "benchmark", pack.tools)
        chosen = [case for case in cases if case.expectation.kind != "episode"][number::4]
        episode = next(case for case in cases if case.category == "multi_step")
        # The door's context has room for this reply, the window's has not.
        talk = episode.expectation.model_copy(update={"replies": ["and then " * 200], "max_steps": 2})
        chosen.append(episode.model_copy(update={"expectation": talk}))
        rows = [frozen_row(case, pack.tools_sha256) for case in chosen]
        lake.replace_partition("benchmark", rows, workflow=name)
        candidate = random_adapter(settings.checkpoints(name), base, seed=9 - 9 * number, scale=0.06)
        lake.replace_partition("checkpoint", [blank("checkpoint", adapter_id=candidate)], workflow=name, week=WEEK)
    incumbent = random_adapter(settings.checkpoints("door"), base, seed=0, scale=0.05)
    entry = {name: "x" for name in TABLES["promotion_log"].polars_schema() if name not in ("workflow", "decided_at")}
    row = {**entry, "week": BEFORE, "served_adapter_id": incumbent, "decided_at": None}
    lake.append_new("promotion_log", [row], workflow="door")


def flywheel(home: Path, *arguments: str) -> str:
    environment = {**os.environ, "FLYWHEEL_HOME": str(home), "DAGSTER_HOME": str(home / "dagster"), "PYTHONPATH": str(ROOT)}  # fmt: skip
    command = [sys.executable, "-c", "from flywheel.cli import app; app()", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr + (home / "run.log").read_text()[-3000:]
    return " ".join((ended.stdout + ended.stderr).split())


def results(home: Path, workflow: str) -> pl.DataFrame:
    return Lake(home / "lake").read_partition("eval_results", workflow=workflow, week=WEEK)


def arm(rows: pl.DataFrame, name: str) -> pl.DataFrame:
    return rows.filter(arm=name).sort("case_id")


def flips(one: pl.DataFrame, other: pl.DataFrame) -> tuple[int, int]:
    """Cases that both ran, and in how many of them something else was written."""
    both = one.join(other, on="case_id")
    return both.height, both.filter(pl.col("raw_outputs") != pl.col("raw_outputs_right")).height


def nats(rows: pl.DataFrame, name: str) -> float | None:
    """By how much the canary saw an arm's adapter change log-probabilities, as served; None of the base model."""
    told = json.loads(arm(rows, name)["server"][0]).get("canary", "")
    found = re.search(r"changes log-probabilities by ([0-9.]+) nats a token as served", told)
    return float(found[1]) if found else None


def test_both_are_evaluated_on_one_server_and_answer_as_on_their_own(tmp_path: Path):
    shared, apart = tmp_path / "shared", tmp_path / "apart"
    build(shared)
    shutil.copytree(shared, apart)
    stage = ["run", "--week", WEEK, "--stage", "eval_results"]
    said = flywheel(shared, *stage, "--workflow", "door", "--workflow", "window")
    assert "eval_results: door, window shared one server" in said
    for name in WORKFLOWS:
        flywheel(apart, *stage, "--workflow", name)
    from_one_server(shared)
    for name in WORKFLOWS:
        as_on_its_own(results(shared, name), results(apart, name))
        assert ("context_length" in results(shared, name)["stop_reason"]) == (name == "window")
        decision = judged(shared, name)
        assert decision.verdict != "INVALID", decision.reasons
    assert results(shared, "door").filter(arm="incumbent")["raw_outputs"].n_unique() > 3, (
        "not the same whatever is asked"
    )


def from_one_server(home: Path) -> None:
    """All rows of both name the same start, with every adapter by its content's hash, and no other server has a log."""
    told = [json.loads(text) for name in WORKFLOWS for text in results(home, name)["server"]]
    assert len({server["session"] for server in told}) == 1
    assert {server["shared_by"] for server in told} == {"door, window"} and {server["vllm"] for server in told} == {"0.32.0"}  # fmt: skip
    adapters = {name: sorted(set(results(home, name)["adapter_id"]) - {"base"}) for name in WORKFLOWS}
    assert len(adapters["door"]) == 2 and len(adapters["window"]) == 1
    (arguments,) = {server["arguments"] for server in told}
    assert all(f"{one}={one}" in arguments for names in adapters.values() for one in names)
    logs = sorted(file.relative_to(home).as_posix() for file in home.rglob("vllm*.log"))
    assert logs == [f"scratch/door/{WEEK}/eval_results/shared/vllm.log"], "no other server was started"


def as_on_its_own(rows: pl.DataFrame, own: pl.DataFrame) -> None:
    """What differs between the shared server and one of the workflow's own is no more than what differs between two runs of one model."""
    assert not any("session" in text for text in own["server"])
    assert rows["infra_error"].count() == own["infra_error"].count() == 0
    noise = [flips(arm(part, "incumbent"), arm(part, "incumbent_again")) for part in (rows, own)]
    allowed = max(flipped / cases for cases, flipped in noise)
    for side in ("incumbent", "candidate"):
        one, other = arm(rows, side), arm(own, side)
        cases, flipped = flips(one, other)
        served = nats(rows, side), nats(own, side)
        print(f"{side}: {flipped} of {cases} differ from a server of its own, A/A {noise}; nats {served}")
        assert cases == one.height and flipped / cases <= allowed
        assert one["stop_reason"].to_list() == other["stop_reason"].to_list(), "also where the own context is shorter"
        assert one["model_steps"].to_list() == other["model_steps"].to_list()
        assert (served[0] is None) == (one["adapter_id"][0] == "base")
        if served[0] is not None and served[1] is not None:
            assert served[0] > 1 and abs(served[0] - served[1]) < 0.05, "the adapter is applied, and alike"
    a_a = measured(arm(rows, "incumbent"), arm(rows, "incumbent_again"))
    assert a_a is not None and a_a.verdict == "SAME"


def judged(home: Path, name: str) -> Decision:
    """The gate's decision on the stored rows."""
    pack, lake, rows = load_pack(home / "workflows" / name), Lake(home / "lake"), results(home, name)
    cases = active(lake.read_partition("benchmark", workflow=name))
    none = (lake.empty("corrected_traces"), lake.empty("checkpoint"))
    return judge(rows, cases, *none, pack, incumbent=arm(rows, "incumbent")["adapter_id"][0]).decision
