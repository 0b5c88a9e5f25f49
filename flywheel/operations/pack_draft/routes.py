"""The workflows of one log: told by workload, else by agent name, else by system prompt and tools.

Runs of one workload or agent are one workflow. A field tells workflows apart only where most runs carry it, and where at least 80 % of
those carry a value that recurs (at least three runs and 2 % of the log). One that is nearly new in each run names the run, a session
or a user, and a route by it would leave the rest of the log, and all of next week's, without a workflow. Without such names, runs whose
system prompts are alike are one, and so are those whose tools are the same for half (Jaccard): a new prompt over the same tools is no
new workflow. The model's name decides nothing: two models that serve one workflow are an experiment. What makes up less than 2 % of the
log gets no route.
"""

import re
from collections import Counter
from typing import Any, NamedTuple

import yaml

from flywheel.errors import FlywheelError
from flywheel.operations.pack_draft.prompt import families
from flywheel.traces.routing import system_prompt, tools_of_run
from flywheel.traces.trace import Trace
from flywheel.workflows.guesses import Guess, digest_of

_RARE = 0.02
_LEAST = 3
_COVERED = 0.8
_SAME_TOOLS = 0.5
_TELLING = 12  # characters of a sentence that can tell one prompt from another
_SENTENCE = re.compile(r"(?<=[.!?:])\s+|(?<!\s)\s*\n\s*")
_REST = -2


class Group(NamedTuple):
    """Runs of one workflow.

    Attributes:
        name: from the log where it has one, else workflow_1 and so on, the largest first.
        runs: theirs.
        route: as in workflow.yaml; empty where there is one workflow only, or where nothing tells it.
        because: how they are told, in words.
    """

    name: str
    runs: list[Trace]
    route: dict[str, Any]
    because: str


class Split(NamedTuple):
    """The workflows found, the largest first, and the runs that belong to none of them."""

    groups: list[Group]
    rest: list[Trace]


def split(runs: list[Trace]) -> Split:
    """The workflows in a log; one group without a route where there is only one."""
    for field in ("workload_id", "agent_name"):
        names = [getattr(run, field) for run in runs]
        named = len(runs) - names.count(None)
        if len(set(names)) > 1 and named * 2 > len(runs):
            large, rest = _large(runs, names, never=None)
            if sum(map(len, large.values())) >= _COVERED * named:
                return Split(_by_name(field, large), rest)
    keys = _keys(runs)
    large, rest = _large(runs, keys)
    if len(large) == 1 and not rest:
        return Split([Group("workflow_1", runs, {}, "the only workflow in the log")], rest)
    everyone = {**large, _REST: rest}
    prompts = {key: [system_prompt(run) for run in mine] for key, mine in everyone.items()}
    tools = {key: Counter(name for run in mine for name in tools_of_run(run)) for key, mine in everyone.items()}
    groups = []
    for number, (key, mine) in enumerate(large.items()):
        name = f"workflow_{number + 1}"
        route, because = _told(key, prompts, tools)
        groups.append(Group(name, mine, {"workflow": name, **route} if route else {}, because))
    return Split(groups, rest)


class Routing(NamedTuple):
    """One workflow chosen out of a log: its runs, and the routes as YAML, as a guess, and in words; none where it is alone."""

    runs: list[Trace]
    yaml: str
    guesses: list[Guess]
    remarks: list[str]


