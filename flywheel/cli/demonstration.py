"""`flywheel demo`, `lap` and `weeks`: simulated weeks."""

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

import flywheel.demo
from flywheel.cli import app
from flywheel.processes import child_command
from flywheel.settings import Settings

FIRST_WEEK = "2026-01-05"
_SUPPORT_DESK = Path(flywheel.demo.__file__).parent / "support_desk"
# Small enough for the edit-run cycle; every stage still runs for real, on a model that knows nothing.
_LAP = {
    "decoding": {"max_tokens": 16},
    "training": {"sft_presentations": 64, "dpo_pairs": 4, "sft_learning_rate": 0.01},
    "evaluation": {"concurrency": 32, "repeat_cases": 10},
}


@app.command()
def demo(week: Annotated[str, typer.Option(help="Monday the week starts on.")] = FIRST_WEEK) -> None:
    """Turn one whole week of support_desk on a real model, with simulated customers and experts."""
    from flywheel.demo.turn import Size

    _turn(Settings(), week, Size())


@app.command()
def lap(week: Annotated[str, typer.Option(help="Monday the week starts on.")] = FIRST_WEEK) -> None:
    """The same week, anew each time, with a tiny random-weight model: the edit-run cycle."""
    from flywheel.demo.turn import Size
    from flywheel.demo.week import lay_out_pack

    home = Settings().home / "lap"
    for path in home.glob("*"):
        if path.is_dir() and path.name != "models":  # the tiny model is made once
            shutil.rmtree(path)
    os.environ["FLYWHEEL_HOME"], os.environ["FLYWHEEL_BASE_MODEL"] = str(home), "tiny-random"
    os.environ["FLYWHEEL_LAKE"] = os.environ["FLYWHEEL_QA_STORE"] = (
        ""  # its tables and corrections are removed with the home
    )
    # A lap leaves the instance of the demo alone: its runs would otherwise stand beside real weeks.
    instance = home / "dagster"
    instance.mkdir(parents=True)
    (instance / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    os.environ["DAGSTER_HOME"] = str(instance.absolute())
    settings = Settings()
    pack = settings.workflows() / _SUPPORT_DESK.name
    lay_out_pack(_SUPPORT_DESK, pack)
    values = yaml.safe_load((pack / "workflow.yaml").read_text(encoding="utf-8"))
    for section, changes in _LAP.items():
        values[section].update(changes)
    (pack / "workflow.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    _turn(settings, week, Size(customers=24, demonstrated_runs=8, demonstrated_steps=16))


def _turn(settings: Settings, week: str, size: Any) -> None:
    from rich.rule import Rule

    from flywheel.demo import support_customers
    from flywheel.demo.turn import turn
    from flywheel.lake import Lake
    from flywheel.operations.launch import instance
    from flywheel.operations.screen import Screen
    from flywheel.operations.summary import stage_table, verdict_lines
    from flywheel.report.facts import week_facts

    started = time.monotonic()
    screen = Screen(settings.home / "demo.log")
    with instance() as on:
        turn(settings, _SUPPORT_DESK, support_customers, week=week, size=size, on=on, screen=screen)
    facts = week_facts(Lake(settings.lake()), _SUPPORT_DESK.name, week)
    screen.console.print(Rule())
    screen.console.print(stage_table(facts))
    screen.console.print(verdict_lines(facts))
    page = settings.report(_SUPPORT_DESK.name, week)
    screen.say(f"\nturned in {time.monotonic() - started:.0f} s. Look at it: [bold]make ui[/], or open {page}")


@app.command()
def weeks(
    seed: Annotated[int, typer.Option(help="1 is the run of the README; another seed is another run.")] = 1,
    count: Annotated[int, typer.Option("--weeks", min=1, help="How many weeks.")] = 10,
    forks: Annotated[bool, typer.Option(help="Also turn the planted bad week, twice.")] = True,
) -> None:
    """Turn ten simulated weeks of support_desk on the real model; goes on where it was stopped. A week takes about as long as `flywheel demo`."""
    from flywheel.demo.scenario import FORKS, Scenario
    from flywheel.demo.weeks import environment
    from flywheel.demo.weeks_summary import summarize

    settings, scenario = Settings(), Scenario(seed=seed, weeks=count)
    planted = list(FORKS) if forks and count >= scenario.bad_week else []
    for fork in (None, *planted):
        # A group of its own that ends with this command, however that ends: half a week must not go on unseen.
        command = child_command("flywheel.demo.weeks", str(seed), str(count), *([fork] if fork else []))
        ended = subprocess.run(command, check=False, env={**os.environ, **environment(settings, seed, fork)})
        if ended.returncode == 130 or (ended.returncode and fork is None):
            raise typer.Exit(ended.returncode)
    summarize(settings, scenario)
    home = environment(settings, seed)
    print(
        f"look at it: FLYWHEEL_HOME={home['FLYWHEEL_HOME']} DAGSTER_HOME={home['DAGSTER_HOME']} .venv/bin/flywheel ui"
    )
