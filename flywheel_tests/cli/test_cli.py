"""The command line: what a person sees when something is missing or in the way; never a traceback."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def flywheel(*arguments: str, home: Path, code: int = 0, before: str = "") -> str:
    """What a command says, in one line; `before` is Python that its process runs first."""
    environment = {**os.environ, "FLYWHEEL_HOME": str(home), "DAGSTER_HOME": str(home / "dagster")}
    (home / "dagster").mkdir(parents=True, exist_ok=True)
    (home / "dagster" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    command = [sys.executable, "-c", f"{before}\nfrom flywheel.cli import app; app()", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, check=False)
    said = ended.stdout + ended.stderr
    assert ended.returncode == code, said
    assert "Traceback" not in said, said
    return " ".join(said.split())


# One interpreter for several commands: what each costs is loading Dagster.
_IN_TURN = """
import contextlib, io, json, sys
from flywheel.cli import app
for arguments in json.loads(sys.argv[1]):
    said, code = io.StringIO(), 0
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            app(arguments)
        except SystemExit as ended:
            code = ended.code
    print(json.dumps([code, said.getvalue()]))
"""


def in_turn(commands: list[list[str]], home: Path) -> list[tuple[int, str]]:
    """Exit code of each command and what it said, without line breaks; no traceback among it."""
    environment = {**os.environ, "FLYWHEEL_HOME": str(home), "DAGSTER_HOME": str(home / "dagster")}
    command = [sys.executable, "-c", _IN_TURN, json.dumps(commands)]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, check=True)
    answers = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("[")]
    assert len(answers) == len(commands) and "Traceback" not in ended.stdout, ended.stdout
    return [(code or 0, " ".join(said.split())) for code, said in answers]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


def test_a_newcomers_first_minutes(home: Path):
    assert "no workflow pack yet" in flywheel("status", home=home)
    assert "edit workflow.yaml" in flywheel("init", "airline", home=home)
    line = {"id": "r1", "tools": [], "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}],
            "started_at": "2026-01-06T00:00:00Z"}  # fmt: skip
    (home / "runs.jsonl").write_text(json.dumps(line) + "\n{broken\n")
    week = ["--week", "2026-01-05", "--workflow", "airline"]
    again, told, doctor, ingest = in_turn(
        [["init", "airline"], ["status", "--json"], ["doctor"], ["ingest", str(home / "runs.jsonl"), "--workflow", "airline"]],
        home,
    )  # fmt: skip
    assert again[0] == 2 and "is there already" in again[1]
    assert told[0] == 0 and json.loads(told[1])[0]["serves"] == "base"
    assert doctor[0] == 1 and "fetch it once: flywheel model" in doctor[1]
    assert ingest[0] == 0 and "in the inbox of airline" in ingest[1]
    said = flywheel("run", *week, home=home)
    assert "production_traces" in said and "with the experts" in said
    assert "production_traces" in flywheel("report", *week, home=home)
    status = flywheel("status", home=home)
    assert "the correction batch is open; they correct in: flywheel workbench --workflow airline" in status


MISTAKES = [
    (["init", "My-Flow"], "is no identifier"),
    (["run", "--week", "2026-01-05", "--workflow", "ghost"], "flywheel init ghost"),
    (["run", "--week", "2026-01-06", "--workflow", "airline"], "named by its Monday: 2026-01-05"),
    (["run", "--week", "soon", "--workflow", "airline"], "is no date"),
    (["run", "--week", "2050-01-03", "--workflow", "airline", "--stage", "collect"], "once it has ended"),
    (["run", "--week", "2026-01-05", "--workflow", "airline", "--stage", "magic"], "name one of: freeze, collect, learn"),
    (["run", "--week", "2026-01-05", "--workflow", "airline", "--stage", "production_failures"], "--stage collect"),
    (["run", "--week", "2026-01-05", "--workflow", "airline", "--stage", "learn"], "correction_batch was never written"),
    (["ingest", "nowhere.jsonl"], "no such file"),
    (["model", "add", "gpt-9"], "use one of"),
    (["init", "mine", "--from", "docs"], "no log file is there"),
    (["init", "mine", "--from", "nowhere"], "no such file or folder"),
    (["init", "airline", "--from", "nowhere"], "is there already"),
    (["pack", "confirm", "airline"], "no guess is named"),
    (["pack", "confirm", "airline", "x"], "no open guess is called x"),
]  # fmt: skip


def test_each_mistake_gets_an_error_that_names_the_remedy(home: Path):
    flywheel("init", "airline", home=home)
    answers = in_turn([arguments for arguments, _ in MISTAKES], home)
    for (arguments, expected), (code, said) in zip(MISTAKES, answers, strict=True):
        assert code == 2 and expected in said, (arguments, said)


def test_a_home_that_cannot_be_used_is_an_error_with_a_remedy(home: Path):
    (home / "house").write_text("a file in the place of the folder")
    answers = in_turn([["init", "airline"], ["audit"]], home / "house")
    for code, said in answers:
        assert code == 2 and f"error: not a directory [{home / 'house'}" in said and "FLYWHEEL_HOME" in said, said


def test_tools_that_make_no_pack_are_mended_and_given_again(home: Path):
    file = home / "given.json"
    for kind, expected in (("objekt", "no pack was made"), ("object", "edit workflow.yaml")):
        function = {"name": "get_order", "parameters": {"type": kind}}
        file.write_text(json.dumps([{"type": "function", "function": function}]))
        said = flywheel("init", "shop", "--tools", str(file), home=home, code=2 if kind == "objekt" else 0)
        assert expected in said and (home / "workflows" / "shop").exists() == (kind == "object"), said


@pytest.mark.slow
def test_without_a_benchmark_collect_runs_and_learn_is_refused(home: Path):
    flywheel("init", "airline", home=home)
    for file in (home / "workflows" / "airline" / "benchmark").glob("refusal*"):
        file.unlink()
    (home / "inbox" / "airline").mkdir(parents=True, exist_ok=True)
    flywheel("run", "--week", "2026-01-05", "--workflow", "airline", "--stage", "freeze", home=home)
    flywheel("run", "--week", "2026-01-05", "--workflow", "airline", "--stage", "collect", home=home)
    _close(home)
    said = flywheel("run", "--week", "2026-01-05", "--workflow", "airline", "--stage", "learn", home=home, code=2)
    assert "no refusal cases" in said and "flywheel benchmark new refusal" in said


def _close(home: Path) -> None:
    from flywheel.corrections.events import EventStore, batch_id

    store = EventStore(home / "qa" / "airline.sqlite")
    batch = store.batch_of("2026-01-05", "airline")
    assert batch
    store.close_batch(batch_id(batch.week, batch.workflow, batch.version))


def test_a_port_in_use_names_another(home: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"flywheel ui --port {port + 1}" in flywheel("ui", "--port", str(port), home=home, code=2)
