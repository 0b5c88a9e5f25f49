"""Ten simulated weeks of support_desk on the real model, resumable by week: `python -m flywheel.demo.weeks SEED WEEKS [FORK]`.

One process turns one home; `flywheel weeks` starts them one after the other. A week that is decided and reported is left alone, so
that a run goes on where it was stopped; within a week every stage that is done is left alone too. Seconds of each sitting are kept, so
that the machine time of a run over several sittings can be told.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import flywheel.demo
from flywheel.demo.scenario import FORKS, Scenario, change_pack, keep_for_forks, lay_out, lay_out_fork
from flywheel.errors import FlywheelError
from flywheel.settings import Settings

SUPPORT_DESK = Path(flywheel.demo.__file__).parent / "support_desk"
WORKFLOW = SUPPORT_DESK.name


def run_home(home: Path, seed: int, fork: str | None = None) -> Path:
    """Home of one run, or of one of its forks, under the installation's."""
    return home / "weeks" / (f"seed-{seed}-{fork}" if fork else f"seed-{seed}")


def environment(settings: Settings, seed: int, fork: str | None = None) -> dict[str, str]:
    """What a command needs in its environment to work on a run's home instead of the installation's; base models are shared."""
    home = run_home(settings.home, seed, fork).absolute()
    return {
        "FLYWHEEL_HOME": str(home),
        "FLYWHEEL_LAKE": "",  # a run's tables and corrections are its own, wherever the installation keeps its
        "FLYWHEEL_QA_STORE": "",
        "FLYWHEEL_MODELS_FOLDER": str(settings.models().absolute()),
        "DAGSTER_HOME": str(home / "dagster"),
    }


def turn_weeks(settings: Settings, scenario: Scenario, fork: str | None) -> None:
    """Turn a run's weeks that are not decided yet, or a fork's only week, in `settings.home`, the run's own."""
    from flywheel.demo import support_customers
    from flywheel.demo.turn import Size, turn
    from flywheel.operations.launch import instance
    from flywheel.operations.screen import Screen

    pack, kept = settings.workflows() / WORKFLOW, settings.home.with_name(f"seed-{scenario.seed}-kept")
    if fork:
        lay_out_fork(kept, settings.home, WORKFLOW, fork)
        (settings.home / "stopped.json").unlink(missing_ok=True)  # whatever stopped an earlier sitting
    else:
        lay_out(SUPPORT_DESK, pack, scenario)
    _dagster_home(settings.home)
    screen = Screen(settings.home / "weeks.log")
    numbers = [scenario.bad_week] if fork else range(1, scenario.weeks + 1)
    with instance() as on:
        for number in numbers:
            week = scenario.week(number, settings.first_week)
            change_pack(pack, scenario, number, serves=_adapter_serves(settings, week))
            if is_decided(settings, week):
                screen.say(f"week {number} of {scenario.weeks}, {week}: decided already")
                continue
            planted: Callable[[], None] = (
                (lambda: keep_for_forks(settings.home, kept))
                if not fork and number == scenario.bad_week
                else (lambda: None)
            )
            started = time.monotonic()
            try:
                turn(
                    settings, SUPPORT_DESK, support_customers, week=week, size=Size(), on=on, screen=screen,
                    chance=scenario.chance(FORKS[fork]) if fork else scenario.chance(), before_answers=planted,
                )  # fmt: skip
            except FlywheelError as error:
                if fork:  # that a gate stops it is what it is planted for; the summary tells in whose words
                    (settings.home / "stopped.json").write_text(json.dumps({"stopped": str(error)}), encoding="utf-8")
                raise
            finally:
                add_seconds(settings.home / "weeks.json", week, time.monotonic() - started)


def _dagster_home(home: Path) -> None:
    """An instance of the run's own, which `flywheel ui` can show."""
    file = home / "dagster" / "dagster.yaml"
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("telemetry: {enabled: false}\nnux: {enabled: false}\n", encoding="utf-8")


def _adapter_serves(settings: Settings, week: str) -> bool:
    """Whether an adapter was released before the week."""
    from flywheel.lake import Lake
    from flywheel.promotion.pointer import BASE, serving

    return serving(Lake(settings.lake()).read_weeks("promotion_log", workflow=WORKFLOW), before_week=week) != BASE


def is_decided(settings: Settings, week: str) -> bool:
    """Whether a week has its decision and the page that reports it."""
    from flywheel.lake import Lake
    from flywheel.promotion.pointer import decided

    log = Lake(settings.lake()).read_weeks("promotion_log", workflow=WORKFLOW)
    return decided(log, week) is not None and settings.report(WORKFLOW, week).is_file()


def add_seconds(file: Path, week: str, seconds: float) -> None:
    """Add a sitting's seconds to those of a week."""
    known = read_seconds(file)
    known[week] = known.get(week, 0.0) + seconds
    partial = file.with_name(file.name + ".partial")
    partial.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
    partial.replace(file)


def read_seconds(file: Path) -> dict[str, float]:
    """Week -> machine seconds it took, over all sittings."""
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def main() -> int:
    """Command line of one process: seed, number of weeks, and a fork's name or nothing."""
    os.environ.setdefault("DAGSTER_HOME", str(Settings().home / "dagster"))
    scenario = Scenario(seed=int(sys.argv[1]), weeks=int(sys.argv[2]))
    try:
        turn_weeks(Settings(), scenario, sys.argv[3] if len(sys.argv) > 3 else None)
    except FlywheelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; decided weeks are kept, the same command goes on from there", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
