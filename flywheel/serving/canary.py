"""The canary before every evaluation: is the served adapter the trained one?

vLLM can accept an adapter, apply none of its weights and say so at DEBUG only. So the log-probabilities of fixed target tokens
are asked twice, of the running server and of PEFT in a child, for the base model and every adapter:

    an adapter must change what the server says of them, and the server must agree with PEFT within `TOLERANCE`.

Measured on SmolLM2-135M (82 tokens after four prompts of about 700, both sides in bfloat16): server and PEFT differ by 0.041 nats
a token on the base model and by 0.027 to 0.036 under adapters; a no-op adapter changes nothing at all, bit for bit; one of
which every tenth is missing (weights times 0.9) is 0.135 off, one of which every second layer is missing 0.88, one of which
nothing is applied 1.78.
"""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from flywheel.chat.render import Message, Renderer
from flywheel.errors import FlywheelError
from flywheel.processes import child_command, start_group, stop_group
from flywheel.progress import report_progress
from flywheel.serving.client import ChatClient
from flywheel.serving.vllm_server import BASE, ServerSpec

TOLERANCE = 0.1  # nats a token, mean of absolute differences
SMALLEST_EFFECT = 0.001  # nats a token; a no-op is exactly zero
PROBES = 2
_REFERENCE_SECONDS = 600
_FIXED_REQUESTS = ("Hello, I need your help with something.", "Thanks. Can you do that for me now, please?")
# The module that asks PEFT: `python -m flywheel.serving.reference REQUEST`.
CHILD = "flywheel.serving.reference"

# served name -> per probe the log-probability of each target token
LogProbabilities = Mapping[str, Sequence[Sequence[float]]]


class Probe(NamedTuple):
    """A prompt and the fixed tokens asked about after it."""

    prompt_ids: list[int]
    target_ids: list[int]


class Finding(NamedTuple):
    """What the canary saw of one adapter; all in nats a token, means of absolute differences over `tokens` tokens.

    `effect_served` and `effect_peft`: adapter against base model, as vLLM and as PEFT have it. `gap`: vLLM against PEFT under
    the adapter, `gap_largest` its largest token, `gap_base` the same on the base model, the noise of two implementations.
    """

    adapter: str
    tokens: int
    effect_served: float
    effect_peft: float
    gap: float
    gap_largest: float
    gap_base: float

    def sentence(self) -> str:
        """For a person."""
        return (
            f"{self.adapter}: changes log-probabilities by {self.effect_served:.3f} nats a token as served, {self.effect_peft:.3f} in "
            f"PEFT; the two differ by {self.gap:.3f} (allowed {TOLERANCE}; {self.gap_base:.3f} on the base model; {self.tokens} tokens)"
        )


def probes(renderer: Renderer, histories: Sequence[list[Message]], tools: list[dict[str, Any]]) -> list[Probe]:
    """Fixed targets after the first histories, words and a call in turn: what is asked never depends on the adapter."""
    name = tools[0]["function"]["name"]
    call = {"id": "call_0", "type": "function", "function": {"name": name, "arguments": "{}"}}
    targets: list[Message] = [
        {"role": "assistant", "content": "I have looked into it for you. Here is what I found."},
        {"role": "assistant", "content": "", "tool_calls": [call]},
    ]
    steps = [renderer.step(history, targets[n % 2], tools) for n, history in enumerate(histories[:PROBES])]
    return [Probe(step.prompt_ids, step.target_ids) for step in steps]


def fixed_histories(system: str) -> list[list[Message]]:
    """Histories that hold nothing of the benchmark, for probes that are asked on a machine elsewhere."""
    return [[{"role": "system", "content": system}, {"role": "user", "content": text}] for text in _FIXED_REQUESTS]


def effect(base: Sequence[Sequence[float]], adapter: Sequence[Sequence[float]]) -> float:
    """How much an adapter changes the probes' log-probabilities: mean of absolute differences, nats a token."""
    return _mean_gap(_flat(adapter), _flat(base))


