"""A week of one or several workflows: each on its own, but for the stages that ask a server, which workflows on one base share.

Each is trained first; then one server is started with the incumbents and candidates of all, and they are evaluated on it one after the
other. One that fails stops alone. What goes here: who is next and who shares. What does not: running a stage (`launch.py`).
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import dagster as dg

from flywheel.chat.families import find_family
from flywheel.errors import FlywheelError
from flywheel.evaluation.prequential import who_is_asked
from flywheel.evaluation.servers import server_spec, servers_of
from flywheel.jobs import JOBS
from flywheel.lake import Lake
from flywheel.operations.launch import run_job
from flywheel.operations.screen import Screen, foreign
from flywheel.promotion.pointer import serving
from flywheel.serving.shared_server import SharedServer, offered
from flywheel.serving.together import together
from flywheel.serving.vllm_server import ServerSpec
from flywheel.settings import Settings
from flywheel.workflows.base_model import find_base_model
from flywheel.workflows.pack import Pack

ASKING = ("prequential_results", "eval_results")
_APART = "evaluate them apart: one flywheel run each"


def learn_in_parts() -> list[tuple[str, ...]]:
    """The stages of `learn` in order, those that ask a server each in a part of its own."""
    parts: list[tuple[str, ...]] = []
    for stage in JOBS["learn"]:
        if stage in ASKING or not parts or parts[-1][0] in ASKING:
            parts.append((stage,))
        else:
            parts[-1] += (stage,)
    return parts


def refuse_apart(settings: Settings, packs: Mapping[str, Pack]) -> None:
    """Raise FlywheelError where two workflows that this machine serves could not be evaluated on one server; nothing need be there for it."""
    here = {
        name: ServerSpec(Path(settings.base_model or pack.settings.base_model), find_family(pack.settings.model_family))
        for name, pack in packs.items()
        if pack.settings.serving == "here"
    }
    if len(here) > 1:
        together(here, remedy=_APART)


class Several:
    """Workflows whose week is run; those that failed are passed over and named at the end.

    Args:
        packs: by workflow, in the order in which they run.

    Attributes:
        failed: workflow -> why it stopped.
    """

    def __init__(
        self, settings: Settings, packs: Mapping[str, Pack], week: str, on: dg.DagsterInstance, screen: Screen
    ) -> None:
        self.packs = packs
        self.failed: dict[str, FlywheelError] = {}
        self._settings, self._week, self._on, self._screen = settings, week, on, screen

    def going(self) -> list[str]:
        """The workflows that have not failed."""
        return [name for name in self.packs if name not in self.failed]

    def each(self, work: Callable[[str], None], workflows: Sequence[str]) -> None:
        """Do something for every one of these that goes on; one that raises FlywheelError does not go on, the others do."""
        for name in workflows:
            if name in self.failed:
                continue
            if len(self.packs) > 1:
                self._screen.say(f"[bold]{name}[/]")
            try:
                work(name)
            except FlywheelError as error:
                self.failed[name] = error
                if len(self.packs) > 1:
                    self._screen.say(foreign(f"  {name} stops here: {error.what}"))

    def learn(self, workflows: Sequence[str]) -> None:
        """`learn` of these: as one job where nothing is shared, else part by part, and one server for each part that asks."""
        here = [name for name in workflows if self.packs[name].settings.serving == "here"]
        sharing = here if len(here) > 1 else []
        self.each(lambda name: self._run("learn", name), [name for name in workflows if name not in sharing])
        for part in learn_in_parts() if sharing else []:
            if part[0] in ASKING:
                self.ask(part[0], sharing)
            else:
                self.each(lambda name, part=part: self._run("learn", name, part), sharing)

    def ask(self, stage: str, workflows: Sequence[str]) -> None:
        """Run a stage that asks a server: of two or more with something to ask, on one server that is started for them."""
        specs = {
            name: spec
            for name in workflows
            if name not in self.failed and (spec := self._asked_of(stage, name)) is not None
        }
        alone = [name for name in workflows if len(specs) < 2 or name not in specs]
        self.each(lambda name: self._run("learn", name, (stage,)), alone)
        if len(specs) < 2:
            return
        joined = together(specs, remedy=_APART)
        log = self._settings.scratch(next(iter(specs)), self._week, stage) / "shared" / "vllm.log"
        with offered(SharedServer(list(specs), joined, log)) as server:
            self.each(lambda name: self._run("learn", name, (stage,)), list(specs))
        starts = {0: "needed no server", 1: "shared one server"}.get(server.starts, f"shared a server that was started {server.starts} times")  # fmt: skip
        self._screen.say(
            foreign(f"  {stage}: {', '.join(specs)} {starts}" + (f"; log: {log}" if server.starts else ""))
        )

    def finish(self) -> None:
        """Raise the error of the one workflow that there is, or one that names all that failed."""
        if self.failed and len(self.packs) == 1:
            raise next(iter(self.failed.values()))
        if self.failed:
            said = "; ".join(f"{name}: {error.what}" for name, error in self.failed.items())
            raise FlywheelError(
                f"{len(self.failed)} of {len(self.packs)} workflows stopped: {said}", where=f"week {self._week}",
                remedy="; ".join(f"{name}: {error.remedy}" for name, error in self.failed.items()),
            )  # fmt: skip

    def _run(self, job: str, name: str, stages: Sequence[str] = ()) -> None:
        run_job(job, workflow=name, week=self._week, on=self._on, screen=self._screen, stages=list(stages) or None)

    def _asked_of(self, stage: str, name: str) -> ServerSpec | None:
        """What a server of the workflow's own would serve in this stage; None where it asks none here, or the stage itself will say why it cannot."""
        pack = self.packs[name]
        if pack.settings.serving != "here":
            return None
        settings, lake = self._settings, Lake(self._settings.lake())
        try:
            adapters = _adapters(lake, stage, pack, self._week)
            if not adapters:
                return None
            base = find_base_model(settings.models(), settings.base_model or pack.settings.base_model)
            servers = servers_of(lake, settings, pack, base, adapters)
        except FlywheelError:
            return None
        here = adapters - {*servers.gone, *servers.endpoints}
        own = {one for one in here if servers.on[one].kind == servers.today.kind}
        return server_spec(settings, servers.today, own) if own else None


def _adapters(lake: Lake, stage: str, pack: Pack, week: str) -> set[str]:
    """Who answers in the stage, `base` and an endpoint among them; empty where nobody is asked."""
    workflow = pack.name
    incumbent = serving(
        lake.read_weeks("promotion_log", workflow=workflow), before_week=week, first=pack.first_incumbent
    )
    if stage == "prequential_results":
        return {arm.adapter_id for arm in who_is_asked(lake, workflow, week, incumbent).arms}
    if not lake.has_partition("checkpoint", workflow=workflow, week=week):
        return set()
    trained = lake.read_partition("checkpoint", workflow=workflow, week=week)["adapter_id"]
    return {incumbent, trained[0]} if trained.len() else set()
