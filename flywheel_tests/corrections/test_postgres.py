"""Slow: what only a server can do to us: connections that die. The store's other tests run on it in test_events.py."""

import pytest
from sqlalchemy import create_engine

from flywheel.corrections.events import EventStore
from flywheel.corrections.states import Event
from flywheel.errors import FlywheelError
from flywheel_tests.corrections.stores import accept
from flywheel_tests.corrections.test_events import opened

pytestmark = pytest.mark.slow


@pytest.fixture
def location(postgres: str) -> str:
    with create_engine(postgres.format("postgres"), isolation_level="AUTOCOMMIT").connect() as connection:
        connection.exec_driver_sql("DROP DATABASE IF EXISTS killed WITH (FORCE)")
        connection.exec_driver_sql("CREATE DATABASE killed")
    return postgres.format("killed")


def _kill(postgres: str) -> int:
    with create_engine(postgres.format("postgres"), isolation_level="AUTOCOMMIT").connect() as connection:
        asked = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'killed'"
        return len(connection.exec_driver_sql(asked).fetchall())


def test_killed_connections_lose_nothing_confirmed_and_the_next_request_works(postgres: str, location: str):
    store = EventStore(location)
    batch = opened(store)
    accept(store, batch, "i")
    before = store.verify_chain()
    assert _kill(postgres) >= 1
    assert store.append(batch, Event("j", "claim", "ann")).status == "claimed", "a new connection was made"
    with pytest.raises(FlywheelError, match="does not answer"):
        with store.database.write() as connection:
            connection.execute("INSERT INTO bars VALUES ('j', 'x', 'annotator')")
            _kill(postgres)
            connection.execute("SELECT 1")
    with store.database.read() as connection:
        assert connection.execute("SELECT COUNT(*) FROM bars WHERE actor = 'x'").fetchone()[0] == 0
    assert store.verify_chain() == before + 1


def test_a_server_that_is_not_there_is_said_so():
    with pytest.raises(FlywheelError, match="does not answer"):
        EventStore("postgresql+psycopg2://nobody@127.0.0.1:1/none")
