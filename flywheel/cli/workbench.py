"""`flywheel workbench` and `workbench-users`: where people correct, and who may."""

import getpass
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from flywheel.cli import app
from flywheel.errors import FlywheelError
from flywheel.settings import Settings

users = typer.Typer(help="Who may use the workbench, and as what.", no_args_is_help=True)
app.add_typer(users, name="workbench-users")

By = Annotated[str, typer.Option(help="Who does it, for flywheel audit; the account of this machine by default.")]
Reason = Annotated[str, typer.Option(help="Why, for flywheel audit.")]


@app.command()
def workbench(
    workflow: Annotated[str, typer.Option(help="Name of the workflow pack.")] = "support_desk",
    week: Annotated[str | None, typer.Option(help="Week of the batch; without it the oldest open one.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; other than loopback only with named users and TLS.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.")] = 8100,
    name: Annotated[list[str] | None, typer.Option(help="Another host name it may be asked by, as a proxy forwards it; repeatable.")] = None,
    tls_certificate: Annotated[Path | None, typer.Option(help="PEM certificate to serve HTTPS with, its chain included.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM key of the certificate, unencrypted.")] = None,
    model_url: Annotated[str | None, typer.Option(help="OpenAI-compatible server on this machine, to roll corrections forward.")] = None,
    model: Annotated[str, typer.Option(help="Model to ask there for; its first one when not given.")] = "",
    language: Annotated[str, typer.Option(help="Language of the pages: a file FLYWHEEL_HOME/strings/LANGUAGE.json, or a shipped one.")] = "en",
    batch: Annotated[Path | None, typer.Option(help="A batch folder as a partner got it: work on it alone, without a house.", exists=True, file_okay=False)] = None,
    work: Annotated[Path | None, typer.Option(help="With --batch: folder of what is done; BATCH-work beside it by default.")] = None,
    fingerprint: Annotated[str | None, typer.Option(help="With --batch: of the key it must be signed with, as the house told it.")] = None,
    key: Annotated[Path | None, typer.Option(help="With --batch: your own PEM key, where the house asked for signed returns.")] = None,
) -> None:  # fmt: skip
    """Open the workbench: annotate, review, adjudicate and audit a correction batch in the browser.

    Where the pack has tasks.jsonl, experts can also write the right run for each task, before there is any batch (docs/week-zero.md).
    """
    from flywheel.corrections.workbench.catalogue import catalogue
    from flywheel.corrections.workbench.forward import Model
    from flywheel.corrections.workbench.server import check_bind, house_routes, make_app, make_workbench, people_of
    from flywheel.privacy.egress import is_loopback
    from flywheel.privacy.listening import checked_tls

    tls, asked = checked_tls(tls_certificate, tls_key), Model(model_url, model) if model_url else None
    opened = _opened(batch, work, fingerprint, key) if batch else None
    settings = Settings(home=opened.work) if opened else Settings()
    check_bind(host, people_of(settings), tls=tls, names=name or ())
    if opened:
        from flywheel.corrections.partner.server import partner_routes, partner_workbench

        bench, routes = partner_workbench(opened, model=asked), partner_routes
    else:
        from flywheel.operations.demonstrations import pack_prompts
        from flywheel.workflows.loader import find_pack

        prompts = pack_prompts(settings, find_pack(settings.workflows(), workflow))
        bench, routes = make_workbench(settings, workflow, week=week, model=asked, demonstrations=prompts), house_routes
    bench = bench._replace(words=catalogue(language, settings.home / "strings"))
    allowed = tuple(name or ()) if is_loopback(host) or host in ("0.0.0.0", "::") else (host, *(name or ()))
    _serve(bench, make_app(bench, hosts=allowed, routes=routes), host, port, tls)


def _opened(batch: Path, work: Path | None, fingerprint: str | None, key: Path | None) -> Any:
    """A partner's batch, and what they should know of it before they begin."""
    from flywheel.corrections.partner.opened import open_batch

    opened = open_batch(batch, work=work, fingerprint=fingerprint, key=key)
    print(
        f"signed by {opened.fingerprint}"
        + ("" if fingerprint else ": compare it with what the house told you by telephone")
    )
    print(f"what is done here is kept in {opened.work}")
    if opened.handed.manifest.get("partner_public_key") and key is None:
        print(
            "returns of this batch must be signed: work on it now, and start with --key KEY.pem before a part is written"
        )
    return opened


def _serve(bench: Any, application: Any, host: str, port: int, tls: Any) -> None:
    """Listen until Ctrl-C."""
    import uvicorn

    from flywheel.privacy.egress import is_loopback

    config = uvicorn.Config(application, host=host, port=port, log_level="warning", access_log=False, server_header=False,
                            proxy_headers=False, ssl_certfile=tls and tls.certificate, ssl_keyfile=tls and str(tls.key))  # fmt: skip
    try:
        socket = config.bind_socket()
    except SystemExit:
        raise FlywheelError(f"port {port} is in use", where=f"{host}:{port}",
                            remedy=f"stop what uses it, or: flywheel workbench --port {port + 1}") from None  # fmt: skip
    board = bench.desk.board
    for tags, items in bench.desk.nobody():
        print(
            f"nobody has {tags}, which {items} of the open items ask for: workflow.yaml, skills.people, names who does"
        )
    print(
        f"{bench.desk.pack.name}, batch of week {bench.desk.batch.week if bench.desk.batch else '-'}: {board.done()} of {len(board.places)} items decided"
    )
    print(
        f"workbench: {'https' if tls else 'http'}://{'127.0.0.1' if is_loopback(host) else host}:{socket.getsockname()[1]} (stop with Ctrl-C)",
        flush=True,
    )
    uvicorn.Server(config).run(sockets=[socket])


@users.command("add")
def add(
    name: Annotated[str, typer.Argument(help="Name they sign in with; it stands in the event log.")],
    role: Annotated[
        list[str], typer.Option(help="annotator, reviewer, adjudicator, auditor, grader or lead; repeatable.")
    ],
    by: By = "",
    reason: Reason = "",
) -> None:
    """Add a person, or give them other roles and a new password; asks for it, or reads a line when piped."""
    from flywheel.corrections.workbench.server import people_of
    from flywheel.operations.act_log import account

    password = getpass.getpass(f"password for {name}: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    people_of(Settings()).add(name, role, password, by=by.strip() or account(), reason=reason.strip())
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
def remove(name: Annotated[str, typer.Argument(help="Whom to remove.")], by: By = "", reason: Reason = "") -> None:
    """Remove a person; their sessions end with the next request."""
    from flywheel.corrections.workbench.server import people_of
    from flywheel.operations.act_log import account

    people_of(Settings()).remove(name, by=by.strip() or account(), reason=reason.strip())
    print(f"{name} may not sign in any more")
