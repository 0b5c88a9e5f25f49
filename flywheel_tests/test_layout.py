"""The house: arrows point down, files stay small, and only one module writes Delta tables."""

import ast
from pathlib import Path

import flywheel

ROOT = Path(flywheel.__file__).parent
STAGES = ("traces", "failures", "corrections", "datasets", "training", "evaluation", "promotion", "report")
NOUNS = (
    "benchmark",
    "workflows",
    "toolcalls",
    "detectors",
    "chat",
    "similarity",
    "privacy",
    "statistics",
    "serving",
    "lake",
)


def imports(file: Path) -> set[str]:
    """Folders of flywheel that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        names = (
            [node.module]
            if isinstance(node, ast.ImportFrom) and node.module
            else [a.name for a in node.names]
            if isinstance(node, ast.Import)
            else []
        )
        found |= {name.split(".")[1] for name in names if name.startswith("flywheel.") and "." in name}
    return found


def test_no_stage_imports_another_and_nouns_import_no_stage():
    for folder in (*STAGES, *NOUNS):
        for file in (ROOT / folder).rglob("*.py"):
            upward = imports(file) & (
                set(STAGES) - ({folder} if folder in STAGES else set()) | {"defs", "cli", "demo", "operations"}
            )
            assert not upward, f"{file.relative_to(ROOT)} imports {upward}"


def test_nothing_imports_the_assets_but_the_definitions():
    for file in ROOT.rglob("*.py"):
        if "defs" not in file.relative_to(ROOT).parts:
            assert "defs" not in imports(file), file


def test_only_the_store_writes_delta_tables():
    writers = [
        file.relative_to(ROOT).as_posix() for file in ROOT.rglob("*.py") if "write_deltalake(" in file.read_text()
    ]
    assert writers == ["lake/store.py"]


def test_modules_have_a_charter_and_stay_under_three_hundred_lines():
    for file in ROOT.rglob("*.py"):
        text = file.read_text()
        assert ast.get_docstring(ast.parse(text)), file
        assert len(text.splitlines()) <= 300, f"{file}: {len(text.splitlines())} lines"
