"""Forgetting: a table's old files and its old log, after rows were taken out, so that nothing of them stays on disk.

Delta keeps deleted rows twice over: in data files that only `vacuum` removes, and in the log, whose entries hold minima and maxima
of text columns and never go away by themselves within the retention time. History before the newest version is given up.
"""

from pathlib import Path

from flywheel.lake.place import bucket, is_remote, open_table, reaching


def scrub(uri: str) -> int:
    """Remove everything but the newest version of a table; returns the number of files removed. Versions keep counting.

    A bucket that keeps old versions of its objects keeps what was removed here: see docs/deployment.md.
    """
    before = _files(uri)
    with reaching(uri):
        open_table(uri).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
        table = open_table(uri)
        table.create_checkpoint()
    newest = f"{table.version():020d}"
    # The commit of the newest version stays beside its checkpoint: readers look for it.
    log = [name for name in _files(uri) if name.startswith("_delta_log/")]
    old = [name for name in log if (number := name.split("/")[1].split(".")[0]).isdigit() and number < newest]
    _remove(uri, old)
    return len(before - _files(uri))


def _files(uri: str) -> set[str]:
    """Every file of a table, by its name below the table's address."""
    if is_remote(uri):
        with reaching(uri):
            return {one["path"] for found in bucket(uri).list() for one in found}
    return {path.relative_to(uri).as_posix() for path in Path(uri).rglob("*") if path.is_file()}


def _remove(uri: str, names: list[str]) -> None:
    if is_remote(uri):
        with reaching(uri):
            bucket(uri).delete(names)
        return
    for name in names:
        (Path(uri) / name).unlink()
    for path in sorted(Path(uri).rglob("*"), reverse=True):
        if path.is_dir() and path.name != "_delta_log" and not any(path.iterdir()):
            path.rmdir()
