"""Is this installation fit to turn a week? Each check says what is wrong and what to do."""

import importlib.util
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from flywheel.benchmark.cases import coverage, load_cases
from flywheel.errors import FlywheelError
from flywheel.settings import Settings
from flywheel.workflows.base_model import find_base_model
from flywheel.workflows.loader import find_pack, known_workflows

_GIB = 1 << 30
_HEAVY = ("torch", "transformers", "trl", "peft", "vllm")


class Check(NamedTuple):
    """One check: its name, whether it passed, what was found, and the remedy when it did not."""

    name: str
    ok: bool
    found: str
    remedy: str = ""


def doctor(settings: Settings) -> list[Check]:
    """All checks, in the order a newcomer should mend them."""
    checks = [_packages(), _memory(), _disk(settings.home), _threads(settings), _sqlite()]
    for name in known_workflows(settings.workflows()):
        if (settings.workflows() / name).is_dir():
            checks += [_pack(settings, name), _model(settings, name), _benchmark(settings, name)]
    return checks


def _packages() -> Check:
    missing = [name for name in _HEAVY if importlib.util.find_spec(name) is None]
    broken = [name for name in ("torchvision", "torchaudio", "torchcodec") if importlib.util.find_spec(name)]
    if broken:
        return Check(
            "packages",
            False,
            f"{', '.join(broken)} beside the CPU torch break transformers",
            f"pip uninstall {' '.join(broken)}",
        )
    return Check("packages", not missing, f"missing: {', '.join(missing)}" if missing else f"{', '.join(_HEAVY)} are there",
                 "make environment")  # fmt: skip


def _memory() -> Check:
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Check(
        "memory",
        free > 6 * _GIB,
        f"{free / _GIB:.1f} GiB free",
        "training and serving need about 6 GiB: stop something",
    )


def _disk(home: Path) -> Check:
    at = next(path for path in (home, *home.absolute().parents) if path.exists())
    free = shutil.disk_usage(at).free
    return Check(
        "disk",
        free > 5 * _GIB,
        f"{free / _GIB:.1f} GiB free at {at}",
        "free some space, or set FLYWHEEL_HOME elsewhere",
    )


def _threads(settings: Settings) -> Check:
    cores = len(os.sched_getaffinity(0))
    return Check(
        "threads",
        settings.threads <= cores,
        f"{settings.threads} threads on {cores} cores",
        f"set FLYWHEEL_THREADS={cores}",
    )


def _sqlite() -> Check:
    version = sqlite3.sqlite_version_info
    return Check(
        "sqlite", version >= (3, 35), f"SQLite {sqlite3.sqlite_version}", "use a Python built with SQLite 3.35 or newer"
    )


def _guarded(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name, True, look())
    except FlywheelError as error:
        return Check(name, False, f"{error.what} [{error.where}]", error.remedy)


def _pack(settings: Settings, workflow: str) -> Check:
    return _guarded(f"pack {workflow}", lambda: f"{len(find_pack(settings.workflows(), workflow).tools)} tools")


def _model(settings: Settings, workflow: str) -> Check:
    def look() -> str:
        name = settings.base_model or find_pack(settings.workflows(), workflow).settings.base_model
        return str(find_base_model(settings.models(), name).folder.name)

    return _guarded(f"base model of {workflow}", look)


def _benchmark(settings: Settings, workflow: str) -> Check:
    def look() -> str:
        pack = find_pack(settings.workflows(), workflow)
        cases = load_cases(pack.folder / "benchmark", pack.tools)
        missing = coverage(cases)
        if missing:
            raise FlywheelError(f"no {', '.join(missing)} cases", where=str(pack.folder / "benchmark"),
                                remedy="learn is refused until all four categories have cases")  # fmt: skip
        return f"{len(cases)} cases in four categories"

    return _guarded(f"benchmark of {workflow}", look)
