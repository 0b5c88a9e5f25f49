"""Exchanges: one request to a model and its answer, which is what gateways and tracers log. Runs are stitched from them.

A request repeats its whole history, so a run is a chain: each exchange whose history begins with all of an earlier one
extends it. The longest such prefix wins. Histories are compared without call ids, which some formats drop.
"""

import hashlib
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from flywheel.chat.messages import Message
from flywheel.traces.trace import NOT_LOGGED, Signal, Toolset, Trace

_encode = msgspec.json.encode


class Exchange(Struct, kw_only=True, gc=False):
    """One model call as logged.

    Attributes:
        source_system: who logged it; exchanges of different systems never join.
        exchange_id: the response's id; two with the same id are one.
        run_id: id of the run where the source knows it (a trace id); None lets the histories decide alone.
        request, answer: canonical messages.
        error: why the model gave no answer.
        The rest: see `Trace`.
    """

    source_system: str
    source_format: str
    exchange_id: str | None
    run_id: str | None = None
    request: list[Message]
    answer: Message | None
    error: str | None = None
    tools: Toolset = NOT_LOGGED
    conversation_id: str | None = None
    principal: str | None = None
    tenant_id: str | None = None
    workload_id: str | None = None
    agent_name: str | None = None
    provider_name: str | None = None
    request_model: str = "unknown"
    response_model: str | None = None
    adapter_id: str = "base"
    started_at: datetime | None = None
    ended_at: datetime | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    outcome_status: str = "unknown"
    feedback_score: float | None = None
    feedback_comment: str | None = None
    signals: list[Signal] = []
    environment: str = "production"
    metadata: dict[str, Any] = {}
    position: tuple[int, int] = (0, 0)


class Stitched(Struct):
    """A run made of exchanges: the trace, and (file number, record number) of every exchange in it, first one first."""

    trace: Trace
    positions: list[tuple[int, int]]


def _digest(before: bytes, message: Message) -> bytes:
    """Digest of a history one message longer; empty and absent content are the same, call ids do not count."""
    calls = [(call.function.name, call.function.arguments) for call in message.tool_calls or []]
    return hashlib.blake2b(_encode((message.role, message.content or "", calls)), key=before, digest_size=16).digest()


def _prefixes(messages: list[Message]) -> list[bytes]:
    """Digest of the first 1, 2, ... messages."""
    digests, last = [], b"\0"
    for message in messages:
        last = _digest(last, message)
        digests.append(last)
    return digests


class _Chain(Struct):
    exchanges: list[Exchange]
    tail: bytes


def stitch(exchanges: list[Exchange]) -> tuple[list[Stitched], list[tuple[int, int]]]:
    """Runs out of exchanges, and the positions of those that were there already (same response id, or same call twice).

    Exchanges are taken in the order of their times, then of their positions.
    """
    earliest = min((e.started_at for e in exchanges if e.started_at), default=None)
    ordered = sorted(exchanges, key=lambda e: (e.started_at or earliest or datetime.min, e.position))
    chains: list[_Chain] = []
    by_tail: dict[tuple[str, str | None, bytes], _Chain] = {}
    seen: set[tuple[str, str]] = set()
    repeated: list[tuple[int, int]] = []
    for exchange in ordered:
        prefixes = _prefixes(exchange.request)
        whole = _digest(prefixes[-1], exchange.answer) if exchange.answer else prefixes[-1]
        identity = exchange.exchange_id or f"{whole.hex()} {exchange.started_at}"
        if (exchange.source_system, identity) in seen:
            repeated.append(exchange.position)
            continue
        seen.add((exchange.source_system, identity))
        group = exchange.run_id or exchange.conversation_id
        chain = None
        for prefix in reversed(prefixes):
            chain = by_tail.pop((exchange.source_system, group, prefix), None)
            if chain is not None:
                break
        if chain is None:
            chain = _Chain([], whole)
            chains.append(chain)
        chain.exchanges.append(exchange)
        chain.tail = whole
        by_tail[(exchange.source_system, group, whole)] = chain
    return _named(chains), repeated


def _named(chains: list[_Chain]) -> list[Stitched]:
    """Chains as traces; several chains of one run id get the id of their first exchange behind it."""
    per_run: dict[tuple[str, str], int] = {}
    for chain in chains:
        key = (chain.exchanges[0].source_system, chain.exchanges[0].run_id or "")
        per_run[key] = per_run.get(key, 0) + 1
    stitched: list[Stitched] = []
    ids: dict[tuple[str, str], int] = {}
    for chain in chains:
        first = chain.exchanges[0]
        opening = first.exchange_id or _prefixes(first.request)[-1].hex()
        alone = per_run[(first.source_system, first.run_id or "")] == 1
        source_id = (
            f"{first.run_id}" if first.run_id and alone else f"{first.run_id}/{opening}" if first.run_id else opening
        )
        nth = ids[(first.source_system, source_id)] = ids.get((first.source_system, source_id), 0) + 1
        if nth > 1:  # the very same opening again, at another time: another run
            source_id = f"{source_id}#{first.started_at.isoformat() if first.started_at else nth}"
        stitched.append(Stitched(_trace(chain.exchanges, source_id), [e.position for e in chain.exchanges]))
    return stitched


def _trace(exchanges: list[Exchange], source_id: str) -> Trace:
    first, last = exchanges[0], exchanges[-1]

    def newest(name: str) -> Any:
        return next((getattr(e, name) for e in reversed(exchanges) if getattr(e, name) is not None), None)

    used = [(e.input_tokens, e.output_tokens) for e in exchanges]
    metadata = {key: value for e in exchanges for key, value in e.metadata.items()}
    if last.error:
        metadata["error"] = last.error
    outcome = next((e.outcome_status for e in reversed(exchanges) if e.outcome_status != "unknown"), "unknown")
    return Trace(
        source_system=first.source_system,
        source_id=source_id,
        source_format=first.source_format,
        messages=_whole(exchanges),
        tools=next((e.tools for e in reversed(exchanges) if e.tools.sha256), NOT_LOGGED),
        conversation_id=newest("conversation_id"),
        principal=newest("principal"),
        tenant_id=newest("tenant_id"),
        workload_id=newest("workload_id"),
        agent_name=newest("agent_name"),
        provider_name=newest("provider_name"),
        request_model=last.request_model,
        response_model=newest("response_model"),
        adapter_id=last.adapter_id,
        started_at=first.started_at,
        ended_at=newest("ended_at"),
        input_tokens=sum(a for a, _ in used if a is not None) if any(a is not None for a, _ in used) else None,
        output_tokens=sum(b for _, b in used if b is not None) if any(b is not None for _, b in used) else None,
        outcome_status=outcome,
        feedback_score=newest("feedback_score"),
        feedback_comment=newest("feedback_comment"),
        signals=[signal for e in exchanges for signal in e.signals],
        environment=first.environment,
        metadata=metadata,
    )


def _whole(exchanges: list[Exchange]) -> list[Message]:
    """The last request and its answer; what the model itself wrote is taken from the exchange that made it.

    A client may send back arguments re-serialised; the emitted string is the model's own.
    """
    last = exchanges[-1]
    messages = list(last.request)
    for exchange in exchanges[:-1]:
        place = len(exchange.request)
        own = exchange.answer
        if own and place < len(messages) and messages[place].role == "assistant":
            theirs = [call.id for call in messages[place].tool_calls or []]
            if theirs == [call.id for call in own.tool_calls or []]:
                messages[place] = own
    return [*messages, last.answer] if last.answer else messages