@contextmanager
def reference(spec: ServerSpec, asked: Sequence[Probe], *, folder: Path) -> Iterator["Reference"]:
    """PEFT at work on the probes in a child, while the server starts; ended with the block."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "answer.json").unlink(missing_ok=True)
    adapters = {name: str(path) for name, path in spec.adapters.items()}
    request = {"base_model": str(spec.model), "threads": spec.threads, "probes": asked, "adapters": adapters}
    (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
    (folder / "log.txt").unlink(missing_ok=True)
    command = child_command(CHILD, str(folder / "request.json"))
    process = start_group(command, environment={**os.environ, "HF_HUB_OFFLINE": "1"}, log=folder / "log.txt")
    try:
        yield Reference(process, folder)
    finally:
        stop_group(process)


class Reference(NamedTuple):
    """A running reference child."""

    process: subprocess.Popen[bytes]
    folder: Path

    def answer(self) -> dict[str, list[list[float]]]:
        """Its answer, waited for; raises FlywheelError with the child's own words when there is none."""
        report_progress("canary", "PEFT's log-probabilities", 0, 1)
        try:
            self.process.wait(timeout=_REFERENCE_SECONDS)
            return json.loads((self.folder / "answer.json").read_text(encoding="utf-8"))
        except (OSError, subprocess.TimeoutExpired):
            log = (self.folder / "log.txt").read_text(encoding="utf-8", errors="replace")
            telling = [line for line in log.splitlines() if "Error: " in line]
            said = log.rsplit("\nerror: ", 1)[-1].strip() if "\nerror: " in log else (telling or [""])[-1][:300]
            what, _, remedy = said.partition("\n  -> ")
            raise FlywheelError(
                f"PEFT could not say what the adapter should do: {what or 'the child said nothing'}",
                where=str(self.folder / "log.txt"),
                remedy=remedy or f"see why: python -m flywheel.serving.reference {self.folder / 'request.json'}",
            ) from None


async def ask_server(client: ChatClient, names: Sequence[str], asked: Sequence[Probe]) -> dict[str, list[list[float]]]:
    """The running server's log-probabilities, one request after the other: equal batches give equal bits."""
    found: dict[str, list[list[float]]] = {}
    for number, name in enumerate(names):
        report_progress("canary", f"asking for {name}", number, len(names))
        found[name] = [await client.log_probabilities(name, probe.prompt_ids, probe.target_ids) for probe in asked]
    return found


def compare(served: LogProbabilities, peft: LogProbabilities) -> list[Finding]:
    """One finding per adapter; raises FlywheelError at the first that is not served as it was trained."""
    base_served, base_peft = _flat(served[BASE]), _flat(peft[BASE])
    gap_base = _mean_gap(base_served, base_peft)
    if not gap_base <= TOLERANCE:
        raise FlywheelError(
            f"the server and transformers differ by {gap_base:.3f} nats a token on the base model itself (allowed {TOLERANCE})",
            where=f"served model {BASE}",
            remedy="other weights, another type or a broken kernel is served: run flywheel doctor, compare the packages' versions",
        )
    findings = []
    for name in sorted(set(served) - {BASE}):
        ours, theirs = _flat(served[name]), _flat(peft[name])
        finding = Finding(
            name, len(ours), _mean_gap(ours, base_served), _mean_gap(theirs, base_peft), _mean_gap(ours, theirs),
            float(np.abs(ours - theirs).max()), gap_base,
        )  # fmt: skip
        _refuse(finding)
        findings.append(finding)
    return findings


def applied(served: LogProbabilities) -> None:
    """Where PEFT cannot be asked, because other weights are served than it would load: refuse adapters that change nothing."""
    base = _flat(served[BASE])
    for name in sorted(set(served) - {BASE}):
        effect = _mean_gap(_flat(served[name]), base)
        if not effect >= SMALLEST_EFFECT:
            raise FlywheelError(
                f"vLLM accepted adapter {name} and applies nothing of it: {effect:.4f} nats a token as served", where=f"served model {name}",
                remedy="its weight names do not match the served architecture: serve it on the base model it was trained on",
            )  # fmt: skip


def _refuse(finding: Finding) -> None:
    where = f"served model {finding.adapter}"
    if not finding.effect_peft >= SMALLEST_EFFECT:
        raise FlywheelError(
            f"adapter {finding.adapter} changes nothing, in PEFT neither: {finding.effect_peft:.4f} nats a token", where=where,
            remedy="training did nothing: look at the checkpoint's losses and its learning rate",
        )  # fmt: skip
    if not finding.effect_served >= SMALLEST_EFFECT:
        raise FlywheelError(
            f"vLLM accepted adapter {finding.adapter} and applies nothing of it: {finding.effect_served:.4f} nats a token as served, "
            f"{finding.effect_peft:.3f} in PEFT", where=where,
            remedy="its weight names do not match the served architecture: correct the family's renames and export it again",
        )  # fmt: skip
    if not finding.gap <= TOLERANCE:
        raise FlywheelError(
            f"what is served is not what was trained. {finding.sentence()}", where=where,
            remedy="a part of the adapter is not applied, or at another scale: compare its weight names and rank with what vLLM's log says",
        )  # fmt: skip


def _flat(rows: Sequence[Sequence[float]]) -> np.ndarray:
    return np.array([value for row in rows for value in row])


def _mean_gap(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).mean())
