"""Sampling a replay set: from a server on a unix socket that answers as vLLM does, and, slow, from a real vLLM."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any

import pytest
from typer.testing import CliRunner

from flywheel.chat import Renderer
from flywheel.cli import app
from flywheel.datasets import replay_sampling
from flywheel.datasets.replay import find_replay, prompts_of, read_replay
from flywheel.datasets.replay_sampling import Sampling, sample_replay
from flywheel.demo.week import lay_out_pack
from flywheel.errors import FlywheelError
from flywheel.serving.vllm_server import Server
from flywheel.settings import Settings
from flywheel.workflows.base_model import BaseModel
from flywheel.workflows.pack import Pack
from flywheel_tests.conftest import SUPPORT_DESK

DOOR = Path(__file__).parent.parent / "packs" / "door"


class Listening(ThreadingMixIn, UnixStreamServer):
    """Keeps what was asked; says the last user's words backwards, and never ends on a prompt that asks for a haiku."""

    daemon_threads = True
    asked: list[dict[str, Any]]


class Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Listening  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append(body)
        words = body["messages"][-1]["content"]
        finish = "length" if "haiku" in words else "stop"
        choice = {"message": {"role": "assistant", "content": words[::-1]}, "finish_reason": finish, "token_ids": [1]}
        answer = {"choices": [choice], "prompt_token_ids": [1], "usage": {"completion_tokens": 1}}
        text = json.dumps(answer).encode()
        self.send_response(400 if "lighthouse" in words else 200)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:
        del format, args


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """Stands in for vLLM; what it was asked."""
    listening = Listening(str(tmp_path / "http.sock"), Answering)
    listening.asked = []
    threading.Thread(target=listening.serve_forever, daemon=True).start()

    @contextmanager
    def server(*_: Any, log: Path, **__: Any) -> Iterator[Server]:
        process: Any = None  # nobody asks whether it lives
        yield Server(process, tmp_path / "http.sock", log, {"vllm": "stand-in"}, 0)

    monkeypatch.setattr(replay_sampling, "vllm_server", server)
    yield listening.asked
    listening.shutdown()
    listening.server_close()


def test_every_prompt_is_asked_once_for_a_base_and_what_is_cut_off_trains_nothing(
    asked: list[dict[str, Any]], pack: Pack, renderer: Renderer, tmp_path: Path
):
    settings, base, prompts = (
        Settings(home=tmp_path / "home"),
        BaseModel("small", tmp_path, "b" * 64, "test"),
        prompts_of(pack),
    )
    made = sample_replay(settings, base, renderer, prompts, Sampling())
    again = sample_replay(settings, base, renderer, prompts, Sampling())
    assert len(asked) == 64 and not made.unchanged and again.unchanged and again.found == made.found
    assert made.left_out == {"cut_off": 1, "http_400": 1}
    assert {(one["temperature"], one["seed"], "tools" in one) for one in asked} == {(0.0, 0, False)}
    found = find_replay(settings.replay(), base.sha256, renderer.template_sha256, prompts)
    assert found == made.found and len(read_replay(found)) == found.manifest["rows"] == 62
    drawn = sample_replay(settings, base, renderer, prompts, Sampling(temperature=0.7, seed=4))
    assert drawn.found.folder != made.found.folder and asked[-1]["seed"] == 4
    other = sample_replay(settings, BaseModel("small", tmp_path, "c" * 64, "t"), renderer, prompts, Sampling())
    assert other.found.folder not in (made.found.folder, drawn.found.folder), "a set belongs to its base"
    haiku = prompts._replace(prompts=[one for one in prompts.prompts if "haiku" in one[0]["content"]], sha256="h")
    with pytest.raises(FlywheelError, match="not one of 1 answers is usable"):
        sample_replay(settings, base, renderer, haiku, Sampling())
    assert {file.name for file in settings.replay().glob("*/*")} == {"answers.jsonl", "manifest.json"}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_real_server_answers_and_a_model_that_never_ends_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    home = tmp_path / "home"
    monkeypatch.setenv("FLYWHEEL_HOME", str(home))
    monkeypatch.setenv("FLYWHEEL_BASE_MODEL", "tiny-random")
    lay_out_pack(DOOR, home / "workflows" / "door")
    command = [
        sys.executable,
        "-m",
        "flywheel.training.base_model",
        "tiny-random",
        str(home / "models"),
        str(SUPPORT_DESK),
    ]
    subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(FlywheelError, match=r"not one of 64 answers is usable: \{'cut_off': 64\}") as caught:
        CliRunner().invoke(
            app, ["dataset", "replay", "--workflow", "door", "--max-tokens", "8"], catch_exceptions=False
        )
    assert "--max-tokens" in caught.value.remedy and not list((home / "replay").glob("*"))
