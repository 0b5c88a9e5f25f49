"""`flywheel status`, `doctor`, `ui` and `bench`."""

import json
import os
import socket
import sys
from typing import Annotated, Any

import typer

from flywheel.cli import app
from flywheel.errors import FlywheelError
from flywheel.settings import Settings


@app.command()
def status(as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False) -> None:
    """What production serves, since when; the newest week at a glance; what waits for whom; and the one command to go on."""
    from flywheel.operations.disk import disk
    from flywheel.operations.launch import known_instance
    from flywheel.operations.status import status as read_status
    from flywheel.operations.week_table import table_lines

    with known_instance() as on:
        entries = read_status(Settings(), on)
    if as_json:
        print(json.dumps(entries, indent=2))
        return
    if not entries:
        print("no workflow pack yet: flywheel init NAME, or make demo")
    for entry in entries:
        print(f"{entry['workflow']}: {_serves(entry)}")
        for line in _live(entry["live"]):
            print(f"  {line}")
        print(f"  newest week: {entry['newest_week'] or 'none'}")
        for line in table_lines(entry["stages"]):
            print(line)
        if entry["batch"]:
            batch = entry["batch"]
            done = sum(batch.get(name, 0) for name in ("accepted", "dropped", "released"))
            print(f"  batch: {done} of {batch['items']} items done, {'closed' if batch['closed'] else 'open'}")
        if entry["unconfirmed_guesses"]:
            print(
                f"  guesses: {entry['unconfirmed_guesses']} wait for a person: flywheel pack check {entry['workflow']}"
            )
        for waiting in entry["waits_for"]:
            print(f"  waits for {waiting}")
        print(f"  next: {entry['next']}")
    print(f"disk: {disk(Settings()).sentence()}")


def _serves(entry: dict[str, Any]) -> str:
    """What serves, since when, by whose act, and whether production carries it: the line a person needs at night."""
    if not entry["since"]:
        return f"serves {entry['serves']}"
    week = f" since week {entry['since_week']}" if entry["since_week"] else ""
    seen = entry["live"]["carried"]
    said = (
        f"; {seen['state']}: {seen['carrying']} of {seen['runs']} runs since carry it"
        if seen["runs"]
        else "; no runs since"
    )
    others = ", ".join(f"{name} {count}" for name, count in seen["others"].items())
    return f"serves {entry['serves']}{week} ({entry['since'][:16]} UTC, {entry['released_by']}){said}" + (
        f", {others}" if others else ""
    )


def _live(live: dict[str, Any]) -> list[str]:
    """What production says of it, a line each; nothing where there is nothing to compare yet."""
    lines = [live["canary_period"] and f"live: {live['canary_period']}", live["recurrence"] and f"recurrence: {live['recurrence']}",
             live["came_back"] and f"came back: {'; '.join(live['came_back'][:3])}", live["hook"]]  # fmt: skip
    return [line for line in lines if line]


@app.command()
def doctor(
    workflow: Annotated[str | None, typer.Option(help="Only this workflow; else every one.")] = None,
    serve: Annotated[bool, typer.Option("--serve", help="Also start vLLM and compare its prompts with ours.")] = False,
) -> None:
    """Check packages, memory, disk, packs, model families, base models and benchmarks; exit code 1 when something is wrong."""
    from flywheel.operations.doctor import doctor as examine

    checks = examine(Settings(), workflow, serve=serve)
    for check in checks:
        print(
            f"{'ok  ' if check.ok else 'BAD '} {check.name}: {check.found}"
            + ("" if check.ok else f"\n     -> {check.remedy}")
        )
    raise typer.Exit(0 if all(check.ok for check in checks) else 1)


@app.command()
def ui(port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 3000) -> None:
    """Open the Dagster UI on the same instance, on loopback only."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise FlywheelError(f"port {port} is in use", where=f"127.0.0.1:{port}",
                                remedy=f"stop what uses it, or: flywheel ui --port {port + 1}") from None  # fmt: skip
    os.environ.setdefault("DAGSTER_HOME", os.getcwd())
    print(f"Dagster UI: http://127.0.0.1:{port} (stop with Ctrl-C)", flush=True)
    command = [sys.executable, "-m", "dagster", "dev", "-h", "127.0.0.1", "-p", str(port), "-w", "workspace.yaml"]
    os.execv(sys.executable, command)


@app.command()
def bench() -> None:
    """Measure what the project answers for; prints a table and writes bench.json under FLYWHEEL_HOME."""
    from flywheel.operations.bench import run_benchmarks

    raise typer.Exit(0 if run_benchmarks(Settings()) else 1)
