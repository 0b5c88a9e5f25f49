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
from flywheel.operations.family_checks import check_model_fits, check_served, check_template
from flywheel.settings import Settings
from flywheel.workflows.base_model import BaseModel, find_base_model
from flywheel.workflows.loader import find_pack, known_workflows
from flywheel.workflows.pack import Pack

_GIB = 1 << 30
_HEAVY = ("torch", "transformers", "trl", "peft", "vllm")


class Check(NamedTuple):
    """One check: its name, whether it passed, what was found, and the remedy when it did not."""

    name: str
    ok: bool
    found: str
    remedy: str = ""


def doctor(settings: Settings, workflow: str | None = None, *, serve: bool = False) -> list[Check]:
    """All checks, in the order a newcomer should mend them; of one workflow, or of every one there is.

    With `serve`, vLLM is started on each workflow's base model, and what it reads is compared with what is trained.
    """
    checks = [_packages(), _memory(), _disk(settings.home), _threads(settings), _sqlite()]
    for name in [workflow] if workflow else known_workflows(settings.workflows()):
        if workflow or (settings.workflows() / name).is_dir():
            checks += [_pack(settings, name), *_family(settings, name), _benchmark(settings, name)]
            checks += [_served(settings, name)] if serve else []
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


def _base(settings: Settings, pack: Pack) -> BaseModel:
    return find_base_model(settings.models(), settings.base_model or pack.settings.base_model)


def _family(settings: Settings, workflow: str) -> list[Check]:
    def template() -> str:
        return check_template(find_pack(settings.workflows(), workflow))

    def model() -> str:
        pack = find_pack(settings.workflows(), workflow)
        base = _base(settings, pack)
        return f"{base.folder.name}: {check_model_fits(pack, base)}"

    return [_guarded(f"model family of {workflow}", template), _guarded(f"base model of {workflow}", model)]


def _served(settings: Settings, workflow: str) -> Check:
    def look() -> str:
        pack = find_pack(settings.workflows(), workflow)
        return check_served(settings, pack, _base(settings, pack))

    return _guarded(f"serving of {workflow}", look)


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
