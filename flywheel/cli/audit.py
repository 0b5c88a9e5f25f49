"""`flywheel audit`: who promoted, rolled back, overrode, erased, changed roles, wrote to a partner, let train elsewhere; when and why."""

import json
from datetime import UTC, datetime
from typing import Annotated

import typer

from flywheel.cli import app
from flywheel.errors import FlywheelError
from flywheel.settings import Settings

# Acts that ask nobody for a reason.
_WITHOUT_REASON = ("statement", "job", "checkpoint")


@app.command()
def audit(
    workflow: Annotated[str | None, typer.Option(help="Only this workflow, and what concerns the whole installation.")] = None,
    act: Annotated[str | None, typer.Option(help="Only these acts: promote, rollback, override, erase, role, close, export, reopen, withdraw, release, question, answer, amend, recall, statement, job or checkpoint.")] = None,
    since: Annotated[str | None, typer.Option(help="Only from this day on, as in 2026-01-05.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable, a line an act.")] = False,
) -> None:  # fmt: skip
    """Print every act with authority, oldest first, after proving the chains of hashes and the signatures that hold them."""
    from flywheel.chat.visible import visible
    from flywheel.operations.audit_log import ACTS, audit_log

    if act is not None and act not in ACTS:
        raise FlywheelError(f"there is no act {act!r}", where="--act", remedy=f"name one of: {', '.join(ACTS)}")
    found = audit_log(Settings())
    wanted = [
        one for one in found.acts
        if (workflow is None or one.workflow in ("", workflow)) and act in (None, one.act) and (since is None or one.at >= _day(since))
    ]  # fmt: skip
    if as_json:
        for one in wanted:
            print(json.dumps({**one._asdict(), "at": one.at.isoformat()}))
        return
    for one in wanted:
        print(visible(f"{one.at:%Y-%m-%d %H:%M:%S} UTC  {one.act:<10}  {one.workflow or '(all)'}: {one.what}"))
        said = f": {one.reason}" if one.reason else ", no reason given" if one.act not in _WITHOUT_REASON else ""
        print(visible(f"    by {one.by}{said}  [{one.recorded_in}]"))
    print(f"{len(wanted)} of {len(found.acts)} acts; {'; '.join(found.chains)}")
    for sentence in found.unrecorded:
        print(f"NOT RECORDED: {sentence}")


def _day(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        raise FlywheelError(f"{text!r} is no day", where="--since", remedy="write it as 2026-01-05") from None
