"""Is this installation fit to turn a week? Each check says what is wrong and what to do."""

import importlib.util
import os
import sqlite3
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from flywheel.benchmark.cases import coverage
from flywheel.benchmark.lint.run import lint
from flywheel.errors import FlywheelError
from flywheel.lake.place import check_bucket, checked, is_remote
from flywheel.operations.backup import known_backups
from flywheel.operations.disk import disk
from flywheel.operations.family_checks import check_model_fits, check_served, check_template
from flywheel.parallel import map_shards
from flywheel.settings import Settings
from flywheel.workflows.base_model import BaseModel, find_base_model
from flywheel.workflows.guesses import open_guesses
from flywheel.workflows.loader import find_pack, known_workflows
from flywheel.workflows.pack import Pack

_GIB = 1 << 30
_ASKED = 8
_OLD_BACKUP_DAYS = 31
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
    names = [workflow] if workflow else known_workflows(settings.workflows())
    names = [name for name in names if workflow or (settings.workflows() / name).is_dir()]
    checks = [
        _packages(needed_packages(settings, names)),
        _memory(),
        _disk(settings),
        _backup(settings),
        _threads(settings),
        _sqlite(),
        *_lake(settings),
        *_ray(settings),
    ]
    for name in names:
        checks += [_pack(settings, name), *_family(settings, name), _benchmark(settings, name)]
        checks += [_served(settings, name)] if serve else []
    return checks


def needed_packages(settings: Settings, names: Sequence[str]) -> list[str]:
    """Heavy packages that some pack needs on this machine, by who trains and who serves; all of them before there is a pack that loads."""
    needed: set[str] = set()
    for name in names:
        try:
            own = find_pack(settings.workflows(), name).settings
        except FlywheelError:
            return list(_HEAVY)
        needed |= {one for one in _HEAVY if one != "vllm"} if own.trainer == "here" else set()
        needed |= {one for one in _HEAVY if one != "trl"} if own.serving == "here" else set()
    return [one for one in _HEAVY if one in needed or not names]


def _packages(needed: Sequence[str]) -> Check:
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    broken = [name for name in ("torchvision", "torchaudio", "torchcodec") if importlib.util.find_spec(name)]
    if broken:
        return Check(
            "packages",
            False,
            f"{', '.join(broken)} beside the CPU torch break transformers",
            f"pip uninstall {' '.join(broken)}",
        )
    return Check("packages", not missing, f"missing: {', '.join(missing)}" if missing else f"{', '.join(needed)} are there" if needed else "no pack trains or serves here",
                 "make environment")  # fmt: skip


def _memory() -> Check:
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Check(
        "memory",
        free > 6 * _GIB,
        f"{free / _GIB:.1f} GiB free",
        "training and serving need about 6 GiB: stop something",
    )


def _disk(settings: Settings) -> Check:
    found = disk(settings)
    return Check(
        "disk",
        found.free > 5 * _GIB and not found.over(),
        found.sentence(),
        "see what may go: flywheel prune --dry-run; or raise FLYWHEEL_DISK_BUDGET_GIB, free some space, or set FLYWHEEL_HOME elsewhere",
    )


def _backup(settings: Settings) -> Check:
    known = known_backups(settings)
    if not known:
        return Check("backup", True, "none is known: flywheel backup FOLDER makes one while the house works")
    newest = known[-1]
    days = (datetime.now(UTC) - datetime.fromisoformat(newest["made_at"])).days
    return Check(
        "backup",
        days <= _OLD_BACKUP_DAYS,
        f"the newest is {days} days old: {newest['folder']}",
        "flywheel backup FOLDER",
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


def _lake(settings: Settings) -> list[Check]:
    """A lake in a bucket: whether it answers, and keeps two commits apart. Nothing to say of a folder."""
    root = settings.lake()
    return [_guarded("lake", lambda: check_bucket(checked(root)))] if is_remote(root) else []


def _ray(settings: Settings) -> list[Check]:
    """Where Ray is to work on shards: whether it answers, and its workers see the folder they are to write to."""

    def look() -> str:
        folder = settings.staging().absolute()
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(prefix=".doctor-", dir=folder) as file:
            seen = list(map_shards(os.path.exists, [file.name] * _ASKED, settings.workers(2), what="asking Ray"))
        if not all(seen):
            raise FlywheelError(f"{seen.count(False)} of {_ASKED} tasks on Ray do not see the staging folder", where=str(folder),
                                remedy="mount it on every machine of the cluster, at this path (docs/scale-out.md)")  # fmt: skip
        return f"{settings.ray_address or 'a Ray of this machine'} answers; its workers see {folder}"

    return [_guarded("ray", look)] if settings.executor == "ray" else []


def _guarded(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name, True, look())
    except FlywheelError as error:
        return Check(name, False, f"{error.what} [{error.where}]", error.remedy)


def _pack(settings: Settings, workflow: str) -> Check:
    def look() -> str:
        pack = find_pack(settings.workflows(), workflow)
        waiting = len(open_guesses(pack.folder))
        return f"{len(pack.tools)} tools" + (
            f", {waiting} guesses unconfirmed: flywheel pack check {workflow}" if waiting else ""
        )

    return _guarded(f"pack {workflow}", look)


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
        cases, findings = lint(pack)
        errors = [finding for finding in findings if finding.level == "error"]
        if errors:
            raise FlywheelError(f"{len(errors)} errors, the first: {errors[0].message}", where=str(pack.folder / "benchmark"),
                                remedy=f"flywheel benchmark lint --workflow {workflow} names all")  # fmt: skip
        missing = coverage(cases)
        if missing:
            raise FlywheelError(f"no {', '.join(missing)} cases", where=str(pack.folder / "benchmark"),
                                remedy="learn is refused until all four categories have cases")  # fmt: skip
        return f"{len(cases)} cases in four categories"

    return _guarded(f"benchmark of {workflow}", look)
