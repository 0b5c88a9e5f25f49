"""The store's tests run on SQLite, and as slow tests on a real PostgreSQL server from Debian's package."""

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from flywheel.corrections.events import EventStore
from flywheel_tests.postgres_server import postgres_server, postgres_tools


def _absent(why: str) -> None:
    """Skip with the reason, or fail where a continuous integration says that all services must be there."""
    if os.environ.get("FLYWHEEL_REQUIRE_SERVICES") == "1":
        pytest.fail(why)
    pytest.skip(why)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """URL of a server of its own, on a unix socket in a temporary folder, without the database's name."""
    if postgres_tools() is None:
        _absent("PostgreSQL is not installed: apt-get install postgresql")
    with postgres_server("flywheel") as folder:
        yield f"postgresql+psycopg2://flywheel@/{{}}?host={folder}"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """Where a store may lie: a new file, or a new database."""
    if request.param == "sqlite":
        return tmp_path / "qa" / "desk.sqlite"
    from sqlalchemy import create_engine

    url, name = request.getfixturevalue("postgres"), f"t{uuid4().hex[:12]}"
    with create_engine(url.format("postgres"), isolation_level="AUTOCOMMIT").connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    return url.format(name)


@pytest.fixture
def store(location: Path | str) -> EventStore:
    return EventStore(location)
