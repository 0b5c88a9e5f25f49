"""One evaluation session on a vLLM that runs already: which proofs it allows, all arms, and whether it stayed the same meanwhile.

What a server of ours proves by how it was started, this one has to show by its answers. What it cannot show is named with the results
(`not_proven`) and on the weekly page. It is looked at before and after every arm: a version or a model that changed stands on the rows
under `changed` or differs between them, and promotion reads either as INVALID.
"""

import asyncio
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from flywheel.chat.render import Message, Renderer
from flywheel.errors import FlywheelError, Interrupted
from flywheel.evaluation.kept_arms import KeptArms
from flywheel.evaluation.runner import Arm, Benchmark, run_arm
from flywheel.evaluation.scoring import Scorer
from flywheel.evaluation.session import Counter, Session, cases_of, one_a_category
from flywheel.privacy.egress import destination
from flywheel.serving import canary
from flywheel.serving.adapters import open_adapter
from flywheel.serving.attached import PURPOSE, AttachedClient, Seen
from flywheel.serving.endpoint import NotSent
from flywheel.serving.parity import check_prompt_parity
from flywheel.serving.vllm_server import BASE, ServerSpec
from flywheel.settings import Settings
from flywheel.toolcalls.arguments import canonical_json
from flywheel.workflows.pack import Pack

# A server that others may ask as well, started by others: true of every one of them.
_NEVER_PROVEN = "with which arguments it was started, and that nobody else asked it meanwhile"
_NOT_AS_TRAINED = (
    "that it serves what was trained: neither PEFT nor log-probabilities from where the adapters were trained are here"
)


# adapter -> probes and what PEFT said of them where it was trained, under `base` and under the adapter
ToldElsewhere = Mapping[str, tuple[Sequence[canary.Probe], canary.LogProbabilities]]


class Attached(NamedTuple):
    """How the server is asked, and what it is held against.

    Attributes:
        client: not opened yet.
        adapters: folder of the adapters as the server sees it.
        known: what PEFT said of adapters where they were trained.
        here: what PEFT would load on this machine; None where it is not asked here.
    """

    client: AttachedClient
    adapters: str
    known: ToldElsewhere
    here: ServerSpec | None = None


def attached_server(
    settings: Settings, pack: Pack, renderer: Renderer, spec: ServerSpec, known: ToldElsewhere
) -> Attached:
    """How the pack's attached server is asked; raises FlywheelError when its host is elsewhere and not listed for it, or an adapter is not whole here."""
    attach = pack.settings.attach
    assert attach is not None  # asked only of packs that have one
    to = destination(attach.url, pack.settings.egress, PURPOSE, where=f"{pack.folder / 'workflow.yaml'}: attach.url")
    for path in spec.adapters.values():  # what is asked for there has to be what is whole here
        open_adapter(path, base_model=spec.model.name)
    client = AttachedClient(attach, to, renderer, log=settings.egress_log(pack.name), key=settings.server_key)
    here = spec if pack.settings.trainer == "here" and not spec.quantised else None
    return Attached(client, attach.adapters_folder or str(settings.checkpoints(pack.name).absolute()), known, here)


def evaluate_attached(
    benchmark: Benchmark, arms: Sequence[Arm], attached: Attached, renderer: Renderer, *, log: Path
) -> Session:
    """Prove what can be proven of the attached server, run every arm one after the other, and look at it again after each.

    Arms that ran to their end are kept beside `log`. Raises FlywheelError where a proof fails, an adapter is not served, or the server
    does not answer.
    """
    names = sorted({arm.served_as for arm in arms} - {BASE})
    probes = canary.probes(renderer, canary.fixed_histories(benchmark.pack.system), benchmark.pack.tools)
    try:
        with _peft(attached, names, probes, log.parent / "canary") as peft:
            return asyncio.run(_session(benchmark, arms, attached, renderer, _Asked(names, probes, peft), log))
    except NotSent as error:
        raise FlywheelError(f"a prompt that the proofs need was {error}", where=attached.client.host,
                            remedy="mask it in the benchmark's first cases, or ask a server on this machine") from None  # fmt: skip
    except httpx.HTTPStatusError as error:
        kind = Interrupted if error.response.is_server_error else FlywheelError
        closed = error.response.status_code in (401, 403)
        said = f"{error.response.status_code} to {error.request.url.path}: {error.response.text[:200]}"
        how = f"start it with the arguments that `flywheel bundle {benchmark.pack.name} --out DIR` writes (template, tool parser), see its log"
        remedy = "set FLYWHEEL_SERVER_KEY to its key" if closed else how
        raise kind(f"the attached server said {said}", where=attached.client.host, remedy=remedy) from None
    except httpx.HTTPError as error:
        raise Interrupted(
            f"the attached server did not answer: {type(error).__name__} {error}", where=attached.client.host,
            remedy="is it there, at attach.url of workflow.yaml? Arms that ran to their end are kept: run the stage again",
        ) from None  # fmt: skip


class _Asked(NamedTuple):
    """Adapters, probes, and who says what PEFT has of them: a child at work, its answers, or nobody."""

    names: Sequence[str]
    probes: Sequence[canary.Probe]
    peft: canary.Reference | canary.LogProbabilities | None


