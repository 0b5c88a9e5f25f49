"""`flywheel evaluate --gate A B`: two configurations resolved, run, judged by the gate, and kept."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, NamedTuple

import polars as pl

from flywheel.benchmark.cases import Case, benchmark_version
from flywheel.benchmark.freeze import active
from flywheel.benchmark.leaks import LeakCandidate, find_leaks, read_registry
from flywheel.errors import FlywheelError
from flywheel.evaluation.comparison import Machine, compare
from flywheel.evaluation.metrics import metric_rows
from flywheel.lake import TABLES, Lake
from flywheel.promotion.comparison import Sides, judge_configurations, verdict_row
from flywheel.promotion.decision import core_version
from flywheel.promotion.gate import Decision
from flywheel.promotion.pointer import BASE, serving
from flywheel.serving.configuration import PACK, Configuration, configuration_of, configuration_sha256, differing
from flywheel.serving.trained_on import trained_on
from flywheel.settings import Settings
from flywheel.workflows.base_model import check_weights
from flywheel.workflows.loader import find_pack
from flywheel.workflows.pack import Pack
from flywheel.workflows.serving_settings import EndpointSettings, is_endpoint

KEPT_RESULTS = 10  # comparisons whose every row is kept; their verdicts are kept for ever


class Outcome(NamedTuple):
    """The decision, its row in `configuration_verdicts`, what the two differ in, and why CI's files are not there where they are not."""

    decision: Decision
    row: dict[str, Any]
    differ_in: list[str]
    unwritten: str | None = None


def gate(settings: Settings, workflow: str, baseline: str, candidate: str, *, out: Path | None = None) -> Outcome:
    """Compare two configurations on the frozen benchmark; raises FlywheelError where they cannot be.

    Args:
        baseline, candidate: configuration files, or `pack` for the pack with what serves.
        out: folder for `results.parquet` and `verdict.json`, for CI to keep; the lake has both anyway.
    """
    pack, lake = find_pack(settings.workflows(), workflow), Lake(settings.lake())
    log = lake.read_weeks("promotion_log", workflow=workflow)
    served = serving(log, first=pack.first_incumbent)
    a, b = (_configuration(settings, lake, pack, name, served) for name in (baseline, candidate))
    if not differing(a.parts(), b.parts()):
        raise FlywheelError(f"{a.name} and {b.name} are one configuration", where=f"{baseline}, {candidate}",
                            remedy="say in one of the files what is to be different; see docs/gate.md")  # fmt: skip
    if out:
        _make_folder(out)
    cases = cases_of_benchmark(lake, workflow)
    for side in (a, b):
        refuse_shown_cases(lake, workflow, side)
    for base in {a.base.folder: a.base, b.base.folder: b.base}.values():
        check_weights(base)
    version = benchmark_version(cases, pack.contract_sha256)
    rows = compare(a, b, cases, version, machine_of(settings, workflow, a, b))
    frame = results_frame(rows)
    sides = Sides(a, b, (_vllm(frame, "incumbent"), _vllm(frame, "candidate")))
    decision = judge_configurations(
        frame, cases, sides, metrics=_metrics(rows, pack), checkpoint=lake.read_weeks("checkpoint", workflow=workflow),
        history=lake.read_weeks("promotion", workflow=workflow),
        verdicts=lake.read_weeks("configuration_verdicts", workflow=workflow), core_version=core_version(cases, pack, version),
    )  # fmt: skip
    kept = _keep(lake, pack, decision, sides, frame)
    return kept._replace(unwritten=_write(out, kept, frame)) if out else kept


def _configuration(settings: Settings, lake: Lake, pack: Pack, name: str, served: str) -> Configuration:
    """The configuration of a file; of the word `pack` what serves, on the base model and family that it was trained on, or the endpoint."""
    ours = BASE if is_endpoint(served) else served
    found = configuration_of(name, pack, settings.models(), serving=ours, base_model=settings.base_model)
    if found.name != PACK:
        return found
    if is_endpoint(served):
        return replace(found, adapter_id=served, endpoint=_first_endpoint(pack, served))
    own = trained_on(lake, found.pack, found.base, settings.models(), served)
    return replace(found, pack=own.pack, base=own.base)


def _first_endpoint(pack: Pack, served: str) -> EndpointSettings:
    """How the endpoint that serves is asked; raises FlywheelError where the pack does not name it any more."""
    first = pack.settings.first_incumbent
    if first is None or first.endpoint.id != served:
        raise FlywheelError(f"{served} serves, and the pack does not say how it is asked", where=str(pack.folder / "workflow.yaml"),
                            remedy="name it again as first_incumbent (docs/week-zero.md)")  # fmt: skip
    return first.endpoint


