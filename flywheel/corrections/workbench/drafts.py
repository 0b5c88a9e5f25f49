"""Drafts: what a person has typed and not yet submitted, so that a crash, a closed tab or a lost lease costs nothing.

A table beside the event log, overwritten freely: drafts are nobody's evidence. `EventStore` is to offer the same three
functions; then this file goes.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_SCHEMA = """
CREATE TABLE IF NOT EXISTS drafts (batch TEXT, item_id TEXT, actor TEXT, payload TEXT NOT NULL, at TEXT NOT NULL,
    PRIMARY KEY (batch, item_id, actor));
CREATE TABLE IF NOT EXISTS grades (week TEXT, output TEXT, grader TEXT, grade TEXT NOT NULL, note TEXT NOT NULL, at TEXT NOT NULL,
    PRIMARY KEY (week, output, grader));
CREATE TABLE IF NOT EXISTS privacy_reports (batch TEXT, item_id TEXT, actor TEXT, note TEXT NOT NULL, at TEXT NOT NULL,
    PRIMARY KEY (batch, item_id));
"""


class Drafts:
    """Drafts, grades of evaluation outputs, and reports of personal data, of one workflow.

    Args:
        path: SQLite file; made when absent.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        with self._open() as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.executescript(_SCHEMA)

    def save_draft(self, batch: str, item_id: str, actor: str, payload: dict[str, Any]) -> None:
        """Keep a draft; the one before is gone."""
        with self._open() as connection:
            connection.execute("INSERT OR REPLACE INTO drafts VALUES (?, ?, ?, ?, ?)",
                               (batch, item_id, actor, json.dumps(payload, ensure_ascii=False), _now()))  # fmt: skip

    def draft(self, batch: str, item_id: str, actor: str) -> dict[str, Any] | None:
        """The draft somebody left on an item, or None."""
        with self._open() as connection:
            row = connection.execute(
                "SELECT payload FROM drafts WHERE batch = ? AND item_id = ? AND actor = ?", (batch, item_id, actor)
            ).fetchone()
        return json.loads(row[0]) if row else None

    def clear_draft(self, batch: str, item_id: str, actor: str) -> None:
        """Forget a draft that was submitted."""
        with self._open() as connection:
            connection.execute(
                "DELETE FROM drafts WHERE batch = ? AND item_id = ? AND actor = ?", (batch, item_id, actor)
            )

    def touched(self, batch: str, item_id: str, actor: str) -> str:
        """When the draft was last saved (ISO 8601, UTC); empty without one. A lease runs from the last input."""
        with self._open() as connection:
            row = connection.execute(
                "SELECT at FROM drafts WHERE batch = ? AND item_id = ? AND actor = ?", (batch, item_id, actor)
            ).fetchone()
        return row[0] if row else ""

    def grade(self, week: str, output: str, grader: str, grade: str, note: str) -> bool:
        """Record a grade once; False when that person graded the output before."""
        with self._open() as connection:
            done = connection.execute("INSERT OR IGNORE INTO grades VALUES (?, ?, ?, ?, ?, ?)",
                                      (week, output, grader, grade, note, _now()))  # fmt: skip
            return bool(done.rowcount)

    def grades(self, week: str) -> list[tuple[str, str, str]]:
        """(output, grader, grade) of a week."""
        with self._open() as connection:
            return connection.execute("SELECT output, grader, grade FROM grades WHERE week = ?", (week,)).fetchall()

    def report(self, batch: str, item_id: str, actor: str, note: str) -> None:
        """Keep that somebody saw personal data in an item."""
        with self._open() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO privacy_reports VALUES (?, ?, ?, ?, ?)", (batch, item_id, actor, note, _now())
            )

    def reported(self, batch: str) -> set[str]:
        """Items in which somebody saw personal data."""
        with self._open() as connection:
            return {
                row[0] for row in connection.execute("SELECT item_id FROM privacy_reports WHERE batch = ?", (batch,))
            }

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self._path, timeout=30)
        try:
            connection.execute("PRAGMA synchronous=FULL")
            with connection:
                yield connection
        finally:
            connection.close()


def _now() -> str:
    return datetime.now(UTC).isoformat()
