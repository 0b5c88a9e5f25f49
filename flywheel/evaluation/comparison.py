"""Two configurations on the same frozen cases: one server where they differ in nothing but the adapter, else one after the other.

The baseline's arm is the incumbent, the other one's the candidate; the A/A run belongs to the baseline's server. Every server is proved
as in a weekly evaluation: prompts against ours, adapters against PEFT. Of an endpoint nothing can be proved, so it is only asked.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from flywheel.benchmark.cases import Case, check_tools
from flywheel.evaluation.decides import GENERATION_VERSION
from flywheel.evaluation.endpoint_session import Endpoint, evaluate_endpoint
from flywheel.evaluation.runner import Arm, Benchmark
from flywheel.evaluation.session import CANDIDATE, INCUMBENT, arms_of, evaluate, forget_arms
from flywheel.serving.configuration import Configuration
from flywheel.toolcalls.arguments import sha256_of

Row = dict[str, Any]


class Machine(NamedTuple):
    """What the servers of a comparison need of this machine; `egress_log` and `key` are for endpoints."""

    checkpoints: Path
    scratch: Path
    threads: int
    start_seconds: float
    egress_log: Path
    key: str | None = None


def compare(
    baseline: Configuration, candidate: Configuration, cases: Sequence[Case], version: str, machine: Machine
) -> list[Row]:
    """EVAL_RESULTS rows (without partition columns) of incumbent, incumbent_again and candidate.

    Args:
        version: of the benchmark; both run on it, whatever their tools are.

    Raises FlywheelError when a case needs a tool that one side does not have, or a server cannot be started or trusted.
    """
    for side in (baseline, candidate):
        _refuse_missing_tools(side, cases)
    rows: list[Row] = []
    for side, arms, others in _servers(baseline, candidate):
        own = machine._replace(scratch=machine.scratch / ("candidate" if arms[0].name == CANDIDATE else "baseline"))
        benchmark = _benchmark(side, cases, version, [candidate.adapter_id])
        rows += _run(side, arms, benchmark, own, others)
    for name in ("baseline", "candidate"):
        forget_arms(machine.scratch / name / "vllm.log")
    return rows


def run_alone(side: Configuration, name: str, cases: Sequence[Case], version: str, machine: Machine) -> list[Row]:
    """EVAL_RESULTS rows of one arm called `name`; raises as `compare` does."""
    _refuse_missing_tools(side, cases)
    arm = Arm(name, side.adapter_id, side.adapter_id)
    rows = _run(side, [arm], _benchmark(side, cases, version, []), machine, ())
    forget_arms(machine.scratch / "vllm.log")
    return rows


def _refuse_missing_tools(side: Configuration, cases: Sequence[Case]) -> None:
    for case in cases:
        check_tools(case, side.pack.tools, f"configuration {side.name}")


def _servers(
    baseline: Configuration, candidate: Configuration
) -> list[tuple[Configuration, list[Arm], tuple[str, ...]]]:
    """Servers in the order in which they run: whose it is, its arms, and whose adapter it serves besides."""
    arms = arms_of(candidate.adapter_id, baseline.adapter_id)
    if baseline.asked_alike(candidate):
        return [(baseline, arms, (candidate.adapter_id,))]
    own = [arm for arm in arms if arm.name.startswith(INCUMBENT)]
    return [(baseline, own, ()), (candidate, [arm for arm in arms if arm.name == CANDIDATE], ())]


def _benchmark(side: Configuration, cases: Sequence[Case], version: str, besides: list[str]) -> Benchmark:
    """The cases as this side is asked them; the hash is of all that decides its outputs."""
    own = side.pack.settings.evaluation.model_dump(exclude={"volatile_fields", "human_review", "review"})
    decides = [GENERATION_VERSION, version, side.parts(), besides, own, side.pack.environment_sha256()]
    base = "" if side.endpoint else side.base.sha256
    return Benchmark(cases, version, side.pack, base, sha256_of(decides), side.examples)


def _run(
    side: Configuration, arms: list[Arm], benchmark: Benchmark, machine: Machine, others: tuple[str, ...]
) -> list[Row]:
    if side.endpoint:
        where = f"configuration {side.name}: endpoint"
        endpoint = Endpoint(side.endpoint, where, machine.egress_log, machine.key)
        return evaluate_endpoint(benchmark, arms, endpoint, folder=machine.scratch).rows
    spec = side.server(machine.checkpoints, threads=machine.threads, others=others)
    log = machine.scratch / "vllm.log"
    return evaluate(benchmark, arms, spec, side.renderer, log=log, start_seconds=machine.start_seconds).rows
