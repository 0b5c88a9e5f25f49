"""Where the QA store's tables lie: an SQLite file in WAL mode, or a PostgreSQL schema by URL, behind one small interface.

Statements are written once, with `?` for values. A writing transaction excludes all others (BEGIN IMMEDIATE, an advisory lock),
so that the hash chain has one end; readers are never held up.
"""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from flywheel.corrections.tables import SCHEMA_VERSION, postgres_schema, sqlite_schema
from flywheel.errors import FlywheelError

MEMORY = ":memory:"
_SCHEMA = "flywheel_qa"
_LOCK = 4_713_907_021  # any number, the same in all processes
_COMPLAINTS = "look at the database's own log, then try again: what was not confirmed was not written"


class Rows(Protocol):
    """What a statement gives back."""

    @property
    def rowcount(self) -> int:
        """Rows an UPDATE or DELETE touched."""
        ...

    def fetchone(self) -> Any:
        """Next row, or None."""
        ...

    def fetchall(self) -> Sequence[Any]:
        """All rows."""
        ...


class Connection(Protocol):
    """One transaction."""

    def execute(self, statement: str, values: Sequence[Any] = (), /) -> Rows:
        """Run one statement with `?` for each value."""
        ...


class Database(Protocol):
    """A place for the store's tables."""

    where: str

    def write(self) -> Any:
        """Context manager of a transaction that excludes other writers; gives a Connection."""
        ...

    def read(self) -> Any:
        """Context manager of a reading transaction; gives a Connection."""
        ...

    def shred(self) -> None:
        """Rewrite the files so that blanked payloads leave no bytes behind."""
        ...


def open_database(location: Path | str, *, durable: bool = True) -> Database:
    """The database at a file, at a `postgresql+psycopg2://` URL, or `:memory:` for tests; tables are made when absent.

    Args:
        durable: False skips fsync, for tests and simulations that may lose their last second.

    Raises FlywheelError for another scheme, or when the database cannot be reached.
    """
    if isinstance(location, str) and "://" in location:
        return _postgres(location)
    return _Sqlite(location, durable)


class _Sqlite:
    """An SQLite file; connections are kept, so that the write-ahead log is not folded in after each transaction."""

    def __init__(self, location: Path | str, durable: bool) -> None:
        self.where, self._file, self._memory = str(location), Path(location), str(location) == MEMORY
        self._pragma = f"PRAGMA synchronous={'FULL' if durable else 'OFF'}"
        self._idle: list[sqlite3.Connection] = []
        self._alone = threading.RLock()
        if not self._memory:
            self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._connection() as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            old = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'events'").fetchone()
            if old and version != SCHEMA_VERSION:
                raise FlywheelError(f"the QA store has format {version}, this program writes {SCHEMA_VERSION}", where=self.where,
                                    remedy="move the file away and run collect again, or use the program that wrote it")  # fmt: skip
            if not old:
                connection.executescript(sqlite_schema())

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with self._alone:
            held = self._idle.pop() if self._idle else None
        connection = held or sqlite3.connect(self.where, timeout=30, isolation_level=None, check_same_thread=False)
        if held is None:
            connection.execute("PRAGMA foreign_keys=ON")
            connection.execute(self._pragma)  # FULL: what was confirmed survives a power cut
        try:
            yield connection
        finally:
            self._idle.append(connection)

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Connection]:
        if self._memory:
            self._alone.acquire()
        try:
            with self._connection() as connection:
                try:
                    connection.execute(begin)
                    yield connection
                    connection.execute("COMMIT")
                except BaseException:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise
        except sqlite3.OperationalError as error:
            raise FlywheelError(
                f"the QA store does not answer: {error}", where=self.where, remedy=_COMPLAINTS
            ) from error
        finally:
            if self._memory:
                self._alone.release()

    def write(self) -> Any:
        return self._transaction("BEGIN IMMEDIATE")

    def read(self) -> Any:
        return self._transaction("BEGIN")

    def shred(self) -> None:
        from flywheel.privacy.erasure import compact  # it brings the lake along, which a partner's bench does without

        if not self._memory:
            compact(self._file)


class _Statements:
    """A PostgreSQL transaction that reads `?` as SQLite does."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def execute(self, statement: str, values: Sequence[Any] = (), /) -> Rows:
        return self._connection.exec_driver_sql(statement.replace("?", "%s"), tuple(values) or None)


class _Postgres:
    """A PostgreSQL database; its pool asks each connection whether it lives before it hands it out."""

    def __init__(self, url: str) -> None:
        from sqlalchemy import create_engine, make_url

        self.where = make_url(url).render_as_string(hide_password=True)
        options = {"options": f"-csearch_path={_SCHEMA}", "connect_timeout": 10}
        self._engine = create_engine(url, pool_pre_ping=True, pool_size=4, max_overflow=16, connect_args=options)
        with self._transaction(True) as connection:
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {_SCHEMA}")
            connection.execute(postgres_schema())

    @contextmanager
    def _transaction(self, alone: bool) -> Iterator[Connection]:
        from sqlalchemy.exc import InterfaceError, OperationalError

        try:
            with self._engine.begin() as connection:
                if alone:
                    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
                yield _Statements(connection)
        except (InterfaceError, OperationalError) as error:
            said = str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else type(error).__name__
            raise FlywheelError(
                f"the QA store does not answer: {said}", where=self.where, remedy=_COMPLAINTS
            ) from error

    def write(self) -> Any:
        return self._transaction(True)

    def read(self) -> Any:
        return self._transaction(False)

    def shred(self) -> None:
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM FULL events")
            connection.exec_driver_sql("VACUUM FULL drafts")


@lru_cache(maxsize=8)
def _postgres(url: str) -> _Postgres:
    """One pool for each URL and process."""
    if not url.startswith("postgresql+psycopg2://"):
        scheme = url.split("://", 1)[0]
        raise FlywheelError(f"a QA store cannot lie at {scheme}://", where="FLYWHEEL_QA_STORE",
                            remedy="use postgresql+psycopg2://user@host/database, or leave it empty for an SQLite file")  # fmt: skip
    return _Postgres(url)
