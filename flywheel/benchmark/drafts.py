"""Drafts: cases that a person still edits, one YAML file each under `benchmark/drafts/`, and their way into the benchmark.

What goes here: the file, reading and writing it, moving ready drafts into `benchmark/drafted.jsonl`, and barring what they were made of
from training before they are frozen. What does not: what is drafted (`proposals.py`, `adversarial.py`, `supersede.py`).

YAML is read as JSON with comments: a text is a text, never a date, a yes or an octal number; keys stand once; no aliases.
"""

import json
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from flywheel.benchmark.cases import Case, case_content, case_of, check_tools, load_cases
from flywheel.benchmark.fingerprints import fingerprints, tool_vocabulary
from flywheel.benchmark.lint.history import history_findings
from flywheel.benchmark.lint.run import lint_cases
from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel.toolcalls.arguments import canonical_json
from flywheel.workflows.pack import Pack

FOLDER = "drafts"
FILE = "drafted.jsonl"
# A draft that still holds this mark anywhere is not finished.
EDIT = "EDIT:"
_INTRODUCTION = """\
# A drafted benchmark case. Correct it, set ready to true, then: flywheel benchmark freeze --workflow {workflow}
# It is read as JSON with comments. What begins with EDIT: is for you to write.
"""
_NOTES = {
    "cluster": "cases that stand or fall together, such as one wording with two order numbers, share a cluster",
    "category": "tool_calling, multi_step, refusal or recovery",
    "messages": "the history, without the system prompt, up to where the model goes on",
    "expectation": "call, reply or episode; matchers: exact, one_of, casefold, normalised_text, set, regex, ignore, and may_omit",
    "tags": "adversarial where it truly is; skills as you like",
}
# What YAML would take for a line break or refuse inside a quoted text, though JSON allows it.
_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")


class Draft(NamedTuple):
    """One draft: its file, whether a person called it ready, and the case as JSON values, not checked yet."""

    file: Path
    ready: bool
    values: dict[str, Any]

    def case(self) -> Case:
        """The case; raises FlywheelError that names the file and what to correct."""
        return case_of(self.values, str(self.file))


def write_draft(pack: Pack, values: dict[str, Any], about: str, *, ready: bool = False) -> Path:
    """Write one draft as `drafts/<id>.yaml`; raises FlywheelError when there is one, so that nobody's edits are lost."""
    folder = pack.folder / "benchmark" / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{values['id']}.yaml"
    if file.exists():
        raise FlywheelError(f"there is a draft of {values['id']} already", where=str(file),
                            remedy="edit it, freeze it, or delete it first")  # fmt: skip
    lines = [_INTRODUCTION.format(workflow=pack.name)]
    lines += [f"# {line}\n" for line in about.splitlines()]
    lines.append(f"ready: {'true' if ready else 'false'}\n\ncase:\n")
    for name, value in values.items():
        if name in _NOTES:
            lines.append(f"  # {_NOTES[name]}\n")
        lines.append(_written(name, value))
    file.write_text("".join(lines), encoding="utf-8")
    return file


def _written(name: str, value: Any) -> str:
    """A field as YAML: messages one a line, expectations as indented JSON, the rest in one line."""
    if name == "messages":
        return "  messages:\n" + "".join(f"    - {_json(message)}\n" for message in value)
    if name == "expectation":
        text = _json(value, indent=2)
        return "  expectation: " + text.replace("\n", "\n    ") + "\n"
    return f"  {name}: {_json(value)}\n"


def _json(value: Any, indent: int | None = None) -> str:
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def read_drafts(folder: Path) -> list[Draft]:
    """The drafts of a pack's `benchmark` folder, by file name; raises FlywheelError with file and line of the first unreadable one."""
    return [_read(file) for file in sorted((folder / FOLDER).glob("*.yaml"))]


def read_values(file: Path) -> Any:
    """The values of a YAML file read as JSON with comments; raises FlywheelError with file and line where it cannot be read."""
    try:
        return yaml.load(file.read_text(encoding="utf-8"), Loader=_JsonLoader)
    except UnicodeDecodeError as error:
        raise FlywheelError(f"no UTF-8: {error}", where=str(file), remedy="save the file as UTF-8") from None
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        line = f":{mark.line + 1}" if mark else ""
        raise FlywheelError(f"not valid YAML: {problem}", where=f"{file}{line}", remedy="mend that line") from None


def _read(file: Path) -> Draft:
    values = read_values(file)
    known = {"ready", "case"}
    if not isinstance(values, dict) or not isinstance(values.get("case"), dict) or set(values) - known:
        raise FlywheelError(
            "a draft has two keys, ready and case", where=str(file), remedy="restore them; see docs/benchmark.md"
        )
    if not isinstance(values.get("ready", False), bool):
        raise FlywheelError(
            "ready is neither true nor false", where=str(file), remedy="write ready: true or ready: false"
        )
    return Draft(file, values.get("ready", False), values["case"])


