"""A deployment on this machine: code server, daemon and webserver of a house, as processes that can be watched and killed."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from flywheel_tests.faults.house import ROOT, House

_ENDED = {"SUCCESS", "FAILURE", "CANCELED"}
_LAUNCH = """mutation($p: ExecutionParams!) { launchRun(executionParams: $p) { __typename
  ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } ... on RunConfigValidationInvalid { errors { message } } } }"""
_STATUS = "query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"


class Deployment:
    """The processes of one house; `with Deployment(house) as on:` starts them and stops them.

    Args:
        instance: text of its dagster.yaml; the project's own for a laptop by default.
        more: environment of all processes besides the house's own.
    """

    def __init__(self, house: House, instance: str | None = None, more: Mapping[str, str] | None = None) -> None:
        self.house, self.folder = house, house.home / "dagster"
        text = instance or (ROOT / "dagster.yaml").read_text(encoding="utf-8").replace(
            ".dagster", str(self.folder / "storage")
        )
        (self.folder / "dagster.yaml").write_text(text, encoding="utf-8")
        (self.folder / "workspace.yaml").write_text(
            "load_from:\n  - python_module: {module_name: flywheel_tests.stand_ins.code_location, location_name: flywheel}\n",
            encoding="utf-8",
        )
        self.environment = house.environment(**{"FLYWHEEL_SENSOR_SECONDS": "5", **(more or {})})
        self.port = _free_port()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60)

    def __enter__(self) -> "Deployment":
        try:
            self._make_storage()
            self.start("webserver")
            self.start("daemon")
            self.wait_for_webserver()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _make_storage(self) -> None:
        """The instance's tables, before two processes each try to make them; a deployment's first step is the same."""
        import dagster as dg

        with dg.DagsterInstance.from_config(str(self.folder)) as made:
            made.get_run_records(limit=1)
            made.all_instigator_state()
            made.event_log_storage.get_records_for_run("none")

    def __exit__(self, *error: object) -> None:
        for name in list(self.processes):
            self.stop(name)
        self.http.close()
        for left in self.house.processes():
            os.kill(left, signal.SIGKILL)

    def start(self, name: str) -> None:
        """Start the `daemon` or the `webserver`, with its code server."""
        module, arguments = {
            "daemon": ("dagster._daemon", ["run"]),
            "webserver": ("dagster_webserver", ["-h", "127.0.0.1", "-p", str(self.port)]),
        }[name]
        code = f"from {module}.cli import main; main()"
        command = [sys.executable, "-c", code, *arguments, "-w", str(self.folder / "workspace.yaml")]
        log = (self.house.home / f"{name}.log").open("ab")
        self.processes[name] = subprocess.Popen(
            command, env=self.environment, cwd=self.house.home, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip

    def stop(self, name: str, number: signal.Signals = signal.SIGTERM) -> None:
        """Signal one of them and wait for its end; its code server follows when its heartbeat stops."""
        process = self.processes.pop(name)
        process.send_signal(number)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def wait_for_webserver(self, seconds: float = 180) -> None:
        """Until the webserver knows the code location."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                found = self.ask(
                    "{ repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } } } } }"
                )
                if found["repositoriesOrError"].get("nodes"):
                    return
            except (httpx.HTTPError, KeyError, ValueError):
                pass
            time.sleep(0.5)
        raise AssertionError(f"no webserver in {seconds} s: {(self.house.home / 'webserver.log').read_text()[-2000:]}")

    def ask(self, query: str, variables: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """One GraphQL request; its data."""
        answer = self.http.post("/graphql", json={"query": query, "variables": dict(variables or {})})
        answer.raise_for_status()
        return answer.json()["data"]

    def launch(self, job: str, tags: Mapping[str, str]) -> str:
        """Queue a run through the webserver; its id."""
        selector = {"repositoryLocationName": "flywheel", "repositoryName": "__repository__", "jobName": job}
        metadata = {"tags": [{"key": key, "value": value} for key, value in tags.items()]}
        found = self.ask(_LAUNCH, {"p": {"selector": selector, "runConfigData": {}, "executionMetadata": metadata}})
        assert found["launchRun"]["__typename"] == "LaunchRunSuccess", found
        return found["launchRun"]["run"]["runId"]

    def status(self, run_id: str) -> str:
        """A run's status as the UI shows it."""
        return self.ask(_STATUS, {"id": run_id})["runOrError"]["status"]

    def wait(self, run_ids: list[str], seconds: float = 600) -> dict[str, str]:
        """Until all have ended; run id -> status."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = {run_id: self.status(run_id) for run_id in run_ids}
            if set(found.values()) <= _ENDED:
                return found
            time.sleep(0.5)
        raise AssertionError(
            f"not ended in {seconds} s: {found}\n{(self.house.home / 'daemon.log').read_text()[-2000:]}"
        )

    def resident_mib(self, name: str) -> float:
        """Resident memory of one of them, without its code server."""
        pages = int(Path(f"/proc/{self.processes[name].pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def partition_tags(week: str, workflow: str) -> dict[str, str]:
    """The tags by which Dagster knows a run's partition."""
    return {
        "dagster/partition": f"{week}|{workflow}", "dagster/partition/week": week, "dagster/partition/workflow": workflow,
    }  # fmt: skip


def _free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return opened.getsockname()[1]
