"""Grades that people gave to evaluation outputs: a small table of the workbench's own, beside the event log.

No event of an item: a grade is about an output, and what promotes a model is `promotion`'s to read.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS grades (week TEXT, output TEXT, grader TEXT, grade TEXT NOT NULL, note TEXT NOT NULL, at TEXT NOT NULL,
    PRIMARY KEY (week, output, grader));
"""


class Grades:
    """The grades of one workflow.

    Args:
        path: SQLite file; made when absent.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        with self._open() as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.executescript(_SCHEMA)

    def grade(self, week: str, output: str, grader: str, grade: str, note: str) -> bool:
        """Record a grade once; False when that person graded the output before."""
        values = (week, output, grader, grade, note, datetime.now(UTC).isoformat())
        with self._open() as connection:
            done = connection.execute("INSERT OR IGNORE INTO grades VALUES (?, ?, ?, ?, ?, ?)", values)
            return bool(done.rowcount)

    def of_week(self, week: str) -> list[tuple[str, str, str]]:
        """(output, grader, grade) of a week."""
        with self._open() as connection:
            return connection.execute("SELECT output, grader, grade FROM grades WHERE week = ?", (week,)).fetchall()

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self._path, timeout=30)
        try:
            connection.execute("PRAGMA synchronous=FULL")
            with connection:
                yield connection
        finally:
            connection.close()
