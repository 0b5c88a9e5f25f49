"""The store's tests run on SQLite, and as slow tests on a real PostgreSQL server from Debian's package."""

import getpass
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from flywheel.corrections.events import EventStore


def _absent(why: str) -> None:
    """Skip with the reason, or fail where a continuous integration says that all services must be there."""
    if os.environ.get("FLYWHEEL_REQUIRE_SERVICES") == "1":
        pytest.fail(why)
    pytest.skip(why)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """URL of a server of its own, on a unix socket in a temporary folder, without the database's name."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        _absent("PostgreSQL is not installed: apt-get install postgresql")
    tools, root = found[-1].parent, getpass.getuser() == "root"
    as_user = ["runuser", "-u", "postgres", "--"] if root else []
    folder = Path(tempfile.mkdtemp(prefix="fw-pg-"))  # short: a socket's path has 107 characters at most
    if root:
        shutil.chown(folder, "postgres", "postgres")

    def run(tool: str, *arguments: str) -> None:
        command = [*as_user, str(tools / tool), *arguments]
        done = subprocess.run(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        assert done.returncode == 0, f"{tool}: {done.stdout[-1500:]}"

    data = folder / "data"
    run("initdb", "-D", str(data), "-A", "trust", "-U", "flywheel", "--no-sync")
    options = f"-c listen_addresses='' -c unix_socket_directories='{folder}' -c shared_buffers=16MB"
    run("pg_ctl", "start", "-w", "-D", str(data), "-l", str(folder / "log"), "-o", options)
    try:
        yield f"postgresql+psycopg2://flywheel@/{{}}?host={folder}"
    finally:
        run("pg_ctl", "stop", "-m", "immediate", "-D", str(data))
        shutil.rmtree(folder, ignore_errors=True)


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
