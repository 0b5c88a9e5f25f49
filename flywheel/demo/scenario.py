"""What happens in the ten simulated weeks of `flywheel weeks`: a new tool in week 5, and a planted bad week beside week 2.

A run has a home of its own (`FLYWHEEL_HOME/weeks/seed-1`), so that it never stands beside real weeks. When the batch of the bad week lies
ready, the home is copied; from that copy the same week is turned twice more with other experts:

* `careless`: about a fifth of the accepted corrections are wrong, and no reviewer notices. The audit should stop the week.
* `misled`: everybody takes one tool for another, in the corrections and in the demonstrations, and the auditor passes it: the week is
  forced through with one tool wholly wrong. The gate should stop it.

The main run's own week is the otherwise equal good week.
"""

import json
import shutil
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import yaml

from flywheel.corrections.proposal import Proposal
from flywheel.demo import delivery_slots
from flywheel.demo.expert_desk import Habits, mislead
from flywheel.demo.turn import Chance
from flywheel.demo.week import DEMONSTRATION_SEED, TRAFFIC_SEED, lay_out_pack
from flywheel.toolcalls.arguments import canonical_json

MISLED = {"cancel_order": "get_order"}
# Ten weeks are turned, so each shows fewer rows than the demo's one, the first in steps of half as many: on the first week's rows 60
# steps of eight reached 27.5 % of the benchmark's 240 cases, 120 steps of four 53.3 %. So few presentations teach a fresh adapter the
# same again every week: the second week's stood where the first one's did (60.0 and 60.8 %); going on from the first one's it reached
# 69.6 %. What goes on needs no more steps than eight rows each give, and a step takes as long with eight rows as with four: most of it
# is the prompt that all rows share.
_TRAINING = {
    "start": "incumbent", "sft_presentations": 480, "rows_per_step": 4, "steps_between_saves": 20, "dpo_pairs": 64, "dpo_pairs_per_step": 8,
}  # fmt: skip
# From the week on in which an adapter serves; docs/weeks.md tells why. At higher rates two weeks of five fell back
# (-5.9 and -15.8 points).
_LATER: dict[str, dict[str, Any]] = {
    "training": {"rows_per_step": 8, "steps_between_saves": 30, "sft_learning_rate": 0.001},
    "datasets": {"row_budget": 480, "half_life_weeks": 4.0, "demonstrations": 0.5},
}
# Copied neither to a fork nor needed by it: made again where it is missing.
_LEFT_BEHIND = shutil.ignore_patterns("scratch", "reports", "dagster", "*.log", "*.progress", "weeks.json", "models")


@dataclass(frozen=True)
class Scenario:
    """One run of simulated weeks.

    Attributes:
        seed: 1 for the run that the README shows; it changes demonstrations, customers, experts and training.
        weeks: how many weeks are turned.
        new_tool_week, bad_week: numbers of weeks, from 1; a bad week beyond `weeks` is never planted.
        overrides: sections of workflow.yaml and what is changed in them.
    """

    seed: int = 1
    weeks: int = 10
    new_tool_week: int = 5
    bad_week: int = 2
    overrides: dict[str, dict[str, Any]] = field(default_factory=dict)

    def week(self, number: int, first: str) -> str:
        """The Monday of week `number`, from 1."""
        return (date.fromisoformat(first) + timedelta(weeks=number - 1)).isoformat()

    def chance(self, habits: Habits = Habits()) -> Chance:  # noqa: B008  (frozen)
        """Seeds of the run; those of seed 1 are the demo's."""
        other = self.seed - 1
        return Chance(DEMONSTRATION_SEED + other, TRAFFIC_SEED + other, other, habits)


FORKS: dict[str, Habits] = {
    "careless": Habits(mistake=0.25, notice=0.0, dispute=0.0, notice_again=0.0),
    "misled": Habits(misled=MISLED, audit_passes_all=True),
}


def lay_out(source: Path, pack: Path, scenario: Scenario) -> None:
    """The pack as the run's first week has it; nothing where it lies already."""
    if not lay_out_pack(source, pack):
        return
    file = pack / "workflow.yaml"
    values = yaml.safe_load(file.read_text(encoding="utf-8"))
    first = {"training": {**_TRAINING, "seed": scenario.seed - 1}, "evaluation": {"concurrency": 32}}
    for changed in (first, scenario.overrides):
        for section, changes in changed.items():
            values.setdefault(section, {}).update(changes)
    file.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")


def change_pack(pack: Path, scenario: Scenario, number: int, *, serves: bool) -> bool:
    """What the workflow's owners do to the pack before week `number`; whether they did anything.

    Args:
        serves: whether an adapter does, from which the week goes on. Until then a week starts afresh, with the first one's settings: in
            half as many steps at half the rate a fresh adapter reached 25.4 % of the core's cases.
    """
    changed = number > 1 and serves and _go_on(pack / "workflow.yaml", scenario)
    new_tool = number >= scenario.new_tool_week and delivery_slots.add_to(pack)
    return changed or new_tool


def _go_on(file: Path, scenario: Scenario) -> bool:
    """Settings of the weeks that go on from the one before; whether they were others."""
    values = yaml.safe_load(file.read_text(encoding="utf-8"))
    later = {name: {**values[name], **changes, **scenario.overrides.get(name, {})} for name, changes in _LATER.items()}
    if all(later[name] == values[name] for name in later):
        return False
    file.write_text(yaml.safe_dump({**values, **later}, sort_keys=False), encoding="utf-8")
    return True


def keep_for_forks(home: Path, kept: Path) -> None:
    """A copy of the home as it is; whole or not there."""
    if kept.is_dir():
        return
    partial = kept.with_name(kept.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(home, partial, ignore=_LEFT_BEHIND)
    partial.replace(kept)


def lay_out_fork(kept: Path, home: Path, workflow: str, name: str) -> None:
    """A fork's home out of the copy, nothing where it lies already; for `misled` with the demonstrations of the misled."""
    if home.is_dir():
        return
    partial = home.with_name(home.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(kept, partial)
    pack = partial / "workflows" / workflow
    if misled := FORKS[name].misled:
        _mislead_demonstrations(pack / "demonstrations" / "simulated.jsonl", dict(misled))
        file = pack / "workflow.yaml"
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
        # Forced through: what the gold items would have told is not asked.
        values["quality"]["gold_pass_rate"] = 0.0
        file.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    partial.replace(home)


def _mislead_demonstrations(file: Path, misled: dict[str, str]) -> None:
    lines = []
    for line in file.read_text(encoding="utf-8").splitlines():
        value = json.loads(line)
        steps = [index for index, message in enumerate(value["messages"]) if message["role"] == "assistant"]
        wrong = mislead(Proposal(steps[0], value["messages"], steps), misled)
        lines.append(canonical_json({**value, "messages": wrong.messages} if wrong else value) + "\n")
    file.write_text("".join(lines), encoding="utf-8")