def choose(found: Split, pack: str, wanted: str | None) -> Routing:
    """The workflow a pack is for: the wanted one, else the one of the pack's name, else the largest.

    Raises FlywheelError for a name that is not there, and for a workflow that nothing tells apart.
    """
    names = {group.name: group for group in found.groups}
    if wanted is not None and wanted not in names:
        raise FlywheelError(
            f"there is no workflow {wanted!r} in the log", where="--workflow", remedy=f"name one of: {', '.join(names)}"
        )
    mine = names[wanted or (pack if pack in names else found.groups[0].name)]
    if len(found.groups) == 1 and not mine.route:
        rest = f"{len(found.rest)} runs of another kind are among them, and nothing tells them apart"
        return Routing([*mine.runs, *found.rest], "", [], [rest] if found.rest else [])
    if not mine.route:
        raise FlywheelError(f"nothing tells the {len(mine.runs)} runs of {mine.name} from the others", where="the log",
                            remedy="log a workload_id or an agent's name with each run, or keep a file for each workflow")  # fmt: skip
    renamed = {name: f"{name}_other" if name == pack and group is not mine else name for name, group in names.items()}
    renamed[mine.name] = pack
    routes = [{**group.route, "workflow": renamed[group.name]} for group in found.groups if group.route]
    text = yaml.safe_dump({"traces": {"routes": routes}}, sort_keys=False, allow_unicode=True, width=10_000)
    told = [f"{len(group.runs)} runs are {renamed[group.name]}, told {group.because}" for group in found.groups]
    if found.rest:
        told.append(f"{len(found.rest)} runs match none of these: quarantined as unrouted")
    others = [name for name in names if name != mine.name]
    if others:
        told.append(f"for the others: flywheel init NAME --from the same logs --workflow {' | '.join(others)}")
    guess = Guess(
        "routes",
        "workflow.yaml",
        ("traces", "routes"),
        digest_of(_loaded(text)),
        True,
        "; ".join(told[: len(found.groups)]),
    )
    return Routing(mine.runs, f"# Which runs of the log are whose; the first that holds counts.\n{text}", [guess], told)


def _loaded(text: str) -> Any:
    return yaml.safe_load(text)["traces"]["routes"]


def _by_name(field: str, large: dict[str, list[Trace]]) -> list[Group]:
    groups = []
    taken: set[str] = set()
    for value, mine in large.items():
        name = _identifier(value)
        while name in taken:
            name += "_"
        taken.add(name)
        groups.append(Group(name, mine, {"workflow": name, field: [value]}, f"by its {field}: {value}"))
    return groups


def _identifier(text: str) -> str:
    plain = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    return (plain if plain[:1].isalpha() else f"w_{plain}")[:60]


def _large(runs: list[Trace], keys: list[Any], never: Any = -1) -> tuple[dict[Any, list[Trace]], list[Trace]]:
    """Runs by key, the largest first, and those of keys that are rare (or `never` a workflow); where all are rare, one is kept."""
    counts = Counter(keys)
    least = max(_LEAST, _RARE * len(runs)) if len(counts) > 1 else 0
    kept = [(key, count) for key, count in counts.most_common() if key != never]
    large = {key: [] for key, count in kept if count >= least} or {key: [] for key, _ in kept[:1]}
    rest = []
    for run, key in zip(runs, keys, strict=True):
        large.get(key, rest).append(run)
    return large, rest


def _keys(runs: list[Trace]) -> list[int]:
    """Number of each run's workflow, by likeness of prompts, then of tools."""
    groups, of = families([system_prompt(run) for run in runs])
    own = [of[system_prompt(run)] for run in runs]
    tools = [Counter[str]() for _ in groups]
    sizes = Counter(own)
    for run, number in zip(runs, own, strict=True):
        tools[number].update(tools_of_run(run))
    usual = [{name for name, count in seen.items() if count * 50 > sizes[number]} for number, seen in enumerate(tools)]
    same = list(range(len(groups)))
    for number, names in enumerate(usual):
        for earlier in range(number):
            both = len(names & usual[earlier])
            if both and both >= _SAME_TOOLS * len(names | usual[earlier]):
                same[number] = same[earlier]
                break
    return [same[number] for number in own]


def _told(key: Any, prompts: dict[Any, list[str]], tools: dict[Any, Counter[str]]) -> tuple[dict[str, Any], str]:
    """Conditions that hold for this group's runs and for no other's: a sentence of the prompt, else tools only it has."""
    others = {text for other, texts in prompts.items() if other != key for text in texts}
    distinct = set(prompts[key])
    for line in dict.fromkeys(_SENTENCE.split(prompts[key][0])):
        telling = len(line) >= _TELLING and all(line in text for text in distinct)
        if telling and not any(line in text for text in others):
            return {"system_contains": line}, f"by a sentence of its system prompt: {line[:80]!r}"
    foreign = {name for other, seen in tools.items() if other != key for name in seen}
    own = sorted(set(tools[key]) - foreign)
    return ({"tools": own}, f"by tools that only it has: {', '.join(own)}") if own else ({}, "nothing tells it apart")
