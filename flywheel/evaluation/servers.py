"""Which arms answer from one server: those whose adapters were trained on the same base model and family; an endpoint answers for itself.

Usually that is all of them. After a change of base or family the incumbent stays on its own: each side then has its own server, template
and parser, on the same cases, and the A/A run belongs to the incumbent's.
"""

from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from flywheel.chat.families import find_family
from flywheel.errors import FlywheelError
from flywheel.evaluation.attached_session import ToldElsewhere, attached_server, evaluate_attached
from flywheel.evaluation.decides import unusable
from flywheel.evaluation.endpoint_session import Endpoint, evaluate_endpoint
from flywheel.evaluation.runner import Arm, Benchmark
from flywheel.evaluation.session import Session, evaluate
from flywheel.lake import Lake
from flywheel.serving.adapters import largest_rank
from flywheel.serving.shared_server import SharedServer
from flywheel.serving.trained_on import TrainedOn, trained_on_each
from flywheel.serving.vllm_server import BASE, ServerSpec
from flywheel.settings import Settings
from flywheel.workflows.base_model import BaseModel, check_weights
from flywheel.workflows.pack import Pack
from flywheel.workflows.serving_settings import EndpointSettings, is_endpoint


class Servers(NamedTuple):
    """What the adapters of an evaluation stand on.

    Attributes:
        today: the pack and its base model.
        on: adapter -> what it was trained on.
        gone: adapter -> why it cannot be served.
        endpoints: of those that are endpoints, where and how they are asked.
    """

    today: TrainedOn
    on: dict[str, TrainedOn]
    gone: dict[str, str]
    endpoints: Mapping[str, EndpointSettings] = MappingProxyType({})

    def others(self) -> dict[str, list[str]]:
        """Adapters on another base or family than today's -> hashes of both; part of what decides an evaluation."""
        return {
            adapter: [own.base.sha256, find_family(own.pack.settings.model_family).template_sha256]
            for adapter, own in self.on.items() if own.kind != self.today.kind
        }  # fmt: skip

    def decides(self, **arms: Any) -> dict[str, Any]:
        """What the arms add to what decides an evaluation; the same as ever where all stand on today's base."""
        asked = {adapter: endpoint.asked() for adapter, endpoint in self.endpoints.items()}
        more = {"others": self.others(), "endpoints": asked}
        return {**arms, **{name: values for name, values in more.items() if values}}

    def split(self, arms: Sequence[Arm]) -> list[tuple[TrainedOn, list[Arm]]]:
        """The arms that are served here by server, in the order in which they were given."""
        found: dict[tuple[str, str], tuple[TrainedOn, list[Arm]]] = {}
        for arm in arms:
            if arm.adapter_id not in {*self.gone, *self.endpoints}:
                own = self.on[arm.adapter_id]
                found.setdefault(own.kind, (own, []))[1].append(arm)
        return list(found.values())


def servers_of(
    lake: Lake, settings: Settings, pack: Pack, base: BaseModel, adapters: set[str], *, trusted: Set[str] = frozenset()
) -> Servers:  # fmt: skip
    """What each adapter stands on and whether it can be served.

    Args:
        adapters: all that answer; `base` among them stands for today's base model.
        trusted: adapters whose files are not looked at here.
    """
    on, lost = trained_on_each(lake, pack, base, settings.models(), adapters)
    folder = settings.checkpoints(pack.name).absolute()
    gone, endpoints, first = dict(lost), {}, pack.settings.first_incumbent
    for adapter in sorted(adapters - {BASE, *trusted, *lost}):
        if not is_endpoint(adapter):
            gone.update(unusable(folder, {adapter}, base_model=on[adapter].base.folder.name))
        elif first and adapter == first.endpoint.id:
            endpoints[adapter] = first.endpoint
        else:
            gone[adapter] = (
                f"{adapter} is not the first_incumbent that workflow.yaml names: nobody says how it is asked"
            )
    return Servers(TrainedOn(pack, base), on, gone, endpoints)


def server_spec(settings: Settings, own: TrainedOn, adapters: set[str]) -> ServerSpec:
    """What is served for the arms of one side: the base model and the named adapters."""
    folder = settings.checkpoints(own.pack.name).absolute()
    served = {adapter: folder / adapter for adapter in sorted(adapters - {BASE})}
    return ServerSpec(
        model=own.base.folder,
        family=find_family(own.pack.settings.model_family),
        adapters=served,
        max_model_len=own.pack.settings.max_model_len,
        max_num_seqs=own.pack.settings.evaluation.concurrency,
        max_lora_rank=largest_rank(served.values(), least=max(8, own.pack.settings.lora_rank)),
        threads=settings.threads,
    )


