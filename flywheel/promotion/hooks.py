"""`on_promote` and `on_rollback`: telling whoever serves that the pointer moved.

The newest move is told until it was told once: a hook that failed is tried again by the next run of the same command. It never undoes
the move. Each attempt is a row of `release_hooks`.
"""

import os
import subprocess
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import polars as pl

from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel.privacy.egress import destination, log_send
from flywheel.processes import stop_group
from flywheel.promotion.bundle import Bundle
from flywheel.promotion.pointer import since
from flywheel.settings import Settings, without_secrets
from flywheel.toolcalls.arguments import canonical_json, sha256_of
from flywheel.workflows.pack import Hook, Pack

PURPOSE = "release_hook"
_SHOWN = 300


def untold(pack: Pack, log: pl.DataFrame, attempts: pl.DataFrame) -> dict[str, Any] | None:
    """The newest move, when the pack has a hook for it and none has succeeded yet."""
    move = since(log)
    if move is None or hook_of(pack, move) is None:
        return None
    return None if attempts.filter(entry_id=move["entry_id"], succeeded=True).height else move


def hook_of(pack: Pack, move: dict[str, Any]) -> Hook | None:
    """The hook that a move is told to."""
    return pack.settings.on_rollback if event_of(move) == "rollback" else pack.settings.on_promote


def event_of(move: dict[str, Any]) -> str:
    """rollback, or promote for every other move."""
    return "rollback" if move["kind"] == "rollback" else "promote"


def payload_of(move: dict[str, Any], workflow: str, bundle_sha256: str | None) -> dict[str, Any]:
    """What the hook is told, as JSON; docs/promotion.md holds the fields."""
    return {
        "schema_version": 1, "event": event_of(move), "workflow": workflow, "week": move["week"], "adapter_id": move["served_adapter_id"],
        "previous_adapter_id": move["previous_adapter_id"], "kind": move["kind"] or "decision", "verdict": move["verdict"], "by": move["by"],
        "reason": move["reason"], "decided_at": move["decided_at"].isoformat(), "entry_id": move["entry_id"],
        "bundle_sha256": bundle_sha256,
    }  # fmt: skip


def tell(
    lake: Lake, settings: Settings, pack: Pack, move: dict[str, Any], bundle: Bundle | FlywheelError | None
) -> dict[str, Any]:
    """Tell the hook of a move and record the attempt; returns its RELEASE_HOOKS row. Nothing that goes wrong is raised.

    Args:
        bundle: what serves from here on, packed; or why it could not be packed, and then nobody is told; None where an endpoint serves.
    """
    hook = hook_of(pack, move)
    assert hook is not None  # `untold` found it
    started = time.monotonic()
    if isinstance(bundle, FlywheelError):
        succeeded, answer = False, f"nobody was told, there is no bundle: {bundle.what}"
    else:
        payload = payload_of(move, pack.name, bundle.sha256 if bundle else None)
        if hook.url:
            succeeded, answer = _post(hook, payload, settings, pack, event_of(move))
        else:
            succeeded, answer = _run(
                hook, {**payload, "bundle_path": str(bundle.folder) if bundle else None}, pack.folder
            )
    attempts = lake.read_weeks("release_hooks", workflow=pack.name).filter(entry_id=move["entry_id"])
    row = {
        "entry_id": move["entry_id"], "attempt": attempts.height + 1, "event": event_of(move),
        "told": _told(hook),
        "bundle_sha256": bundle.sha256 if isinstance(bundle, Bundle) else None, "succeeded": succeeded,
        "answer": answer[:_SHOWN], "seconds": time.monotonic() - started, "at": datetime.now(UTC),
    }  # fmt: skip
    lake.append_new("release_hooks", [row], workflow=pack.name)
    return row


def sentence(row: dict[str, Any]) -> str:
    """An attempt as people read it."""
    done = "was told" if row["succeeded"] else "was not told, run the same command again"
    return (
        f"on_{row['event']}: {row['told']} {done} (attempt {row['attempt']}, {row['seconds']:.1f} s): {row['answer']}"
    )


def _told(hook: Hook) -> str:
    """Whom a hook tells, without anything that may be a secret: the webhook's host, or the command's program."""
    if not hook.url:
        return hook.command[0]
    try:
        return urlsplit(hook.address()).hostname or "no host"
    except FlywheelError:
        return hook.url  # the name of a variable that is not set


def _run(hook: Hook, payload: dict[str, Any], folder: Path) -> tuple[bool, str]:
    """The command with the payload on its stdin; output goes to files, so that what it leaves running holds nobody up."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as said:
        given.write(canonical_json(payload).encode() + b"\n")
        given.seek(0)
        try:
            process = subprocess.Popen(
                hook.command,
                cwd=folder,
                stdin=given,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=without_secrets(os.environ),
            )
        except OSError as error:
            return False, f"it could not be started: {error.strerror}"
        try:
            code = process.wait(timeout=hook.seconds)
        except subprocess.TimeoutExpired:
            stop_group(process, grace_seconds=1)
            return False, f"stopped after {hook.seconds:g} s"
        said.seek(0)
        lines = [line for line in said.read().decode(errors="replace").splitlines() if line.strip()]
    return code == 0, f"exit code {code}" + (f": {lines[-1]}" if lines else "")


def _post(hook: Hook, payload: dict[str, Any], settings: Settings, pack: Pack, event: str) -> tuple[bool, str]:
    """One POST under the rules of egress; redirects are not followed, proxies of the environment not used."""
    try:
        address = hook.address()
        to = destination(address, pack.settings.egress, PURPOSE, where=f"workflow.yaml: on_{event}")
    except FlywheelError as error:
        return False, error.what
    if kinds := to.held_back(payload):
        return False, f"not sent: it holds {', '.join(kinds)}"
    content = canonical_json(payload).encode()
    try:
        reply = httpx.Client(trust_env=False, timeout=hook.seconds).post(
            address, content=content, headers={"content-type": "application/json"}
        )
        succeeded, answer = reply.is_success, f"HTTP {reply.status_code}"
    except httpx.TimeoutException:
        succeeded, answer = False, f"no answer within {hook.seconds:g} s"
    except httpx.HTTPError as error:
        succeeded, answer = False, f"unreachable: {type(error).__name__}"
    log_send(
        settings.egress_log(pack.name),
        to,
        purpose=PURPOSE,
        messages=1,
        size=len(content),
        sha256=sha256_of(payload),
        answer=answer,
    )
    return succeeded, answer
