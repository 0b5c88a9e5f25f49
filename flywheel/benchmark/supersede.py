"""Cases whose tools changed: never edited, but superseded by a new case under a new id; the old one is retired and stays barred (design.md 8.12).

A tool that was renamed and has its successor in the pack's `datasets.tool_migrations` is carried over by itself; where arguments do not
fit the new schema, a person writes them.
"""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from flywheel.benchmark.cases import Case, case_content, parse_case
from flywheel.benchmark.drafts import EDIT, FOLDER, write_draft
from flywheel.benchmark.fingerprints import calls_in
from flywheel.benchmark.lint.answers import OUTDATED, answer_findings
from flywheel.benchmark.lint.calls import call_findings
from flywheel.errors import FlywheelError
from flywheel.toolcalls.schema_check import check_call, tool_names
from flywheel.workflows.pack import Pack

Values = dict[str, Any]


class Outdated(NamedTuple):
    """A case that today's tools have left behind, and why: `gone` tools, or a sentence on calls that they do not allow any more."""

    case: Case
    gone: list[str]
    problem: str


def listed_cases(folder: Path) -> list[Case]:
    """The cases of `folder/*.jsonl` that can be read, whatever tools they name; the loader says what is wrong with the others."""
    found = []
    for file in sorted(folder.glob("*.jsonl")):
        for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").split("\n"), 1):
            try:
                if line.strip():
                    found.append(parse_case(line, f"{file}:{number}"))
            except FlywheelError:
                continue
    return found


def outdated(case: Case, pack: Pack) -> Outdated | None:
    """Why a case does not fit the pack's tools of today, or None. Cases with tools of their own always fit."""
    if case.tools is not None:
        return None
    known = set(tool_names(pack.tools))
    gone = sorted(set(_expected(case)) - known | set(case.exercises.tools) - known)
    if gone:
        return Outdated(case, gone, f"{', '.join(gone)}: no tool of today")
    problems = [found.message for found in call_findings(case, pack.tools) if found.rule == "unsatisfiable_call"]
    problems += [found.message for found in answer_findings(case, pack) if found.rule in OUTDATED]
    if case.expectation.kind == "episode":
        for action in case.expectation.actions:
            problems += [
                f"{action.name}: {wrong.message}" for wrong in check_call(pack.tools, action.name, action.arguments)
            ]
    return Outdated(case, [], problems[0]) if problems else None


def _expected(case: Case) -> list[str]:
    expectation = case.expectation
    if expectation.kind == "call":
        return [call.name for call in expectation.calls]
    return [action.name for action in expectation.actions] if expectation.kind == "episode" else []


def propose(pack: Pack, ids: Iterable[str] | None = None, *, ready: bool = False) -> list[Path]:
    """Drafts that supersede the cases named, or all that are outdated and not drafted yet.

    Args:
        ready: call a draft ready at once where the pack's migrations carry the case over whole.

    Raises FlywheelError for an id that the pack does not list.
    """
    folder = pack.folder / "benchmark"
    listed = {case.id: case for case in listed_cases(folder)}
    chosen = list(ids or ())
    for unknown in (one for one in chosen if one not in listed):
        raise FlywheelError(
            f"the pack lists no case {unknown!r}", where=str(folder), remedy="take an id of benchmark/*.jsonl"
        )
    written = []
    for case in listed.values():
        left = outdated(case, pack)
        new_id = next_id(case.id, listed)
        if (left is None and case.id not in chosen) or (chosen and case.id not in chosen):
            continue
        if not chosen and (folder / FOLDER / f"{new_id}.yaml").exists():
            continue
        values, whole = superseding(case, new_id, pack)
        why = left.problem if left else "a person asked for it"
        about = (
            f"Supersedes {case.id}, which is retired when this is frozen, and stays barred from training. Why: {why}."
        )
        written.append(write_draft(pack, values, about, ready=ready and whole))
    return written


def superseding(case: Case, new_id: str, pack: Pack) -> tuple[Values, bool]:
    """The new case as JSON values, renamed by the pack's migrations, and whether that is all there is to do.

    What nobody can say but a person is marked: tools without a successor, arguments that the new schema does not allow.
    """
    migrations, known = pack.settings.datasets.tool_migrations, set(tool_names(pack.tools))
    values = {**case_content(case), "id": new_id, "supersedes": case.id, **({"tags": case.tags} if case.tags else {})}
    values["exercises"] = {
        **values["exercises"],
        "tools": [_today(name, migrations, known) for name in case.exercises.tools],
    }
    for message in values["messages"]:
        for call in message.get("tool_calls") or []:
            # A tool that is gone may stay in a history: that is what the model was shown.
            call["function"]["name"] = migrations.get(call["function"]["name"], call["function"]["name"])
    expectation = values["expectation"]
    for call in expectation.get("calls") or expectation.get("actions") or []:
        call["name"] = _today(call["name"], migrations, known)
    if EDIT in json.dumps(values, ensure_ascii=False):
        return values, False
    new = Case.model_validate(values)
    fits = outdated(new, pack) is None and all(name in known for name, _ in calls_in(new.messages))
    return values, fits


def _today(name: str, migrations: Mapping[str, str], known: set[str]) -> str:
    new = migrations.get(name, name)
    return (
        new if new in known else f"{EDIT} the tool that does what {name} did; name it in datasets.tool_migrations, too"
    )


def next_id(case_id: str, taken: Iterable[str]) -> str:
    """`x` -> `x-v2`, `x-v2` -> `x-v3`: the first version that is not taken; cut where an id would be too long."""
    found = re.fullmatch(r"(.*)-v(\d+)", case_id)
    stem, number, used = (found[1], int(found[2]), set(taken)) if found else (case_id, 1, set(taken))
    while True:
        number += 1
        new = f"{stem[: 80 - len(f'-v{number}')]}-v{number}"
        if new not in used:
            return new
