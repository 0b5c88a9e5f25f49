"""Forgetting: a table's old files and its old log, after rows were taken out, so that nothing of them stays on disk.

Delta keeps deleted rows twice over: in data files that only `vacuum` removes, and in the log, whose entries hold minima and maxima
of text columns and never go away by themselves within the retention time. History before the newest version is given up.
"""

from pathlib import Path

from deltalake import DeltaTable


def scrub(folder: Path) -> int:
    """Remove everything but the newest version of a table; returns the number of files removed. Versions keep counting."""
    before = {path for path in folder.rglob("*") if path.is_file()}
    table = DeltaTable(str(folder))
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    table = DeltaTable(str(folder))
    table.create_checkpoint()
    log = folder / "_delta_log"
    newest = f"{table.version():020d}"
    for path in log.iterdir():
        number = path.name.split(".")[0]
        # The commit of the newest version stays beside its checkpoint: readers look for it.
        if number.isdigit() and number < newest:
            path.unlink()
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and path != log and not any(path.iterdir()):
            path.rmdir()
    return len(before - {path for path in folder.rglob("*") if path.is_file()})
