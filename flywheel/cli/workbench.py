"""`flywheel workbench` and `workbench-users`: where people correct, and who may."""

import getpass
import sys
from typing import Annotated

import typer

from flywheel.cli import app
from flywheel.errors import FlywheelError
from flywheel.settings import Settings

users = typer.Typer(help="Who may use the workbench, and as what.", no_args_is_help=True)
app.add_typer(users, name="workbench-users")


@app.command()
def workbench(
    workflow: Annotated[str, typer.Option(help="Name of the workflow pack.")] = "support_desk",
    week: Annotated[str | None, typer.Option(help="Week of the batch; without it the oldest open one.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; other than loopback only with named users.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.")] = 8100,
    name: Annotated[list[str] | None, typer.Option(help="Another host name it may be asked by; repeatable.")] = None,
    model_url: Annotated[str | None, typer.Option(help="OpenAI-compatible server on this machine, to roll corrections forward.")] = None,
    model: Annotated[str, typer.Option(help="Model to ask there for; its first one when not given.")] = "",
) -> None:  # fmt: skip
    """Open the workbench: annotate, review, adjudicate and audit a correction batch in the browser."""
    import uvicorn

    from flywheel.corrections.workbench.forward import Model
    from flywheel.corrections.workbench.server import check_bind, make_app, make_workbench, people_of
    from flywheel.privacy.egress import is_loopback

    settings = Settings()
    check_bind(host, people_of(settings))
    bench = make_workbench(settings, workflow, week=week, model=Model(model_url, model) if model_url else None)
    allowed = tuple(name or ()) if is_loopback(host) or host in ("0.0.0.0", "::") else (host, *(name or ()))
    config = uvicorn.Config(make_app(bench, hosts=allowed), host=host, port=port, log_level="warning", access_log=False,
                            server_header=False, proxy_headers=False)  # fmt: skip
    try:
        socket = config.bind_socket()
    except SystemExit:
        raise FlywheelError(f"port {port} is in use", where=f"{host}:{port}",
                            remedy=f"stop what uses it, or: flywheel workbench --port {port + 1}") from None  # fmt: skip
    board = bench.desk.board
    print(
        f"{workflow}, batch of week {bench.desk.batch.week if bench.desk.batch else '-'}: {board.done()} of {len(board.places)} items decided"
    )
    print(
        f"workbench: http://{'127.0.0.1' if is_loopback(host) else host}:{socket.getsockname()[1]} (stop with Ctrl-C)",
        flush=True,
    )
    uvicorn.Server(config).run(sockets=[socket])


@users.command("add")
def add(
    name: Annotated[str, typer.Argument(help="Name they sign in with; it stands in the event log.")],
    role: Annotated[
        list[str], typer.Option(help="annotator, reviewer, adjudicator, auditor, grader or lead; repeatable.")
    ],
) -> None:
    """Add a person, or give them other roles and a new password; asks for it, or reads a line when piped."""
    from flywheel.corrections.workbench.server import people_of

    password = getpass.getpass(f"password for {name}: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    people_of(Settings()).add(name, role, password)
    print(f"{name} may sign in as {', '.join(role)}")


@users.command("list")
def list_users() -> None:
    """List names and roles."""
    from flywheel.corrections.workbench.server import people_of

    known = people_of(Settings()).names()
    for name, roles in sorted(known.items()):
        print(f"{name}: {', '.join(roles)}")
    if not known:
        print("nobody is named: on this machine a name is enough to sign in; elsewhere the workbench does not listen")


@users.command("remove")
def remove(name: Annotated[str, typer.Argument(help="Whom to remove.")]) -> None:
    """Remove a person; their sessions end with the next request."""
    from flywheel.corrections.workbench.server import people_of

    people_of(Settings()).remove(name)
    print(f"{name} may not sign in any more")