class _JsonLoader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  (PyYAML's own attribute)

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(problem="an alias (*name)", problem_mark=self.peek_event().start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key, _ in node.value:
            name = self.construct_object(key, deep=True)
            if not isinstance(name, str) or name in seen:
                problem = f"key {name!r} stands twice" if isinstance(name, str) else f"key {name!r} is no text"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)


for _tag, _pattern in (
    ("null", r"^(?:null|)$"), ("bool", r"^(?:true|false)$"), ("int", r"^-?(?:0|[1-9][0-9]*)$"),
    ("float", r"^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?$"),
):  # fmt: skip
    _JsonLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), None)


class Moved(NamedTuple):
    """What became of the drafts: cases moved into the benchmark, cases they supersede, names of drafts not ready."""

    cases: list[Case]
    superseded: list[str]
    waiting: list[str]


def move_ready(pack: Pack) -> Moved:
    """Move the drafts that are ready into `benchmark/drafted.jsonl`, and take out the cases they supersede.

    All or nothing: raises FlywheelError when one cannot be read, still holds an EDIT mark, or has an error of the lint.
    """
    folder = pack.folder / "benchmark"
    drafts = read_drafts(folder)
    ready = [draft for draft in drafts if draft.ready]
    waiting = [draft.file.stem for draft in drafts if not draft.ready]
    if not ready:
        return Moved([], [], waiting)
    cases = [_finished(draft, pack) for draft in ready]
    before = {file: file.read_bytes() for file in folder.glob("*.jsonl")}
    superseded = [case.supersedes for case in cases if case.supersedes]
    try:
        _take_out(folder, superseded)
        _append(folder / FILE, cases)
        _refuse_errors(load_cases(folder, pack.tools), {case.id for case in cases}, pack)
    except FlywheelError:
        for file in folder.glob("*.jsonl"):
            if file in before:
                file.write_bytes(before[file])
            else:
                file.unlink()
        raise
    for draft in ready:
        draft.file.unlink()
    return Moved(cases, superseded, waiting)


def _append(file: Path, cases: Sequence[Case]) -> None:
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    text += "" if text.endswith("\n") or not text else "\n"
    for case in cases:
        text += canonical_json({**case_content(case), **({"tags": case.tags} if case.tags else {})}) + "\n"
    file.write_text(text, encoding="utf-8")


def _finished(draft: Draft, pack: Pack) -> Case:
    if EDIT in json.dumps(draft.values, ensure_ascii=False):
        raise FlywheelError("the draft is called ready and still holds an EDIT: mark", where=str(draft.file),
                            remedy="write what stands there, or set ready to false")  # fmt: skip
    case = draft.case()
    check_tools(case, pack.tools, str(draft.file))
    return case


def _refuse_errors(cases: Sequence[Case], new: set[str], pack: Pack) -> None:
    wrong = [found for found in lint_cases(cases, pack) if found.level == "error" and found.case_id in new]
    if wrong:
        raise FlywheelError(f"{wrong[0].case_id}: {wrong[0].message} ({wrong[0].rule})", where=f"benchmark/{FOLDER}",
                            remedy=wrong[0].remedy)  # fmt: skip


def _take_out(folder: Path, ids: Sequence[str]) -> None:
    """Remove the lines of some cases: frozen before, they are retired at the next freeze, and stay barred."""
    if not ids:
        return
    for file in folder.glob("*.jsonl"):
        lines = file.read_text(encoding="utf-8").split("\n")
        kept = [line for line in lines if not (line.strip() and _id_in(line) in ids)]
        if len(kept) < len(lines):
            partial = file.with_name(f"{file.name}.partial")
            partial.write_text("\n".join(kept), encoding="utf-8")
            partial.replace(file)


def _id_in(line: str) -> str | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value.get("id") if isinstance(value, dict) else None


def bar_drafts(lake: Lake, pack: Pack, at: datetime) -> int:
    """Write the marks of every draft there is into `benchmark_drafts`: what they were made of trains no more. Returns how many.

    A draft whose file was deleted is let go: it never judged anything. One that cannot be read yet keeps the marks it had. One whose
    words are still to be written has none.
    """
    known = {
        row["case_id"]: row for row in lake.read_weeks("benchmark_drafts", workflow=pack.name).iter_rows(named=True)
    }
    vocabulary = tool_vocabulary(pack.tools)
    rows = []
    for file in sorted((pack.folder / "benchmark" / FOLDER).glob("*.yaml")):
        try:
            case = _read(file).case()
            # A draft made of a run is barred from the first, whatever its history looks like; later edits keep the marks it has.
            started = case.origin is None or case.id in known
            if started and any(found.level == "error" for found in history_findings(case, pack.tools)):
                raise FlywheelError("the history is no conversation yet", where=str(file), remedy="go on editing")
        except FlywheelError:
            rows += (
                [{key: value for key, value in known[file.stem].items() if key != "workflow"}]
                if file.stem in known
                else []
            )
            continue
        if case.origin is None and EDIT in json.dumps(case.messages, ensure_ascii=False):
            continue
        drafted = known.get(case.id, {}).get("drafted_at") or at
        origin = case.origin.trace_id if case.origin else None
        rows.append({"origin_trace_id": origin, "drafted_at": drafted, **fingerprints(case, vocabulary)})
    if rows or known:
        lake.replace_partition("benchmark_drafts", rows, workflow=pack.name)
    return len(rows)
