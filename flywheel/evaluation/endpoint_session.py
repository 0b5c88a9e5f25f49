"""One evaluation session on an endpoint: its arms asked over HTTP under the pack's rules of egress, and what cannot be proven of it.

Nothing of it is ours: neither its weights nor its template can be looked at. So its own word is kept with the results (`answered_as`), and
what that leaves open is named with them (`not_proven`). One that answers as two models in a session is said on the rows (`changed`), and
promotion reads it as INVALID. One that fails again and again is not asked on: its cases have no score, which is INVALID too.
"""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from flywheel.errors import FlywheelError
from flywheel.evaluation.kept_arms import KeptArms
from flywheel.evaluation.runner import Arm, Benchmark, run_arm
from flywheel.evaluation.scoring import Scorer
from flywheel.evaluation.session import Counter, Session, cases_of
from flywheel.privacy.egress import destination
from flywheel.progress import report_progress
from flywheel.serving.client import ModelStep
from flywheel.serving.endpoint import PURPOSE, EndpointClient, NotSent
from flywheel.toolcalls.arguments import canonical_json
from flywheel.workflows.serving_settings import EndpointSettings

PATIENCE = 20  # requests in a row that failed
# What a person can mend, and no case would be answered before.
_REMEDIES = {
    httpx.codes.UNAUTHORIZED: "set FLYWHEEL_FRONTIER_KEY to its key",
    httpx.codes.FORBIDDEN: "set FLYWHEEL_FRONTIER_KEY to a key that may ask this model",
    httpx.codes.NOT_FOUND: "write its url (as in https://api.example.com/v1) and its model as the endpoint has them",
}
_ITS_OWN = "how it renders prompts and with which weights, precision and sampling it answers: that is its own affair"


class Endpoint(NamedTuple):
    """An endpoint as it is asked here.

    Attributes:
        settings: its address and its model.
        where: what named it, for errors.
        egress_log: the log of sends.
        key: bearer token; None where it wants none.
        timeout_seconds: of one request.
    """

    settings: EndpointSettings
    where: str
    egress_log: Path
    key: str | None
    timeout_seconds: float = 300


def evaluate_endpoint(benchmark: Benchmark, arms: Sequence[Arm], endpoint: Endpoint, *, folder: Path) -> Session:
    """Every arm asked of the endpoint, one after the other; what goes wrong there stands on the rows.

    Args:
        folder: arms that ran to their end are kept below it over a killed run, which would cost a second time.

    Raises FlywheelError when the pack does not list the host, or the endpoint wants another key, or does not know the model.
    """
    listed = benchmark.pack.settings.egress
    to = destination(endpoint.settings.url, listed, PURPOSE, where=endpoint.where)
    client = EndpointClient(
        endpoint.settings, to, log=endpoint.egress_log, key=endpoint.key, timeout_seconds=endpoint.timeout_seconds
    )
    rows = asyncio.run(_session(client, benchmark, arms, endpoint, folder))
    unproven = {proof for row in rows for proof in json.loads(row["server"])["not_proven"].split("; ")}
    name = f"{endpoint.settings.model} at {endpoint.settings.host}"
    return Session(rows, 0, [], 0.0, [f"{name}: {proof}" for proof in sorted(unproven)], asked=name)


async def _session(
    client: EndpointClient, benchmark: Benchmark, arms: Sequence[Arm], endpoint: Endpoint, folder: Path
) -> list[dict[str, Any]]:
    described = {"endpoint": endpoint.settings.host, "model": endpoint.settings.model}
    kept = KeptArms(folder / "arms", {"generated": benchmark.generation_sha256, "server": described})
    rows: list[dict[str, Any]] = []
    async with client:
        for arm in arms:
            made = kept.read(arm)
            if made is None:
                asking = _Patient(client, endpoint)
                made = await _arm(asking, arm, benchmark, described)
                if not asking.gave_up:
                    kept.keep(arm, made)
            rows += made
    return rows


async def _arm(
    asking: "_Patient", arm: Arm, benchmark: Benchmark, described: dict[str, str]
) -> list[dict[str, Any]]:  # fmt: skip
    """One arm's rows; each says who the endpoint said it was while the arm ran, and what is not proven of it."""
    part = benchmark._replace(cases=cases_of(benchmark, [arm])[arm.name])
    counter = Counter(arm.name, len(part.cases) * benchmark.pack.settings.evaluation.epochs)
    report_progress("evaluation", f"asking {described['endpoint']}", 0, counter.total)
    made = await run_arm(asking, arm, part, server=described, finished=counter.one)
    said = sorted(asking.client.answered_as)
    server = {
        **described, "answered_as": ", ".join(said) or "not said", "not_proven": "; ".join(_unproven(asking.client)),
        **({"changed": f"it answered as {' and as '.join(said)}"} if len(said) > 1 else {}),
    }  # fmt: skip
    scorer = Scorer(benchmark.pack, part.cases)
    return [scorer.row({**row, "server": canonical_json(server)}) for row in made]


def _unproven(client: EndpointClient) -> list[str]:
    """What the answers of an arm leave open, as clauses without a semicolon."""
    found = [_ITS_OWN]
    if not client.answered_as:
        found.append("which model answered: its answers name none")
    if len(client.fingerprints) != 1:
        seen = (
            f"{len(client.fingerprints)} fingerprints were seen" if client.fingerprints else "it names no fingerprint"
        )
        found.append(f"that the system behind it stayed the same: {seen}")
    return found


class _Patient:
    """Asks an endpoint until `PATIENCE` requests in a row have failed; after that nothing more is sent in this arm.

    Raises FlywheelError when the endpoint wants another key, or knows neither address nor model.
    """

    def __init__(self, client: EndpointClient, endpoint: Endpoint) -> None:
        self.client, self._endpoint, self._failed, self._last = client, endpoint, 0, ""
        client.answered_as.clear()
        client.fingerprints.clear()

    @property
    def gave_up(self) -> bool:
        """Whether it is not asked any more."""
        return self._failed >= PATIENCE

    async def step(self, *args: Any, **named: Any) -> ModelStep:
        """As the client's; raises NotSent once it gave up."""
        if self.gave_up:
            raise NotSent(f"not asked any more: {PATIENCE} requests in a row failed, the last with {self._last}")
        try:
            step = await self.client.step(*args, **named)
        except NotSent:
            raise  # that is about the case
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
            if status in _REMEDIES:
                said = f"{self._endpoint.settings.host} said {status}: {error.response.text[:200]}"
                raise FlywheelError(said, where=self._endpoint.where, remedy=_REMEDIES[httpx.codes(status)]) from None
            # What is wrong with a request is that request's: a history that is too long for it.
            self._failed_with(f"HTTP {status}", counts=status != httpx.codes.BAD_REQUEST)
            raise
        except httpx.HTTPError as error:
            self._failed_with(f"{type(error).__name__} {error}".strip())
            raise
        if not self.gave_up:
            self._failed = 0
        return step

    def _failed_with(self, said: str, *, counts: bool = True) -> None:
        self._failed, self._last = self._failed + counts, said
