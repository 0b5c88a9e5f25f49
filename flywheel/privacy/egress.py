"""Egress: what may leave this machine, where to, and the log of every send (design.md 8.16).

Loopback is not leaving. Any other host has to stand in the pack (`egress` in workflow.yaml) with its purpose, is asked over TLS only, and
is sent nothing in which the entry's `redact` finds something like personal data.
"""

import ipaddress
import json
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from flywheel.errors import FlywheelError
from flywheel.toolcalls.arguments import canonical_json
from flywheel.workflows.pack import Egress


class Destination(NamedTuple):
    """A host that may be asked: whether that leaves the machine, and the kinds of personal data that must not go there."""

    host: str
    leaves: bool
    redact: tuple[str, ...]

    def held_back(self, body: Any) -> list[str]:
        """Kinds of personal data for which the body must not be sent; always none on this machine."""
        from flywheel.privacy.redaction import kinds_in  # who only asks whether a host is this machine reads no tables

        return kinds_in(canonical_json(body), self.redact) if self.leaves else []


def destination(url: str, allowed: Sequence[Egress], purpose: str, *, where: str) -> Destination:
    """The host behind a URL; raises FlywheelError when the pack does not list it for this purpose.

    Args:
        where: what named the URL, for the error.
    """
    scheme, host, said = _parts(url)
    if said:
        # The rest of it may be a token: errors are logged, mailed and kept.
        raise FlywheelError(
            f"that is no address of a server ({said})", where=where, remedy="write http://127.0.0.1:8000/v1"
        )
    if is_loopback(host):
        return Destination(host, False, ())
    entry = next((one for one in allowed if one.host == host and one.purpose == purpose), None)
    if entry is None:
        raise FlywheelError(
            f"{host} is not on this machine, and the pack does not list it: the runs would leave the building", where=where,
            remedy=f"serve the model here, or add to workflow.yaml, egress: - {{host: {host}, purpose: {purpose}}}",
        )  # fmt: skip
    if scheme != "https":
        raise FlywheelError(f"{host} would be asked without encryption", where=where, remedy="write https://")
    return Destination(host, True, entry.redact)


def _parts(url: str) -> tuple[str, str, str]:
    """Scheme and host of a URL, and what is wrong with it; empty where nothing is, so that no client stumbles over it later."""
    if "://" not in url:
        return "", "", "it has no ://"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port  # asked for: that is when it is read
    except ValueError:
        return "", "", "its host or port cannot be read"
    if parts.scheme not in ("http", "https") or not host or any(letter.isspace() for letter in host):
        return "", "", f"scheme {parts.scheme!r}, host {host!r}"
    return parts.scheme, host, ""


class _HostsOnly(logging.Filter):
    """Takes paths out of httpx's own log of requests: a webhook's path is its password."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(_host_only(value) for value in record.args)
        return True


def _host_only(value: Any) -> Any:
    parts = urlsplit(str(value)) if "://" in str(value) else None
    return f"{parts.scheme}://{parts.hostname}/..." if parts else value


logging.getLogger("httpx").addFilter(_HostsOnly())


def log_send(log: Path, to: Destination, *, purpose: str, messages: int, size: int, sha256: str, answer: str) -> None:
    """Add one line to the log of sends: where, what for, how much, the body's hash, and what came back. Never the body."""
    log.parent.mkdir(parents=True, exist_ok=True)
    line = {"at": datetime.now(UTC).isoformat(), "host": to.host, "left_the_machine": to.leaves, "purpose": purpose, "messages": messages,
            "bytes": size, "sha256": sha256, "answer": answer}  # fmt: skip
    with log.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
