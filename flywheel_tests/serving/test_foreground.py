"""Where a server may listen; and, with a stand-in that starts at once, that it lives exactly as long as the command."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flywheel.errors import FlywheelError
from flywheel.serving.foreground import Address, check_address


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_this_machine_may_ask_and_no_other(tmp_path: Path):
    port = free_port()
    for address in (
        Address("127.0.0.1", port),
        Address("localhost", port),
        Address("::1", port),
        Address("", 0, tmp_path / "s"),
    ):
        check_address(address)
    for host in ("0.0.0.0", "::", "192.0.2.1", "serving.example.org"):
        with pytest.raises(FlywheelError, match="can be reached from other machines") as caught:
            check_address(Address(host, port))
        assert "proxy with TLS and authentication" in caught.value.remedy


def test_a_taken_address_is_said_before_anything_is_started(tmp_path: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(FlywheelError, match="cannot be listened on") as caught:
            check_address(Address("127.0.0.1", port))
        assert f"--port {port + 1}" in caught.value.remedy
    (tmp_path / "s").touch()
    with pytest.raises(FlywheelError, match="file of that name"):
        check_address(Address("", 0, tmp_path / "s"))


def test_an_address_says_how_it_is_asked():
    assert Address("127.0.0.1", 8000).arguments() == ["--host", "127.0.0.1", "--port", "8000"]
    assert Address("", 0, Path("/run/v")).arguments() == ["--uds", "/run/v"]
    assert (
        Address("127.0.0.1", 8000).told() == "http://127.0.0.1:8000/v1"
        and Address("", 0, Path("/run/v")).told() == "unix:/run/v"
    )


# In vLLM's place: answers /health, or ends by itself as told. What is tested is the life of the group, not the engine.
STAND_IN = """
import http.server, sys, threading, os
how = sys.argv[1]
if how == "broken":
    sys.exit("ValueError: there is no such model type")
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
        if how == "dies":
            threading.Timer(0.2, lambda: (print("RuntimeError: engine died", flush=True), os._exit(9))).start()
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Handler).serve_forever()
"""
COMMAND = """
import sys
from pathlib import Path
from flywheel.errors import FlywheelError
from flywheel.serving.foreground import Address, serve
try:
    serve([sys.argv[1]], Address("127.0.0.1", int(sys.argv[2])), threads=1, log=Path(sys.argv[3]), start_seconds=60,
          say=lambda line: print(line, flush=True), look=lambda: None)
except FlywheelError as error:
    sys.exit(f"error: {error}")
"""


def start(tmp_path: Path, how: str) -> tuple[subprocess.Popen[str], int]:
    folder = tmp_path / "stand_in" / "vllm" / "entrypoints" / "openai"
    folder.mkdir(parents=True)
    (folder / "api_server.py").write_text(STAND_IN)
    for package in (folder, folder.parent, folder.parent.parent):
        (package / "__init__.py").touch()
    paths = [str(tmp_path / "stand_in"), str(Path(__file__).parents[2])]
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, how, str(port), str(tmp_path / "log")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )  # fmt: skip
    return process, port


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_server_is_gone_with_the_command_however_that_ends(tmp_path: Path, number: signal.Signals):
    process, port = start(tmp_path, "well")
    assert process.stdout and f"listening on http://127.0.0.1:{port}/v1" in process.stdout.readline() and answers(port)
    process.send_signal(number)
    said = process.communicate(timeout=30)[0]
    assert process.returncode == (-9 if number == signal.SIGKILL else 0), said
    assert number == signal.SIGKILL or said == "stopping the server\n"
    deadline = time.monotonic() + 10
    while answers(port) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not answers(port)


@pytest.mark.parametrize(("how", "said"), [
    ("broken", "ended with exit code 1 while starting: ValueError: there is no such model type"),
    ("dies", "ended by itself with exit code 9: RuntimeError: engine died"),
])  # fmt: skip
def test_a_server_that_ends_by_itself_is_an_error_in_its_own_words(tmp_path: Path, how: str, said: str):
    process, _ = start(tmp_path, how)
    text = process.communicate(timeout=60)[0]
    assert process.returncode == 1 and said in text and "Traceback" not in text, text
