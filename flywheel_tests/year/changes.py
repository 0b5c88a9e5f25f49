"""Six weeks of the door pack through changes: a tool renamed in week 3, another base model and family in week 5.

`python -m flywheel_tests.year.changes DIR`. Real Dagster, training and vLLM on tiny models; customers and experts are simulated. It prints
each week's verdict and the marks of its trend, and fails where a verdict is INVALID, a promotion has no evidence, or a change has no mark.
It goes on where it was stopped; docs/evaluation.md has what it came to.
"""

import os
import shutil
import sys
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from flywheel_tests.packs import door_simulation

WEEKS = ("2026-01-05", "2026-01-12", "2026-01-19", "2026-01-26", "2026-02-02", "2026-02-09")
RENAMED_IN, SWITCHED_IN = WEEKS[2], WEEKS[4]
RENAMED = {"open_door": "unlock_door"}
OTHER_BASE, OTHER_FAMILY = "tiny-smollm3", "smollm3"


class Customers:
    """The door pack's simulation, whose customers want what today's tools are called."""

    solve = staticmethod(door_simulation.solve)
    answer = staticmethod(door_simulation.answer)
    careless = staticmethod(door_simulation.careless)

    @staticmethod
    def make_goals(seed: int, count: int, week: str, tools: Collection[str] = ()) -> list[Any]:
        """The same goals under today's names."""
        names = {old: new for old, new in RENAMED.items() if new in tools}
        goals = door_simulation.make_goals(seed, count, week, tools)
        return [
            replace(goal, wishes=[replace(wish, kind=names.get(wish.kind, wish.kind)) for wish in goal.wishes]) for goal in goals
        ]  # fmt: skip


def rename_tool(pack: Path) -> None:
    """What the workflow's owners do: the tool, the system that has it, and the migration; the cases follow by `supersede`."""
    for name in ("tools.json", "environment.py"):
        file = pack / name
        text = file.read_text(encoding="utf-8")
        for old, new in RENAMED.items():
            text = text.replace(f'"{old}"', f'"{new}"')
        file.write_text(text, encoding="utf-8")
    change_settings(pack, {"datasets": {"tool_migrations": RENAMED}})


def change_settings(pack: Path, changes: dict[str, Any]) -> None:
    """Merge changes into workflow.yaml."""
    file = pack / "workflow.yaml"
    values = yaml.safe_load(file.read_text(encoding="utf-8"))
    for name, value in changes.items():
        values[name] = {**values.get(name, {}), **value} if isinstance(value, dict) else value
    file.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")


def main(folder: Path) -> int:
    """Turn the weeks; returns the number of things that are wrong."""
    os.environ["FLYWHEEL_HOME"] = str(folder / "home")
    os.environ["DAGSTER_HOME"] = str(folder / "dagster")
    for name in ("FLYWHEEL_HOME", "DAGSTER_HOME"):
        Path(os.environ[name]).mkdir(parents=True, exist_ok=True)
    (folder / "dagster" / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    pack = folder / "home" / "workflows" / "door"
    if not pack.is_dir():  # before anything of flywheel is imported: the code location reads once which packs there are
        shutil.copytree(door_simulation.FOLDER, pack)
    from flywheel.benchmark.drafts import move_ready
    from flywheel.benchmark.supersede import propose
    from flywheel.demo.turn import Size, turn
    from flywheel.lake import Lake
    from flywheel.operations.launch import instance
    from flywheel.operations.screen import Screen
    from flywheel.promotion.pointer import decided
    from flywheel.settings import Settings
    from flywheel.workflows.loader import find_pack

    settings = Settings()
    screen = Screen(folder / "changes.log")
    with instance() as on:
        for week in WEEKS:
            if decided(Lake(settings.lake()).read_weeks("promotion_log", workflow="door"), week):
                continue  # a run that goes on where it was stopped: today's pack is no longer that week's
            tools = (pack / "tools.json").read_text(encoding="utf-8")
            if week >= RENAMED_IN and "unlock_door" not in tools:
                rename_tool(pack)
                propose(find_pack(settings.workflows(), "door"), ready=True)
                moved = move_ready(find_pack(settings.workflows(), "door"))
                screen.say(f"renamed {RENAMED}: {len(moved.cases)} cases superseded, {len(moved.waiting)} wait")
            if week >= SWITCHED_IN:
                # The other family writes the same tools and messages in nearly twice the tokens.
                change_settings(pack, {"base_model": OTHER_BASE, "model_family": OTHER_FAMILY, "max_model_len": 1024})
            turn(
                settings, door_simulation.FOLDER, Customers, week=week, on=on, screen=screen,  # type: ignore[arg-type]
                size=Size(customers=30, demonstrated_runs=48, demonstrated_steps=0),
            )  # fmt: skip
    return judge(settings)


def judge(settings: Any) -> int:
    """Print the weeks and count what is wrong."""
    import json

    from flywheel.lake import Lake
    from flywheel.report.conditions import BENCHMARK, FAILURES, conditions, marks, measured, weeks_of

    lake = Lake(settings.lake())
    results = measured(lake, "door")
    known = conditions(lake, "door", weeks_of(lake, "door"), results)
    benchmark, failures = marks(known, BENCHMARK), marks(known, FAILURES)
    wrong = 0
    for week in WEEKS:
        row = lake.read_partition("promotion", workflow="door", week=week).row(0, named=True)
        bases = results.filter(week=week).select("arm", "adapter_id").unique().sort("arm").rows()
        rates = [row[f"{side}_success"] for side in ("incumbent", "candidate")]
        said = " -> ".join("-" if rate is None else f"{rate:.0%}" for rate in rates)
        print(f"{week} {row['verdict']:<12} {said} "
              f"marks: {benchmark[week] or '-'} / {failures[week] or '-'}  {bases}\n    {json.loads(row['reasons'])[0]}")  # fmt: skip
        wrong += row["verdict"] == "INVALID"
        wrong += row["verdict"] == "PROMOTE" and not (
            row["difference"] is not None and row["difference_lower"] > -row["margin"]
        )
    wrong += "other tools" not in benchmark[RENAMED_IN] or "other tools" not in failures[RENAMED_IN]
    wrong += "other base model" not in benchmark[SWITCHED_IN]
    print(f"{wrong} things are wrong")
    return wrong


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).absolute()))
