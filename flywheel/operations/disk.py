"""What the house takes on disk, part by part, against its budget."""

import shutil
from pathlib import Path
from typing import NamedTuple

from flywheel.operations.backup import dagster_storage
from flywheel.operations.prune import folder_bytes
from flywheel.settings import Settings

GIB = 1 << 30


class Disk(NamedTuple):
    """Bytes by part, largest first; free bytes of the disk; the budget in bytes, None without one."""

    parts: list[tuple[str, int]]
    free: int
    budget: int | None

    def total(self) -> int:
        """Bytes of all parts."""
        return sum(size for _, size in self.parts)

    def over(self) -> bool:
        """Whether the house takes more than its budget."""
        return self.budget is not None and self.total() > self.budget

    def sentence(self) -> str:
        """For a terminal: the whole, against the budget, the largest parts, what is free."""
        largest = ", ".join(f"{name} {_gib(size)}" for name, size in self.parts[:4])
        of = f" of a budget of {_gib(self.budget)} ({self.total() / self.budget:.0%})" if self.budget else ""
        return f"{_gib(self.total())} GiB{of}: {largest}; {_gib(self.free)} GiB are free"


def disk(settings: Settings) -> Disk:
    """Walk the house; tables and Dagster's storage count as part of it where they lie in another folder."""
    sizes: dict[str, int] = {}
    for path in sorted(settings.home.iterdir()) if settings.home.is_dir() else []:
        name = path.name if path.is_dir() else "files"
        sizes[name] = sizes.get(name, 0) + (folder_bytes(path) if path.is_dir() else path.lstat().st_size)
    storage = dagster_storage()
    if storage.folder and not storage.folder.resolve().is_relative_to(settings.home.resolve()):
        sizes["dagster"] = sum(folder_bytes(storage.folder / name) for name in storage.names or (".",))
    lake = settings.lake()
    if isinstance(lake, Path) and not lake.resolve().is_relative_to(settings.home.resolve()):
        sizes["lake"] = folder_bytes(lake)
    at = next(path for path in (settings.home, *settings.home.absolute().parents) if path.exists())
    budget = int(settings.disk_budget_gib * GIB) if settings.disk_budget_gib else None
    return Disk(sorted(sizes.items(), key=lambda part: -part[1]), shutil.disk_usage(at).free, budget)


def _gib(size: int | None) -> str:
    return f"{(size or 0) / GIB:,.1f}"