@contextmanager
def _peft(
    attached: Attached, names: Sequence[str], probes: Sequence[canary.Probe], folder: Path
) -> Iterator[canary.Reference | canary.LogProbabilities | None]:
    """The answers that came back with the adapters, where all have the same probes; else a child here, where it can be asked."""
    told = {
        name: attached.known[name][1]
        for name in names
        if name in attached.known and _same(attached.known[name][0], probes)
    }
    if names and len(told) == len(names):
        yield {BASE: told[names[0]][BASE], **{name: told[name][name] for name in names}}
    elif attached.here is not None and importlib.util.find_spec("peft") is not None:
        with canary.reference(attached.here, probes, folder=folder) as child:
            yield child
    else:
        yield None


def _same(one: Sequence[canary.Probe], other: Sequence[canary.Probe]) -> bool:
    return [(*map(list, probe),) for probe in one] == [(*map(list, probe),) for probe in other]


async def _session(
    benchmark: Benchmark, arms: Sequence[Arm], attached: Attached, renderer: Renderer, asked: _Asked, log: Path
) -> Session:  # fmt: skip
    names, rows, loaded = [BASE, *asked.names], [], []
    async with attached.client as client:
        try:
            seen = await _all_served(client, attached, names, loaded, benchmark.pack.settings.max_model_len)
            proofs = await _prove(client, benchmark, renderer, asked, seen)
            for arm in arms:
                rows += await _arm(client, arm, benchmark, names, proofs, log)
        finally:
            for name in loaded:
                await client.unload(name)
    return Session(rows, proofs.compared, proofs.findings, 0.0, proofs.missing)


async def _all_served(
    client: AttachedClient, attached: Attached, names: Sequence[str], loaded: list[str], longest: int
) -> Seen:
    """Look at the server, and have it load what it does not serve; `loaded` names those, to be taken back."""
    seen = await client.look(names)
    if BASE not in seen.models:
        raise FlywheelError(
            f"the attached server serves no model {client.name_there(BASE)!r}", where=client.host,
            remedy="name the base model as it does: attach.base in workflow.yaml (curl URL/models lists them)",
        )  # fmt: skip
    room = seen.models[BASE].rpartition(", ")[2].removesuffix(" tokens")
    if room.isdecimal() and int(room) < longest:
        raise FlywheelError(f"the attached server takes {room} tokens, and the pack says {longest}", where=client.host,
                            remedy=f"start it with --max-model-len {longest}, or lower max_model_len in workflow.yaml")  # fmt: skip
    for name in names:
        if name not in seen.models:
            await client.load(name, f"{attached.adapters.rstrip('/')}/{name}")
            loaded.append(name)
    return await client.look(names) if loaded else seen


class _Proofs(NamedTuple):
    """Prompts compared, what the canary saw, and what could not be proven."""

    compared: int
    findings: list[canary.Finding]
    missing: list[str]


async def _prove(
    client: AttachedClient, benchmark: Benchmark, renderer: Renderer, asked: _Asked, seen: Seen
) -> _Proofs:
    """Every proof that the server allows; raises FlywheelError at the first that fails."""
    offers = await client.offers(seen)
    missing, findings = offers.missing(), []
    if not offers.version and seen.fingerprint is None:
        missing.append("that it stayed the same: it names no version and no fingerprint")
    compared = 0
    if offers.tokenize or offers.token_ids:
        before: list[Message] = [{"role": "system", "content": benchmark.pack.system}, *benchmark.examples]
        histories = [[*before, *case.messages] for case in one_a_category(benchmark.cases)]
        compared = await check_prompt_parity(
            client, renderer, histories, benchmark.pack.tools, tokenized=offers.tokenize, fed=offers.token_ids
        )
    if offers.log_probabilities:
        served = await canary.ask_server(client, [BASE, *asked.names], asked.probes)
        if asked.peft is None:
            canary.applied(served)
            missing.append(_NOT_AS_TRAINED)
        else:
            peft = asked.peft.answer() if isinstance(asked.peft, canary.Reference) else asked.peft
            findings = canary.compare(served, peft)
    else:
        missing.append("that it serves what was trained: no log-probabilities of prompts are offered")
    return _Proofs(compared, findings, [*missing, _NEVER_PROVEN])


async def _arm(
    client: AttachedClient, arm: Arm, benchmark: Benchmark, names: Sequence[str], proofs: _Proofs, log: Path
) -> list[dict[str, Any]]:
    """One arm's rows; each says what the server was, what of it is not proven, and whether it changed while the arm ran."""
    before = await client.look(names)
    told = {finding.adapter: {"canary": finding.sentence()} for finding in proofs.findings}
    described = {
        **before.described(), "attached": client.host, "not_proven": "; ".join(proofs.missing), **told.get(arm.served_as, {}),
    }  # fmt: skip
    kept = KeptArms(log.parent / "arms", {"generated": benchmark.generation_sha256, "server": described})
    if (made := kept.read(arm)) is not None:
        return made
    part = benchmark._replace(cases=cases_of(benchmark, [arm])[arm.name])
    counter = Counter(arm.name, len(part.cases) * benchmark.pack.settings.evaluation.epochs)
    made = await run_arm(client, arm, part, server=described, finished=counter.one)
    if changes := before.changes(await client.look(names)):
        scorer, server = (
            Scorer(benchmark.pack, part.cases),
            canonical_json({**described, "changed": "; ".join(changes)}),
        )
        return [scorer.row({**row, "server": server}) for row in made]
    kept.keep(arm, made)
    return made
