"""Who may use the workbench: named users with roles and scrypt-hashed passwords, in one file that only its owner reads.

Without the file the workbench serves loopback only, and a name alone signs in with every role: whoever is at the machine
can read the store anyway. That three passes are three people is the store's to enforce, with or without this file.
"""

import hashlib
import hmac
import json
import os
import re
import secrets
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from flywheel.corrections.workbench.role_log import RoleChange, RoleLog
from flywheel.corrections.workbench.rules import Refusal
from flywheel.errors import FlywheelError

ROLES = ("annotator", "reviewer", "adjudicator", "auditor", "grader", "lead")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")
_COST = {"n": 2**14, "r": 8, "p": 1}
MINIMUM_PASSWORD = 12


class Person(NamedTuple):
    """Who is signed in, and what they may do."""

    name: str
    roles: tuple[str, ...]


class People:
    """The users file.

    Args:
        file: `people.json` in the QA folder; absent until the first user is added.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self.log = RoleLog(file.with_name("role_changes.jsonl"))

    def exist(self) -> bool:
        """Whether anybody was named; then a password is needed, on loopback too."""
        return self._file.is_file()

    def names(self) -> dict[str, tuple[str, ...]]:
        """Name -> roles."""
        return {name: tuple(entry["roles"]) for name, entry in self._read().items()}

    def add(self, name: str, roles: list[str], password: str, *, by: str, reason: str = "") -> None:
        """Add a person, or give them new roles and a new password; raises FlywheelError on a bad name, role or password.

        Args:
            by: who does it, for the log of role changes; reason: why.
        """
        checked_name(name)
        if not roles or set(roles) - set(ROLES):
            raise FlywheelError(f"roles {', '.join(roles) or 'none'} are not known", where=name,
                                remedy=f"give some of: {', '.join(ROLES)}")  # fmt: skip
        if len(password) < MINIMUM_PASSWORD:
            raise FlywheelError(f"the password has under {MINIMUM_PASSWORD} characters", where=name,
                                remedy="choose a longer one, e.g. four random words")  # fmt: skip
        salt = secrets.token_hex(16)
        entry = {
            "roles": sorted(set(roles), key=ROLES.index),
            "salt": salt,
            **_COST,
            "hash": _hash(password, salt, _COST),
        }
        with self.log.alone():
            self._change(name, entry, by=by, reason=reason)

    def remove(self, name: str, *, by: str, reason: str = "") -> None:
        """Take a person off the file; raises FlywheelError when they are not on it."""
        with self.log.alone():
            users = self._read()
            if name not in users:
                raise FlywheelError(f"there is no user {name!r}", where=str(self._file),
                                    remedy=f"known: {', '.join(users) or 'none'}")  # fmt: skip
            self._change(name, None, by=by, reason=reason)

    def _change(self, name: str, entry: dict[str, Any] | None, *, by: str, reason: str) -> None:
        """Record the change, then make it: no role is in force that the log does not know."""
        users = self._read()
        before = users.pop(name, {}).get("roles", [])
        after = entry["roles"] if entry else []
        moment = datetime.now(UTC).isoformat()
        self.log.append(RoleChange(moment, by, name, tuple(before), tuple(after), entry is not None, reason))
        self._write({**users, name: entry} if entry else users)

    def sign_in(self, name: str, password: str) -> Person:
        """The person; raises Refusal W10 when name and password do not match (in the same time for unknown names)."""
        if not self.exist():
            try:
                return Person(checked_name(name), ROLES)
            except FlywheelError as error:
                raise Refusal("W10", error.what, remedy=error.remedy) from None
        entry = self._read().get(name)
        known = entry or {"salt": "00" * 16, **_COST, "hash": ""}
        if not hmac.compare_digest(_hash(password, known["salt"], known), known["hash"]) or entry is None:
            raise Refusal("W10")
        return Person(name, tuple(entry["roles"]))

    def current(self, name: str) -> Person | None:
        """Somebody who signed in before, with the roles they have now; None when they were removed."""
        if not self.exist():
            return Person(name, ROLES)
        entry = self._read().get(name)
        return Person(name, tuple(entry["roles"])) if entry else None

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            return json.loads(self._file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise FlywheelError(f"the users file is damaged: {error}", where=str(self._file),
                                remedy="restore it, or remove it and add the users again") from None  # fmt: skip

    def _write(self, users: dict[str, Any]) -> None:
        write_private(self._file, json.dumps(users, indent=1).encode())


def checked_name(name: str) -> str:
    """The name, or FlywheelError: it becomes an actor in the event log, where `system` and simulated people have theirs."""
    if not _NAME.fullmatch(name) or name.lower() == "system" or name.lower().startswith("simulated-"):
        raise FlywheelError(
            "that is no usable name", remedy="use letters, digits and . _ @ + - (not system, not simulated-)"
        )
    return name


def write_private(file: Path, content: bytes) -> None:
    """Write a file that only its owner reads, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=file.parent)  # made with mode 0600
    with os.fdopen(handle, "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    os.replace(partial, file)


def _hash(password: str, salt: str, cost: dict[str, Any]) -> str:
    made = hashlib.scrypt(password.encode(), salt=bytes.fromhex(salt), n=cost["n"], r=cost["r"], p=cost["p"], dklen=32)
    return made.hex()
