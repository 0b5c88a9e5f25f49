"""The vault: keys and originals, outside the lake.

A person is known to the lake by a keyed HMAC alone. What redaction takes out is kept here, encrypted under a key of that person's
own, so destroying the key erases it. Folder mode 0700, files 0600; it is never copied with the lake.
"""

import hashlib
import hmac
import os
import secrets
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

_SCHEMA = """
CREATE TABLE IF NOT EXISTS subject_keys (principal_ref TEXT PRIMARY KEY, key BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS originals (
    principal_ref TEXT NOT NULL, kind TEXT NOT NULL, surrogate TEXT NOT NULL, sealed BLOB NOT NULL,
    PRIMARY KEY (principal_ref, surrogate));
"""
# One tombstone an erasure; the same person may be erased twice. Who did it was not recorded before there was `actor`.
_TOMBSTONES = """
CREATE TABLE IF NOT EXISTS erasures (
    principal_ref TEXT NOT NULL, at TEXT NOT NULL, reason TEXT NOT NULL, counts TEXT NOT NULL, actor TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS erasures_of ON erasures (principal_ref);
CREATE TRIGGER IF NOT EXISTS tombstones_are_final BEFORE UPDATE ON erasures BEGIN SELECT RAISE(ABORT, 'tombstones are final'); END;
CREATE TRIGGER IF NOT EXISTS tombstones_stay BEFORE DELETE ON erasures BEGIN SELECT RAISE(ABORT, 'tombstones are final'); END;
"""
_OLDER = f"""
BEGIN IMMEDIATE;
ALTER TABLE erasures RENAME TO erasures_without_actor;
{_TOMBSTONES}
INSERT INTO erasures SELECT principal_ref, at, reason, counts, '' FROM erasures_without_actor;
DROP TABLE erasures_without_actor;
COMMIT;
"""
UNKNOWN = "-"  # subject of originals found where no person is named


class Original(NamedTuple):
    """One value redaction took out: whose, what kind, what stands in its place, and the value."""

    principal_ref: str
    kind: str
    surrogate: str
    value: str


class Tombstone(NamedTuple):
    """One erasure: the pseudonym, when (UTC, ISO 8601), why, row counts by workflow and table as JSON, and who did it."""

    principal_ref: str
    at: str
    reason: str
    counts: str
    by: str


class Vault:
    """Keys and originals of one installation; made with its key when absent.

    Args:
        folder: where it lies, outside the lake.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self._key = self._read_key()
        self._refs: dict[str, str] = {}
        self._erased: frozenset[str] | None = None

    def _read_key(self) -> bytes:
        file = self.folder / "pseudonym.key"
        if not file.is_file():
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            temporary = file.with_name(f".{file.name}.{os.getpid()}")
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(secrets.token_bytes(32))
            try:
                os.link(temporary, file)  # the first of several processes wins, whole
            except FileExistsError:
                pass
            temporary.unlink()
        return file.read_bytes()

    def principal_ref(self, principal: str) -> str:
        """The person's pseudonym: 24 hex digits of a keyed HMAC-SHA256."""
        known = self._refs.get(principal)
        if known is None:
            if len(self._refs) > 500_000:
                self._refs.clear()
            known = self._refs[principal] = self.digest("principal", principal)[:24]
        return known

    def digest(self, kind: str, value: str) -> str:
        """Keyed hash of a value, 64 hex digits: the same value has the same surrogate everywhere in this installation."""
        return hmac.digest(self._key, f"{kind}\0{value}".encode("utf-8", "surrogatepass"), hashlib.sha256).hex()

    def _connect(self) -> sqlite3.Connection:
        file = self.folder / "vault.sqlite"
        new = not file.exists()
        connection = sqlite3.connect(file, timeout=60)
        if new:
            file.chmod(0o600)
        connection.execute("PRAGMA secure_delete=ON")
        connection.executescript(_SCHEMA)
        columns = {row[1] for row in connection.execute("PRAGMA table_info(erasures)")}
        connection.executescript(_OLDER if columns and "actor" not in columns else _TOMBSTONES)
        return connection

    def keep(self, originals: Iterable[Original]) -> None:
        """Seal originals under their persons' keys; what is known already stays."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        rows = list(originals)
        if not rows:
            return
        connection = self._connect()
        try:
            with connection:
                keys: dict[str, bytes] = {}
                for ref in dict.fromkeys(row.principal_ref for row in rows):
                    connection.execute(
                        "INSERT OR IGNORE INTO subject_keys VALUES (?, ?)", (ref, secrets.token_bytes(32))
                    )
                    found = connection.execute(
                        "SELECT key FROM subject_keys WHERE principal_ref = ?", (ref,)
                    ).fetchone()
                    keys[ref] = found[0]
                sealed = []
                for row in rows:
                    nonce = secrets.token_bytes(12)
                    text = row.value.encode("utf-8", "surrogatepass")
                    sealed.append((row.principal_ref, row.kind, row.surrogate,
                                   nonce + AESGCM(keys[row.principal_ref]).encrypt(nonce, text, None)))  # fmt: skip
                connection.executemany("INSERT OR IGNORE INTO originals VALUES (?, ?, ?, ?)", sealed)
        finally:
            connection.close()

    def originals(self, principal_ref: str) -> list[Original]:
        """What was taken out of a person's runs; empty once their key is destroyed."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        connection = self._connect()
        try:
            key = connection.execute(
                "SELECT key FROM subject_keys WHERE principal_ref = ?", (principal_ref,)
            ).fetchone()
            rows = connection.execute(
                "SELECT kind, surrogate, sealed FROM originals WHERE principal_ref = ? ORDER BY surrogate",
                (principal_ref,),
            ).fetchall()
        finally:
            connection.close()
        if key is None:
            return []
        return [
            Original(principal_ref, kind, surrogate, AESGCM(key[0]).decrypt(sealed[:12], sealed[12:], None).decode("utf-8", "surrogatepass"))
            for kind, surrogate, sealed in rows
        ]  # fmt: skip

    def destroy(self, principal_ref: str, *, at: str, reason: str, counts: str, by: str) -> None:
        """Destroy a person's key and originals and leave a tombstone; their later records are refused at the inbox."""
        connection = self._connect()
        try:
            with connection:
                connection.execute("DELETE FROM subject_keys WHERE principal_ref = ?", (principal_ref,))
                connection.execute("DELETE FROM originals WHERE principal_ref = ?", (principal_ref,))
                connection.execute(
                    "INSERT INTO erasures VALUES (?, ?, ?, ?, ?)", (principal_ref, at, reason, counts, by)
                )
            connection.execute("VACUUM")
        finally:
            connection.close()
        self._erased = None

    def erased(self) -> frozenset[str]:
        """Pseudonyms of everyone who was erased."""
        if self._erased is None:
            if not (self.folder / "vault.sqlite").is_file():
                return frozenset()
            connection = self._connect()
            try:
                self._erased = frozenset(row[0] for row in connection.execute("SELECT principal_ref FROM erasures"))
            finally:
                connection.close()
        return self._erased

    def tombstones(self) -> list[Tombstone]:
        """Every erasure, oldest first."""
        connection = self._connect()
        try:
            rows = connection.execute("SELECT principal_ref, at, reason, counts, actor FROM erasures ORDER BY at")
            return [Tombstone(*row) for row in rows]
        finally:
            connection.close()
