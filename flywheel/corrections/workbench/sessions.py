"""Sessions: a signed cookie that says who is there, and a token that every changing request must repeat.

The key lies in the QA folder, readable by its owner alone. No session is stored: signing everybody out is removing the
key. Cookies are HttpOnly and SameSite=Strict; the token is bound to the session by the same key.
"""

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from pathlib import Path
from typing import NamedTuple

from flywheel.corrections.workbench.people import write_private
from flywheel.corrections.workbench.rules import Refusal

COOKIE = "flywheel_workbench"
LIFETIME_SECONDS = 12 * 3600
_ATTEMPTS, _WINDOW_SECONDS = 5, 60.0


class Session(NamedTuple):
    """One signed-in browser; `name` is empty before anybody signed in."""

    identity: str
    name: str
    since: int


class Sessions:
    """Makes and reads the cookies.

    Args:
        key_file: made with a new random key when absent.
    """

    def __init__(self, key_file: Path) -> None:
        if not key_file.is_file():
            write_private(key_file, secrets.token_bytes(32))
        self._key = key_file.read_bytes()

    def new(self, name: str = "") -> Session:
        """A fresh session; signing in never keeps an identity that stood in a browser before."""
        return Session(secrets.token_urlsafe(18), name, int(time.time()))

    def cookie(self, session: Session) -> str:
        """The session as a cookie's value."""
        body = base64.urlsafe_b64encode(json.dumps(session).encode()).decode().rstrip("=")
        return f"{body}.{self._sign('session', body)}"

    def read(self, cookie: str | None) -> Session | None:
        """The session, or None when the cookie is missing, forged or too old."""
        body, _, signature = (cookie or "").partition(".")
        if not body or not hmac.compare_digest(self._sign("session", body), signature):
            return None
        session = Session(*json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))))
        return session if 0 <= time.time() - session.since < LIFETIME_SECONDS else None

    def token(self, session: Session) -> str:
        """The CSRF token of a session."""
        return self._sign("csrf", f"{session.identity}|{session.name}")

    def check_token(self, session: Session, token: str) -> None:
        """Raise Refusal W04 unless the token is the session's."""
        if not hmac.compare_digest(self.token(session).encode(), token.encode(errors="replace")):
            raise Refusal("W04")

    def secret(self, purpose: str) -> str:
        """A secret derived from the key, for names that must not be guessed."""
        return self._sign("secret", purpose)

    def _sign(self, purpose: str, text: str) -> str:
        return hmac.new(self._key, f"{purpose}|{text}".encode(), hashlib.sha256).hexdigest()


class Attempts:
    """Slows down guessing: after five failures of a name within a minute, no more are looked at until one is older."""

    def __init__(self) -> None:
        self._failed: dict[str, list[float]] = {}
        self._lock = threading.Lock()

    def check(self, name: str) -> None:
        """Raise Refusal W11 when the name failed too often."""
        with self._lock:
            now = time.monotonic()
            recent = [moment for moment in self._failed.get(name, []) if now - moment < _WINDOW_SECONDS]
            self._failed[name] = recent
            if len(recent) >= _ATTEMPTS:
                raise Refusal("W11")

    def failed(self, name: str) -> None:
        """Note a failure."""
        with self._lock:
            if len(self._failed) > 10_000:
                self._failed.clear()
            self._failed.setdefault(name, []).append(time.monotonic())
