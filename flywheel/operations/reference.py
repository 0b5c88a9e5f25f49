"""Reference models on the frozen benchmark: the base with few-shot examples and constrained calls, any endpoint, or imported answers.

What goes here: running or importing one, keeping its rows in `reference_results`, showing them beside a week's candidate.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from flywheel.benchmark.cases import Case, benchmark_version, tools_of
from flywheel.errors import FlywheelError
from flywheel.evaluation.comparison import run_alone
from flywheel.evaluation.imported import answered, requests
from flywheel.evaluation.runner import Arm, Benchmark
from flywheel.lake import Lake
from flywheel.operations.comparison import cases_of_benchmark, machine_of, refuse_shown_cases, results_frame
from flywheel.privacy.egress import destination
from flywheel.promotion.pointer import BASE, serving
from flywheel.report.references import ARMS, REFERENCE_COLUMNS, Comparison, compare_with_references
from flywheel.serving.configuration import Configuration, configuration_of
from flywheel.serving.endpoint import PURPOSE, EndpointClient
from flywheel.settings import Settings
from flywheel.toolcalls.arguments import canonical_json, sha256_of
from flywheel.workflows.base_model import check_weights
from flywheel.workflows.loader import find_pack
from flywheel.workflows.serving_settings import is_endpoint

REFERENCE = "reference"


class Ran(NamedTuple):
    """A reference that was run or imported: cases, cases with a score, and of those solved, epochs counted apart."""

    name: str
    runs: int
    scored: int
    solved: int


class Leaving(NamedTuple):
    """What `--dry-run` shows of one case's first request: its hash and size, and the kinds of personal data that keep it here."""

    case_id: str
    sha256: str
    size: int
    held_back: list[str]


def run_reference(settings: Settings, workflow: str, file: str, *, name: str | None = None) -> Ran:
    """Run one configuration on the frozen benchmark and keep its rows; raises FlywheelError where it cannot be."""
    lake, side, cases, version = _open(settings, workflow, file)
    name = name or side.name
    _refuse_names_of_arms(name, where=file)
    if side.endpoint is None:
        check_weights(side.base)
    rows = run_alone(side, REFERENCE, cases, version, machine_of(settings, workflow, side))
    return _keep(lake, workflow, name, rows, side.parts())


def import_reference(settings: Settings, workflow: str, name: str, file: Path) -> Ran:
    """Score the answers of a file and keep them; what it leaves out counts as not run. Raises FlywheelError where it cannot be."""
    _refuse_names_of_arms(name, where=str(file))
    lake, side, cases, version = _open(settings, workflow, "pack")
    benchmark = Benchmark(cases, version, side.pack, "", sha256_of(["imported", version, name]))
    rows = answered(file, Arm(REFERENCE, name, name), benchmark)
    return _keep(lake, workflow, name, rows, {"imported": file.name})


def export_requests(settings: Settings, workflow: str, to: Path, file: str = "pack") -> int:
    """Write what a reference is to be asked, a JSON line a case; how many there are."""
    _, side, cases, version = _open(settings, workflow, file)
    lines = [json.dumps(one, ensure_ascii=False) + "\n" for one in requests(Benchmark(cases, version, side.pack, examples=side.examples))]  # fmt: skip
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_text("".join(lines), encoding="utf-8")
    return len(lines)


def would_leave(settings: Settings, workflow: str, file: str) -> tuple[str, bool, list[Leaving]]:
    """Host, whether it is another machine, and the first request of every case; nothing is sent."""
    _, side, cases, _ = _open(settings, workflow, file)
    if side.endpoint is None:
        raise FlywheelError("this configuration is served here: nothing would leave", where=file, remedy="name one with an endpoint")  # fmt: skip
    to = destination(side.endpoint.url, side.pack.settings.egress, PURPOSE, where=file)
    client = EndpointClient(side.endpoint, to, log=settings.egress_log(workflow))
    decoding, found = side.pack.settings.decoding, []
    for case in cases:
        messages = [{"role": "system", "content": side.pack.system}, *side.examples, *case.messages]
        body = client.body(messages, tools_of(case, side.pack.tools), max_tokens=decoding.max_tokens, temperature=decoding.temperature, seed=0)  # fmt: skip
        found.append(Leaving(case.id, sha256_of(body), len(canonical_json(body).encode()), to.held_back(body)))
    return to.host, to.leaves, found


def beside(settings: Settings, workflow: str, week: str) -> Comparison:
    """The week's candidate beside every reference; raises FlywheelError where the week evaluated nothing."""
    lake = Lake(settings.lake())
    where = pl.col("week") == week
    columns = ("week", "arm", "case_id", "case_cluster", "success", "calls", "schema_valid_calls", "expects_call", "failure_tags", "benchmark_version", "scorer_version")  # fmt: skip
    results = lake.read_columns("eval_results", columns, workflow=workflow, where=where)
    found = compare_with_references(
        results, lake.read_columns("reference_results", REFERENCE_COLUMNS, workflow=workflow)
    )
    if found is None:
        raise FlywheelError(f"nothing was evaluated in week {week} of {workflow}", where=lake.uri("eval_results"),
                            remedy=f"see which weeks were: flywheel report --weeks --workflow {workflow}")  # fmt: skip
    return found


def _refuse_names_of_arms(name: str, *, where: str) -> None:
    if name in ARMS:
        raise FlywheelError(f"a reference cannot be called {name}: the report has an arm of that name", where=where,
                            remedy="give it another: flywheel reference run FILE --name NAME, or flywheel reference import NAME FILE")  # fmt: skip


def _open(settings: Settings, workflow: str, file: str) -> tuple[Lake, Configuration, list[Case], str]:
    pack, lake = find_pack(settings.workflows(), workflow), Lake(settings.lake())
    now = serving(lake.read_weeks("promotion_log", workflow=workflow), first=pack.first_incumbent)
    ours = BASE if is_endpoint(now) else now
    side = configuration_of(file, pack, settings.models(), serving=ours, base_model=settings.base_model)
    cases = cases_of_benchmark(lake, workflow)
    refuse_shown_cases(lake, workflow, side)
    return lake, side, cases, benchmark_version(cases, pack.contract_sha256)


def _keep(lake: Lake, workflow: str, name: str, rows: list[dict[str, Any]], configuration: dict[str, Any]) -> Ran:
    """Replace this reference's rows on this benchmark; those on other cases stay."""
    frame = results_frame(rows).with_columns(
        reference=pl.lit(name), configuration=pl.lit(canonical_json(configuration)), ran_at=pl.lit(datetime.now(UTC)).cast(pl.Datetime("us", "UTC"))
    )  # fmt: skip
    known = lake.read_weeks("reference_results", workflow=workflow).drop("workflow")
    others = known.filter(
        ~((pl.col("reference") == name) & (pl.col("benchmark_version") == frame["benchmark_version"][0]))
    )
    lake.replace_partition("reference_results", pl.concat([others, frame.select(others.columns)]), workflow=workflow)
    scored = frame["success"].drop_nulls()
    return Ran(name, frame.height, scored.len(), int(scored.sum()))
