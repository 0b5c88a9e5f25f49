"""A PostgreSQL server of a test's own, from Debian's package: in a temporary folder, on a unix socket, without any port."""

import getpass
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def postgres_tools() -> Path | None:
    """Folder of the newest installed server's programs, or None."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


@contextmanager
def postgres_server(user: str, password: str | None = None) -> Iterator[Path]:
    """Folder of the running server's socket; everybody is trusted, or with a password everybody needs one."""
    tools, root = postgres_tools(), getpass.getuser() == "root"
    assert tools is not None
    as_user = ["runuser", "-u", "postgres", "--"] if root else []
    folder = Path(tempfile.mkdtemp(prefix="fw-pg-"))  # short: a socket's path has 107 characters at most
    (folder / "password").write_text(password or "")
    if root:
        for path in (folder, folder / "password"):
            shutil.chown(path, "postgres", "postgres")

    def run(tool: str, *arguments: str) -> None:
        command = [*as_user, str(tools / tool), *arguments]
        done = subprocess.run(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        assert done.returncode == 0, f"{tool}: {done.stdout[-1500:]}"

    data, trust = folder / "data", ["-A", "trust"]
    asks = ["-A", "scram-sha-256", "--pwfile", str(folder / "password")]
    run("initdb", "-D", str(data), *(asks if password else trust), "-U", user, "--no-sync")
    options = f"-c listen_addresses='' -c unix_socket_directories='{folder}' -c shared_buffers=16MB"
    run("pg_ctl", "start", "-w", "-D", str(data), "-l", str(folder / "log"), "-o", options)
    try:
        yield folder
    finally:
        run("pg_ctl", "stop", "-m", "immediate", "-D", str(data))
        shutil.rmtree(folder, ignore_errors=True)
