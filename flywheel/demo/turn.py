"""One simulated week from an empty folder to a decision: what `flywheel demo` and `flywheel lap` run, step by step."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from flywheel.chat.render import Renderer
from flywheel.demo.protocol import Simulation
from flywheel.demo.week import answer_batch, lay_out_pack, simulate_traffic, write_demonstrations
from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel.operations.launch import run_job
from flywheel.operations.screen import Screen
from flywheel.promotion.pointer import BASE, serving
from flywheel.serving.vllm_server import ServerSpec
from flywheel.settings import Settings
from flywheel.workflows.base_model import BaseModel, find_base_model
from flywheel.workflows.loader import find_pack
from flywheel.workflows.pack import Pack


@dataclass(frozen=True)
class Size:
    """How large a simulated week is: customers a week; demonstrated runs and single steps before the first."""

    customers: int = 90
    demonstrated_runs: int = 36
    demonstrated_steps: int = 220


def turn(
    settings: Settings,
    source: Path,
    simulation: Simulation,
    *,
    week: str,
    size: Size,
    on: dg.DagsterInstance,
    screen: Screen,
) -> None:
    """Freeze, simulate traffic, collect, let the simulated experts answer, learn; steps already done are left alone."""
    workflow = source.name
    lay_out_pack(source, settings.workflows() / workflow)
    pack = find_pack(settings.workflows(), workflow)
    with screen.working("base model"):
        base = ensure_base_model(settings, pack)
        write_demonstrations(pack, simulation, size.demonstrated_runs, size.demonstrated_steps)
    screen.say(f"[bold]{workflow}[/], week of {week}, on {base.name}; customers and experts are simulated")
    run_job("freeze", workflow=workflow, week=None, on=on, screen=screen)
    _traffic(settings, pack, base, simulation, week, size, screen)
    run_job("collect", workflow=workflow, week=week, on=on, screen=screen)
    with screen.working("simulated experts"):
        counts = answer_batch(settings, pack, simulation, Lake(settings.lake()), week=week)
    told = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())
    screen.say(f"  {'simulated experts':<22}{'':>21}  {told or 'unchanged, the batch is closed'}")
    run_job("learn", workflow=workflow, week=week, on=on, screen=screen)


def _traffic(
    settings: Settings, pack: Pack, base: BaseModel, simulation: Simulation, week: str, size: Size, screen: Screen
) -> None:
    adapter = serving(Lake(settings.lake()).read_weeks("promotion_log", workflow=pack.name), before_week=week)
    renderer = Renderer(base.tokenizer_file, pack.settings.model_family)
    spec = ServerSpec(
        model=base.folder,
        family=renderer.family,
        adapters={} if adapter == BASE else {adapter: settings.checkpoints(pack.name).absolute() / adapter},
        max_model_len=pack.settings.max_model_len,
        max_num_seqs=pack.settings.evaluation.concurrency,
        max_lora_rank=max(8, pack.settings.lora_rank),
        threads=settings.threads,
    )
    with screen.working("simulated traffic"):
        traffic = simulate_traffic(
            settings, pack, renderer, spec, simulation, week=week, adapter=adapter, count=size.customers
        )
    note = "unchanged, the inbox has this week" if traffic.unchanged else f"served by {adapter}"
    screen.say(f"  {'simulated traffic':<22}{traffic.runs:>6} runs{'':>10}  {note}")


def ensure_base_model(settings: Settings, pack: Pack) -> BaseModel:
    """The base model in force, made in a child process when the cache does not have it."""
    name = settings.base_model or pack.settings.base_model
    try:
        return find_base_model(settings.models(), name)
    except FlywheelError:
        settings.models().mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "flywheel.training.base_model", name, str(settings.models()), str(pack.folder)]
        made = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if made.returncode:
            last = [line for line in made.stdout.splitlines() if line.strip()][-2:]
            raise FlywheelError(f"the base model could not be made: {' '.join(last)}", where=name,
                                remedy=f"mend that, then: flywheel model {name}") from None  # fmt: skip
        return find_base_model(settings.models(), name)