def evaluate_all(
    settings: Settings, servers: Servers, arms: Sequence[Arm], benchmark: Benchmark, *, log: Path,
    elsewhere: ToldElsewhere = MappingProxyType({}), shared: SharedServer | None = None,
) -> list[tuple[TrainedOn, Session]]:  # fmt: skip
    """Run every servable arm: the endpoint's, then one server a side, one after the other, or the attached one. Raises what each raises.

    Args:
        log: of the server; of several, each has a folder of its own beside it.
        elsewhere: what PEFT said of adapters where they were trained; an attached server is held against it.
        shared: a server of several workflows, for the side that it serves.
    """
    split = servers.split(arms)
    done = _ask_endpoints(settings, servers, arms, benchmark, log)
    if benchmark.pack.settings.attach is not None:
        attached = (_evaluate_attached(settings, own, its, benchmark, log, elsewhere) for own, its in _one_side(split))
        return [*done, *attached]
    for own, its in split:
        check_weights(own.base)
        spec = server_spec(settings, own, {arm.adapter_id for arm in its})
        part = benchmark._replace(pack=own.pack, base_model_sha256=own.base.sha256)
        at = log if len(split) == 1 else log.parent / its[0].name / log.name
        seconds = settings.serve_start_seconds
        done.append((own, evaluate(part, its, spec, own.renderer(), log=at, start_seconds=seconds, shared=shared)))
    return done


def _ask_endpoints(
    settings: Settings, servers: Servers, arms: Sequence[Arm], benchmark: Benchmark, log: Path
) -> list[tuple[TrainedOn, Session]]:
    """The arms of each endpoint, on the pack of today, with the key from the environment."""
    done: list[tuple[TrainedOn, Session]] = []
    part, pack = benchmark._replace(base_model_sha256=""), servers.today.pack
    for adapter, asked in servers.endpoints.items():
        where = f"{pack.folder / 'workflow.yaml'}: first_incumbent"
        endpoint = Endpoint(asked, where, settings.egress_log(pack.name), settings.frontier_key)
        its = [arm for arm in arms if arm.adapter_id == adapter]
        done.append((servers.today, evaluate_endpoint(part, its, endpoint, folder=_of_endpoint(log).parent)))
    return done


def _of_endpoint(log: Path) -> Path:
    """What stands for a log of an endpoint, which has none: its finished arms are kept beside it."""
    return log.parent / "endpoint" / log.name


def _one_side(split: list[tuple[TrainedOn, list[Arm]]]) -> list[tuple[TrainedOn, list[Arm]]]:
    """The arms of an attached server, which serves one base model."""
    if len(split) > 1:
        bases = ", ".join(f"{its[0].name} on {own.base.folder.name} ({own.pack.settings.model_family})" for own, its in split)  # fmt: skip
        raise FlywheelError(f"an attached server serves one base model, and the arms stand on several: {bases}", where="workflow.yaml: serving",
                            remedy="evaluate the week of the change on a machine that serves (serving: here)")  # fmt: skip
    return split


def _evaluate_attached(
    settings: Settings, own: TrainedOn, arms: list[Arm], benchmark: Benchmark, log: Path, elsewhere: ToldElsewhere
) -> tuple[TrainedOn, Session]:  # fmt: skip
    """Arms on the pack's attached server."""
    check_weights(own.base)
    renderer, spec = own.renderer(), server_spec(settings, own, {arm.adapter_id for arm in arms})
    attached = attached_server(settings, own.pack, renderer, spec, elsewhere)
    part = benchmark._replace(pack=own.pack, base_model_sha256=own.base.sha256)
    return own, evaluate_attached(part, arms, attached, renderer, log=log)


def logs_of(servers: Servers, arms: Sequence[Arm], log: Path) -> list[Path]:
    """The logs that `evaluate_all` writes for these arms."""
    split = servers.split(arms)
    own = [log] if len(split) < 2 else [log.parent / its[0].name / log.name for _, its in split]
    return [*own, _of_endpoint(log)] if servers.endpoints else own


def told(done: Sequence[tuple[TrainedOn, Session]]) -> str:
    """Who answered from which server, for people."""
    also = [f", shared by {session.shared_by}" if session.shared_by else "" for _, session in done]
    if len(done) < 2:
        return f"one server for all arms{''.join(also)}"
    parts = (
        f"{', '.join(dict.fromkeys(row['arm'] for row in session.rows))} on "
        f"{session.asked or f'{own.base.name} ({own.pack.settings.model_family})'}{shared}"
        for (own, session), shared in zip(done, also, strict=True)
    )
    asked = any(session.asked for _, session in done)
    return f"{'an endpoint, and a server here' if asked else 'a server for each base model'}: {'; '.join(parts)}"
