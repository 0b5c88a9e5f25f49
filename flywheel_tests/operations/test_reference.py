"""References end to end: an endpoint that is asked, answers that are imported, few-shot that shows no case, and the terminal."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from typer.testing import CliRunner

from flywheel.benchmark.cases import load_cases
from flywheel.chat import Renderer
from flywheel.cli import app
from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel_tests.evaluation.fake_server import door_model
from flywheel_tests.promotion.house import WEEKS, freeze_cases, make_house


@pytest.fixture
def url(renderer: Renderer) -> Iterator[str]:
    """A model elsewhere that solves the whole benchmark; on loopback, so nothing leaves."""
    model = door_model(renderer)

    class Answering(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status, kind, text = model(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            data = text.encode()
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            del format, args

    class Queueing(ThreadingHTTPServer):
        request_queue_size = 64  # sixteen ask at once

    server = Queueing(("127.0.0.1", 0), Answering)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    acts = make_house(tmp_path / "home")
    freeze_cases(acts)
    monkeypatch.setenv("FLYWHEEL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FLYWHEEL_BASE_MODEL", "tiny-random")
    return tmp_path


def write(home: Path, name: str, **values: Any) -> str:
    (home / name).write_text(yaml.safe_dump(values))
    return str(home / name)


def typed(*words: str) -> str:
    ended = CliRunner().invoke(app, ["reference", *words, "--workflow", "door"], catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    return ended.output


def test_an_endpoint_is_asked_its_rows_are_kept_and_stand_beside_the_candidate(home: Path, url: str):
    lake = Lake(home / "home" / "lake")
    frontier = write(home, "big.yaml", endpoint={"url": url, "model": "big", "omit": ["seed"]})
    asked = typed("run", frontier, "--dry-run")
    assert (
        "stays on this machine" in asked
        and "nothing was sent" in asked
        and lake.read_weeks("reference_results", workflow="door").is_empty()
    )
    cases = lake.read_weeks("benchmark", workflow="door").height
    assert f"big: {cases} of {cases} runs solved" in typed("run", frontier)
    rows = lake.read_weeks("reference_results", workflow="door")
    assert set(rows["reference"]) == {"big"} and json.loads(rows["configuration"][0])["endpoint"]["model"] == "big"
    assert rows["prompt_tokens"].null_count() == 0 and (home / "home" / "egress" / "door.jsonl").is_file()
    with pytest.raises(FlywheelError, match="nothing was evaluated"):
        typed("show", "--week", WEEKS[0])
    own = rows.drop("workflow", "reference", "configuration", "ran_at")
    arms = [own.with_columns(arm=pl.lit(arm), success=pl.lit(arm == "candidate")) for arm in ("candidate", "incumbent")]
    lake.replace_partition("eval_results", pl.concat(arms), workflow="door", week=WEEKS[0])
    told = typed("show", "--week", WEEKS[0])
    assert "candidate minus big: +0.0" in told and "candidate minus incumbent: +100.0" in told
    typed("run", frontier, "--name", "again")
    typed("run", frontier, "--name", "again")
    assert lake.read_weeks("reference_results", workflow="door").height == 2 * cases, (
        "run again, it takes its own place"
    )


def test_answers_are_exported_imported_and_counted(home: Path):
    asked = home / "cases.jsonl"
    assert "cases of the benchmark" in typed("export", str(asked))
    lines = [json.loads(line) for line in asked.read_text().splitlines()]
    silent = [
        {"case_id": one["case_id"], "messages": [{"role": "assistant", "content": "doors only"}]} for one in lines[:5]
    ]
    (home / "answers.jsonl").write_text("".join(json.dumps(one) + "\n" for one in silent))
    told = typed("import", "elsewhere", str(home / "answers.jsonl"))
    assert "of 5 runs solved" in told and f"{len(lines) - 5} without a score" in told


@pytest.mark.parametrize("name", ["candidate", "incumbent"])
def test_a_name_of_an_arm_is_refused_before_anything_runs_or_is_read(home: Path, name: str):
    nobody = {"url": "http://127.0.0.1:9/v1", "model": "big"}
    stem, other = (write(home, f"{file}.yaml", endpoint=nobody) for file in (name, "big"))
    for words in (["run", stem], ["run", other, "--name", name], ["import", name, str(home / "absent.jsonl")]):
        with pytest.raises(FlywheelError, match=f"a reference cannot be called {name}") as told:
            typed(*words)
        assert "--name NAME" in told.value.remedy
    assert not (home / "home" / "egress").exists()
    assert Lake(home / "home" / "lake").read_weeks("reference_results", workflow="door").is_empty()


def test_a_file_named_like_an_arm_runs_under_another_name(home: Path, url: str):
    frontier = write(home, "candidate.yaml", endpoint={"url": url, "model": "big"})
    assert "big: " in typed("run", frontier, "--name", "big")


def test_an_example_that_shows_a_case_is_refused_and_others_are_shown(home: Path, url: str):
    case = next(
        one
        for one in load_cases(
            home / "home" / "workflows" / "door" / "benchmark",
            json.loads((home / "home" / "workflows" / "door" / "tools.json").read_text()),
        )
        if one.expectation.kind == "call"
    )
    answer = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "a", "function": {"name": "open_door", "arguments": "{}"}}],
    }
    (home / "shots.jsonl").write_text(json.dumps({"messages": [*case.messages, answer]}) + "\n")
    few = write(home, "few.yaml", examples="shots.jsonl", endpoint={"url": url, "model": "big"})
    with pytest.raises(FlywheelError, match="examples are near cases of the benchmark"):
        typed("run", few)
    (home / "shots.jsonl").write_text(
        json.dumps(
            {
                "messages": [
                    {"role": "user", "content": "good morning to you all out there, how do you do today"},
                    answer,
                ]
            }
        )
        + "\n"
    )
    asked = home / "cases.jsonl"
    typed("export", str(asked), "--configuration", few)
    shown = json.loads(asked.read_text().splitlines()[0])["messages"]
    assert shown[1]["content"].startswith("good morning") and shown[3] == {
        "role": "tool",
        "content": "done",
        "tool_call_id": "example_1_0",
    }


def test_nothing_is_sent_to_a_host_the_pack_does_not_list(home: Path):
    frontier = write(home, "big.yaml", endpoint={"url": "https://api.example.org/v1", "model": "big"})
    for words in (["--dry-run"], []):
        with pytest.raises(FlywheelError, match=r"the pack does not list it"):
            typed("run", frontier, *words)
    both = write(home, "both.yaml", adapter="base", endpoint={"url": "https://api.example.org/v1", "model": "big"})
    with pytest.raises(FlywheelError, match="an endpoint decides adapter itself"):
        typed("run", both)
