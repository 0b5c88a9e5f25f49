"""`flywheel demo` and `flywheel lap`: a whole simulated week."""

import os
import time
from pathlib import Path
from typing import Annotated

import typer

from flywheel.cli import app
from flywheel.settings import Settings

FIRST_WEEK = "2026-01-05"
_LAP = {
    # Small enough for a lap of the edit-run cycle; every stage still runs for real.
    "sft_presentations": 192, "dpo_pairs": 8,
}  # fmt: skip


@app.command()
def demo(week: Annotated[str, typer.Option(help="Monday the week starts on.")] = FIRST_WEEK) -> None:
    """Turn one whole week of support_desk on a real model, with simulated customers and experts."""
    from flywheel.demo.turn import Size

    _turn(Settings(), week, Size())


@app.command()
def lap(week: Annotated[str, typer.Option(help="Monday the week starts on.")] = FIRST_WEEK) -> None:
    """The same week, from an empty folder, with a tiny random-weight model: the edit-run cycle."""
    import shutil

    from flywheel.demo.turn import Size

    home = Settings().home / "lap"
    shutil.rmtree(home, ignore_errors=True)
    os.environ["FLYWHEEL_HOME"], os.environ["FLYWHEEL_BASE_MODEL"] = str(home), "tiny-random"
    # A lap leaves the instance of the demo alone: its runs would otherwise stand beside real weeks.
    instance = home / "dagster"
    instance.mkdir(parents=True)
    (instance / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    os.environ["DAGSTER_HOME"] = str(instance.absolute())
    _turn(Settings(), week, Size(customers=24, demonstrations=16))


def _turn(settings: Settings, week: str, size: "object") -> None:
    from rich.rule import Rule

    import flywheel.demo as package
    from flywheel.demo import support_customers
    from flywheel.demo.turn import turn
    from flywheel.lake import Lake
    from flywheel.operations.launch import instance
    from flywheel.operations.screen import Screen
    from flywheel.operations.summary import stage_table, verdict_lines
    from flywheel.report.facts import week_facts

    started = time.monotonic()
    source = Path(package.__file__).parent / "support_desk"
    screen = Screen(settings.home / "demo.log")
    with instance() as on:
        turn(settings, source, support_customers, week=week, size=size, on=on, screen=screen)  # pyright: ignore
    facts = week_facts(Lake(settings.lake()), source.name, week)
    screen.console.print(Rule())
    screen.console.print(stage_table(facts))
    screen.console.print(verdict_lines(facts))
    screen.say(f"\nturned in {time.monotonic() - started:.0f} s. Look at it: [bold]make ui[/], or open {settings.report(source.name, week)}")
