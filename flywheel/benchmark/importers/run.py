"""Import a file: every record becomes a case or is refused with its reason, and the cases are written where the pack reads them."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from flywheel.benchmark.cases import Case, case_content, case_of, check_tools, load_cases
from flywheel.benchmark.importers.bfcl import bfcl_case
from flywheel.benchmark.importers.plain import plain_case
from flywheel.benchmark.importers.records import Format, Record, Refused, check_format, read_records
from flywheel.benchmark.importers.tau import tau2_case, tau_case
from flywheel.benchmark.lint.run import lint_cases
from flywheel.errors import FlywheelError
from flywheel.toolcalls.arguments import canonical_json
from flywheel.workflows.pack import Pack


class Imported(NamedTuple):
    """What became of a file; `read` is the number of its records, and equals `cases` plus `refused`.

    `refused` is (where, reason), `file` where the cases were written, None without any.
    """

    read: int
    cases: list[Case]
    refused: list[tuple[str, str]]
    file: Path | None

    def reasons(self) -> list[tuple[str, int]]:
        """Reasons with their counts, commonest first; numbers and names in them are kept, so alike reasons stay alike."""
        return Counter(reason for _, reason in self.refused).most_common()


def import_file(pack: Pack, file: Path, kind: Format, *, answers: Path | None = None, seed: int = 0) -> Imported:
    """Read a file of one format and write its cases to `benchmark/imported-<name>.jsonl`; a second time changes nothing.

    Args:
        answers: BFCL's file of possible answers; by default `possible_answer/<same name>` beside the file.
        seed: the world that tau tasks play in.

    Raises FlywheelError for a file that cannot be read or is of another format.
    """
    records = read_records(file)
    check_format(records, kind, file)
    make = _maker(pack, file, kind, answers, seed)
    target = pack.folder / "benchmark" / f"imported-{file.stem.lower()}.jsonl"
    there = [case for case in load_cases(pack.folder / "benchmark", pack.tools) if case.id not in _ids(target)]
    refused: list[tuple[str, str]] = []
    made: dict[str, tuple[str, Case]] = {}
    for record in records:
        try:
            case = _case(record, make, pack)
            if case.id in made or case.id in {one.id for one in there}:
                raise Refused("a case of that id is there already (another trial of the task, or another file)")
            made[case.id] = (record.where, case)
        except Refused as error:
            refused.append((record.where, str(error)))
    _refuse_unsound(made, refused, there, pack)
    cases = [case for _, case in made.values()]
    _write(target, cases)
    return Imported(len(records), cases, refused, target if cases else None)


def _maker(pack: Pack, file: Path, kind: Format, answers: Path | None, seed: int) -> Callable[[Record], dict[str, Any]]:
    if kind == "bfcl":
        truths = _answers(answers or file.parent / "possible_answer" / file.name, required=answers is not None)
        return lambda record: bfcl_case(record, truths)
    if kind == "jsonl":
        return lambda record: plain_case(record, file.stem)
    task = tau_case if kind == "tau" else tau2_case
    return lambda record: task(record, pack, seed)


def _answers(file: Path, *, required: bool) -> dict[str, list[Any]]:
    """Id -> ground truth; none where there is no file, as for irrelevant questions."""
    if not file.is_file() and not required:
        return {}
    values = [record.value for record in read_records(file) if isinstance(record.value, dict)]
    truths = {
        str(value.get("id")): value["ground_truth"] for value in values if isinstance(value.get("ground_truth"), list)
    }
    if not truths:
        raise FlywheelError("this is no file of BFCL's possible answers", where=str(file),
                            remedy='its lines are {"id": ..., "ground_truth": [{function: {parameter: [values]}}]}')  # fmt: skip
    return truths


def _case(record: Record, make: Callable[[Record], dict[str, Any]], pack: Pack) -> Case:
    if record.problem:
        raise Refused(record.problem)
    try:
        case = case_of(make(record), record.where)
        check_tools(case, pack.tools, record.where)
        return case
    except FlywheelError as error:
        raise Refused(error.what) from None
    except (KeyError, TypeError, AttributeError) as error:
        raise Refused(f"it is not of the format: {type(error).__name__} {error}") from None


def _refuse_unsound(
    made: dict[str, tuple[str, Case]], refused: list[tuple[str, str]], there: list[Case], pack: Pack
) -> None:
    """Take out what the lint finds an error in, or what is asked twice: a public benchmark has wrong answers, too."""
    new = [case for _, case in made.values()]
    for finding in lint_cases([*there, *new], pack):
        if finding.case_id in made and (finding.level == "error" or finding.rule == "duplicate"):
            where, _ = made.pop(finding.case_id)
            refused.append((where, f"{finding.rule}: {finding.message}"))


def _ids(file: Path) -> set[str]:
    if not file.is_file():
        return set()
    return {case_of(record.value, record.where).id for record in read_records(file) if not record.problem}


def _write(file: Path, cases: list[Case]) -> None:
    if not cases:
        file.unlink(missing_ok=True)
        return
    lines = [
        canonical_json({**case_content(case), **({"tags": case.tags} if case.tags else {})}) + "\n" for case in cases
    ]
    partial = file.with_name(f"{file.name}.partial")
    partial.write_text("".join(lines), encoding="utf-8")
    partial.replace(file)
