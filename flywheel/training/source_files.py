"""The files that train, found by following imports: what a job folder carries of this package. No torch here."""

import ast
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import flywheel

# The processes of a training: the runner, both stages, what is measured afterwards, and the canary's witness.
ENTRY_POINTS = (
    "flywheel.training.elsewhere", "flywheel.training.__main__", "flywheel.training.sft", "flywheel.training.preference",
    "flywheel.training.forgetting", "flywheel.serving.reference",
)  # fmt: skip
_DATA = ("training/general_texts.jsonl",)
_ROOT = Path(flywheel.__file__).parent


class Sources(NamedTuple):
    """Files of this package, relative to it, and the other packages that they import anywhere."""

    files: list[Path]
    packages: set[str]


def training_sources(entry_points: Iterable[str] = ENTRY_POINTS) -> Sources:
    """All modules that the entry points import, directly or not, the packages around them, and the data they read."""
    seen: dict[str, Path] = {}
    packages: set[str] = set()
    open_modules = list(entry_points)
    while open_modules:
        name = open_modules.pop()
        file = _file_of(name)
        if name in seen or file is None:
            continue
        seen[name] = file
        open_modules += [name.rpartition(".")[0]]
        for imported in _imports(file):
            if imported.split(".")[0] == "flywheel":
                open_modules.append(imported)
            elif imported.split(".")[0] not in sys.stdlib_module_names:
                packages.add(imported.split(".")[0])
    files = [file.relative_to(_ROOT) for file in seen.values()]
    return Sources(sorted({*files, *map(Path, _DATA)}), packages)


def _imports(file: Path) -> list[str]:
    """Names that a file imports; of `from a import b` both a and a.b, which may be a module."""
    found: list[str] = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return found


def _file_of(module: str) -> Path | None:
    """The file of one of our modules; None for a name that is none."""
    if module.split(".")[0] != "flywheel":
        return None
    path = _ROOT.joinpath(*module.split(".")[1:])
    found = [file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()]
    return found[0] if found else None
