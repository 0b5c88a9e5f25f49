"""Every server that flywheel starts: loopback or a unix socket by default, and elsewhere with TLS and names or not at all."""

import datetime
import ipaddress
import os
import re
import ssl
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from typer.testing import CliRunner

import flywheel
from flywheel.cli import app as command_line
from flywheel.corrections.workbench.server import make_app, make_workbench, people_of
from flywheel.errors import FlywheelError
from flywheel.privacy.egress import is_loopback
from flywheel.privacy.listening import Tls, checked_tls
from flywheel.serving import vllm_server
from flywheel_tests.conftest import SUPPORT_DESK
from flywheel_tests.corrections.workbench.browser import hidden
from flywheel_tests.corrections.workbench.house import make_house

PACKAGE = Path(flywheel.__file__).parent
# Who may open a port or a socket at all: a file that joins them is looked at here first.
LISTENERS = {
    "cli/workbench.py": "the workbench", "cli/operations.py": "the UI", "serving/vllm_server.py": "evaluation's vLLM",
    "serving/foreground.py": "flywheel serve", "promotion/bundle.py": "the command in a bundle's README",
    "promotion/shared_bundle.py": "the command in a shared bundle's README",
}  # fmt: skip
_LISTENS = re.compile(
    r"uvicorn\.(?:Config|run)|HTTPServer\(|TCPServer\(|\.bind\(|\.listen\(|(?<!where=)\"--host\"|\"--uds\"|\"-h\"|create_server\("
)


def certificate(folder: Path) -> Tls:
    """A certificate for 127.0.0.1, signed by itself."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(address, critical=False).sign(key, hashes.SHA256())
    )  # fmt: skip
    tls = Tls(folder / "certificate.pem", folder / "key.pem")
    tls.certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    tls.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))  # fmt: skip
    return tls


def test_only_known_files_listen():
    found = {
        str(file.relative_to(PACKAGE))
        for file in PACKAGE.rglob("*.py")
        if _LISTENS.search(file.read_text(encoding="utf-8"))
    }
    assert found == set(LISTENERS)


def test_no_source_names_an_address_that_everybody_reaches():
    named = [
        f"{file.relative_to(PACKAGE)}:{number}"
        for file in PACKAGE.rglob("*.py")
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if "0.0.0.0" in line and "host in" not in line  # the workbench asks whether it was told so
    ]
    assert named == []


def commands(group: Any, before: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    """Every command of the command line with its words."""
    found = []
    for name, command in group.commands.items():
        found += commands(command, (*before, name)) if hasattr(command, "commands") else [((*before, name), command)]
    return found


def test_every_host_option_is_loopback_by_default_and_refuses_the_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("FLYWHEEL_HOME", str(make_house(tmp_path, SUPPORT_DESK).home))
    asked = []
    for words, command in commands(typer.main.get_command(command_line)):
        for option in command.params:
            if "--host" not in option.opts:
                continue
            assert is_loopback(option.default), words
            needed = ["support_desk"] if any(p.param_type_name == "argument" for p in command.params) else []
            done = CliRunner().invoke(command_line, [*words, *needed, "--host", "0.0.0.0"])
            assert isinstance(done.exception, FlywheelError) and done.exception.where == "--host", (words, done.output)
            asked.append(words)
    assert sorted(asked) == [("serve",), ("workbench",)]


def test_the_ui_is_started_on_loopback(monkeypatch: pytest.MonkeyPatch):
    started: list[list[str]] = []

    def instead(program: str, arguments: list[str]) -> None:
        started.append(arguments)

    monkeypatch.setattr(os, "execv", instead)
    assert CliRunner().invoke(command_line, ["ui", "--port", "0"]).exit_code == 0
    assert started and started[0][started[0].index("-h") + 1] == "127.0.0.1"


def test_evaluation_asks_vllm_through_a_socket_nobody_else_can_open(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    seen: dict[str, Any] = {}

    def start(command: list[str], **rest: Any) -> subprocess.Popen[bytes]:
        place = Path(command[command.index("--uds") + 1])
        seen.update(command=command, mode=stat.S_IMODE(place.parent.stat().st_mode), place=place)
        return subprocess.Popen([sys.executable, "-c", "pass"], start_new_session=True)

    from flywheel.chat.families import find_family

    monkeypatch.setattr(vllm_server, "start_group", start)
    spec = vllm_server.ServerSpec(model=tmp_path, family=find_family("chatml_hermes"))
    with pytest.raises(FlywheelError), vllm_server.vllm_server(spec, log=tmp_path / "vllm.log", start_seconds=5):
        pass
    assert seen["mode"] == 0o700 and not seen["place"].parent.exists()
    assert not {"--host", "--port", "--trust-remote-code", "--trust-request-chat-template", "--allowed-local-media-path"} & set(seen["command"])  # fmt: skip


@pytest.mark.parametrize("given", ["certificate alone", "no files", "another key"])
def test_certificate_and_key_are_a_pair_or_refused(tmp_path: Path, given: str):
    assert checked_tls(None, None) is None
    pair = certificate(tmp_path)
    assert checked_tls(*pair) == pair
    (tmp_path / "other").mkdir()
    wrong: dict[str, Callable[[], Any]] = {
        "certificate alone": lambda: checked_tls(pair.certificate, None),
        "no files": lambda: checked_tls(tmp_path / "none.pem", pair.key),
        "another key": lambda: checked_tls(pair.certificate, certificate(tmp_path / "other").key),
    }
    with pytest.raises(FlywheelError) as caught:
        wrong[given]()
    assert "PEM" in caught.value.remedy


def test_over_tls_the_cookie_is_for_tls_alone(tmp_path: Path):
    settings = make_house(tmp_path / "home", SUPPORT_DESK)
    people_of(settings).add("ann", ["annotator"], "correct horse battery", by="lea")
    tls = certificate(tmp_path)
    config = uvicorn.Config(make_app(make_workbench(settings, "support_desk")), port=0, log_level="error",
                            ssl_certfile=tls.certificate, ssl_keyfile=str(tls.key))  # fmt: skip
    listening, server = config.bind_socket(), uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        url = f"https://127.0.0.1:{listening.getsockname()[1]}"
        known = ssl.create_default_context(cafile=str(tls.certificate))
        while not server.started:
            time.sleep(0.02)
        with httpx.Client(base_url=url, verify=known, trust_env=False) as client:
            page = client.get("/sign-in")
            said = client.post("/sign-in", data={"csrf": hidden(page.text, "csrf"), "name": "ann", "password": "correct horse battery"})  # fmt: skip
            assert said.status_code == 303 and "Secure" in said.headers["set-cookie"], said.text
            assert client.get("/").status_code == 200
    finally:
        server.should_exit = True
        thread.join(timeout=10)