def cases_of_benchmark(lake: Lake, workflow: str) -> list[Case]:
    """The frozen cases that evaluate today; raises FlywheelError where there are none."""
    cases = active(lake.read_weeks("benchmark", workflow=workflow))
    if not cases:
        raise FlywheelError(f"{workflow} has no frozen benchmark", where="benchmark",
                            remedy=f"flywheel benchmark freeze --workflow {workflow}; docs/benchmark.md says how cases are written")  # fmt: skip
    return cases


def refuse_shown_cases(lake: Lake, workflow: str, side: Configuration) -> None:
    """Raise FlywheelError when a few-shot example is near a case: the model would be shown the answers."""
    said = [str(message.get("content") or "") for message in side.examples if message["role"] == "user"]
    shown = [LeakCandidate(f"example {number}", f"example-{number}", text) for number, text in enumerate(said, 1)]
    if leaks := find_leaks(read_registry(lake, workflow), shown) if shown else []:
        raise FlywheelError(f"{len(leaks)} examples are near cases of the benchmark: {'; '.join(map(str, leaks[:5]))}",
                            where=f"configuration {side.name}: examples", remedy="take other examples, such as exported training rows")  # fmt: skip


def machine_of(settings: Settings, workflow: str, *sides: Configuration) -> Machine:
    """This machine, with a scratch folder of these configurations' own: arms that ran to their end are kept there."""
    own = "-".join(configuration_sha256(side.parts()) for side in sides)
    scratch = settings.scratch(workflow, "comparison", own)
    return Machine(
        settings.checkpoints(workflow).absolute(), scratch, settings.threads, settings.serve_start_seconds,
        settings.egress_log(workflow), settings.frontier_key,
    )  # fmt: skip


def results_frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Rows as a frame with the declared columns of `eval_results`."""
    table = TABLES["eval_results"]
    schema = {name: kind for name, kind in table.polars_schema().items() if name not in table.partitions}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _vllm(frame: pl.DataFrame, arm: str) -> str:
    described = frame.filter(arm=arm)["server"].drop_nulls()
    return str(json.loads(described[0]).get("vllm", "unknown")) if described.len() else "unknown"


def _metrics(rows: list[dict[str, Any]], pack: Pack) -> Mapping[str, float | None]:
    """The candidate's metrics over all categories, of the core where there are slices."""
    found = [row for row in metric_rows(rows, rates=pack.settings.rates) if (row["arm"], row["category"]) == ("candidate", "all")]  # fmt: skip
    return {row["metric"]: row["value"] for part in ("all", "core") for row in found if row["slice"] == part}


def _keep(lake: Lake, pack: Pack, decision: Decision, sides: Sides, frame: pl.DataFrame) -> Outcome:
    """The verdict for ever, the results of the newest comparisons; both in the lake, where an erased person leaves them, too."""
    row = verdict_row(decision, sides, frame, datetime.now(UTC))
    verdicts = lake.read_weeks("configuration_verdicts", workflow=pack.name).sort("decided_at")
    newest = {row["comparison_id"], *verdicts["comparison_id"].tail(KEPT_RESULTS - 1)}
    known = lake.read_weeks("comparison_results", workflow=pack.name).drop("workflow")
    own = frame.with_columns(comparison_id=pl.lit(row["comparison_id"])).select(known.columns)
    results = pl.concat([known.filter(pl.col("comparison_id").is_in(list(newest))), own])
    lake.replace_partition("comparison_results", results, workflow=pack.name)
    lake.append_new("configuration_verdicts", [row], workflow=pack.name)
    return Outcome(decision, row, sides.differ_in())


def _make_folder(out: Path) -> None:
    """The folder for CI's files; that it cannot be written to is said before hours are spent, not after."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise FlywheelError(f"nothing can be written there: {error.strerror}", where=f"--out {out}", remedy="name a folder that can be written to") from None  # fmt: skip


def _write(out: Path, kept: Outcome, frame: pl.DataFrame) -> str | None:
    """Write CI's files; why not, where they cannot be written: the verdict stands in the lake all the same."""
    row = kept.row
    told = {
        **row,
        "decided_at": row["decided_at"].isoformat(),
        "differ_in": kept.differ_in,
        "reasons": kept.decision.reasons,
    }
    told |= {side: json.loads(row[side]) for side in ("baseline", "candidate")}
    try:
        frame.write_parquet(out / "results.parquet")
        (out / "verdict.json").write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        return f"{out} could not be written: {error.strerror or error}"
    return None
