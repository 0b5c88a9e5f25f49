"""One simulated week from an empty folder to a decision: what `flywheel demo` and `flywheel lap` run, step by step."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from flywheel.demo.expert_desk import Habits
from flywheel.demo.protocol import Simulation
from flywheel.demo.week import (
    DEMONSTRATION_SEED,
    TRAFFIC_SEED,
    answer_batch,
    lay_out_pack,
    simulate_traffic,
    write_demonstrations,
)
from flywheel.errors import FlywheelError
from flywheel.evaluation.servers import server_spec
from flywheel.lake import Lake
from flywheel.operations.launch import run_job
from flywheel.operations.screen import Screen
from flywheel.promotion.pointer import serving
from flywheel.serving.trained_on import trained_on
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


@dataclass(frozen=True)
class Chance:
    """What differs between two runs of the same weeks: the seeds of demonstrations, customers and experts, and the experts' habits."""

    demonstration_seed: int = DEMONSTRATION_SEED
    traffic_seed: int = TRAFFIC_SEED
    expert_seed: int = 0
    habits: Habits = Habits()


def turn(
    settings: Settings,
    source: Path,
    simulation: Simulation,
    *,
    week: str,
    size: Size,
    on: dg.DagsterInstance,
    screen: Screen,
    chance: Chance = Chance(),  # noqa: B008  (frozen)
    before_answers: Callable[[], None] = lambda: None,
) -> None:
    """Freeze, simulate traffic, collect, let the simulated experts answer, learn; steps already done are left alone.

    `before_answers` is called when the week's batch lies ready and nobody has answered it.
    """
    workflow = source.name
    lay_out_pack(source, settings.workflows() / workflow)
    pack = find_pack(settings.workflows(), workflow)
    with screen.working("base model"):
        base = ensure_base_model(settings, pack)
        runs, steps = size.demonstrated_runs, size.demonstrated_steps
        write_demonstrations(pack, simulation, runs, steps, chance.demonstration_seed)
    screen.say(f"[bold]{workflow}[/], week of {week}, on {base.name}; customers and experts are simulated")
    run_job("freeze", workflow=workflow, week=None, on=on, screen=screen)
    _traffic(settings, pack, base, simulation, week, size, screen, chance)
    run_job("collect", workflow=workflow, week=week, on=on, screen=screen)
    before_answers()
    with screen.working("simulated experts"):
        counts = answer_batch(
            settings, pack, simulation, Lake(settings.lake()), week=week, seed=chance.expert_seed, habits=chance.habits
        )
    told = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())
    screen.say(f"  {'simulated experts':<22}{'':>21}  {told or 'unchanged, the batch is closed'}")
    run_job("learn", workflow=workflow, week=week, on=on, screen=screen)


def _traffic(
    settings: Settings, pack: Pack, base: BaseModel, simulation: Simulation, week: str, size: Size, screen: Screen,
    chance: Chance,
) -> None:  # fmt: skip
    lake = Lake(settings.lake())
    adapter = serving(lake.read_weeks("promotion_log", workflow=pack.name), before_week=week)
    # Production goes on with what serves, also where the pack has another base model or family meanwhile.
    own = trained_on(lake, pack, base, settings.models(), adapter)
    renderer, spec = own.renderer(), server_spec(settings, own, {adapter})
    with screen.working("simulated traffic"):
        traffic = simulate_traffic(
            settings, pack, renderer, spec, simulation, week=week, adapter=adapter, count=size.customers,
            seed=chance.traffic_seed,
        )  # fmt: skip
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
                                remedy=f"mend that, then: flywheel model add {name}") from None  # fmt: skip
        return find_base_model(settings.models(), name)
