"""Probes: planted items that measure the people's work without telling them: overlap twins, gold items, known-bad corrections.

overlap    a second, independent first pass over one of the batch's own items: the only valid source of agreement
gold       an earlier run with a settled correction, to be corrected again; retired after two exposures
known_bad  a spoiled correction put straight before the reviewers: how many do they catch?

Together they take at most a quarter of the batch (design.md 8.9). Ids, places and contents are those of any other item, and
depend on a salt of the batch, which nobody is shown. They never reach `corrected_traces` (released.py).
"""

import json
import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from flywheel.corrections.answers import Answer, answer_of, first_answers
from flywheel.corrections.events import EventStore
from flywheel.corrections.spoil import spoil
from flywheel.toolcalls.arguments import sha256_of
from flywheel.toolcalls.distance import distance
from flywheel.workflows.pack import Quality

_LARGEST_SHARE, _GOLD_FOR_EACH, _EXPOSURES = 0.25, 3, 2


class Material(NamedTuple):
    """An earlier item with its settled correction: the `correction_batch` row, the proposal, and everyone who saw the solution."""

    row: dict[str, Any]
    proposal: dict[str, Any]
    knows: tuple[str, ...]


class Probe(NamedTuple):
    """One item to plant: kind, its id, its place in the queue, the row people see, and who must not get it."""

    kind: str
    item_id: str
    place: float
    source: str
    row: dict[str, Any]
    expected: dict[str, Any] | None
    barred: tuple[str, ...]
    proposal: dict[str, Any] | None = None


def material_of(corrected: pl.DataFrame, items: pl.DataFrame) -> list[Material]:
    """Corrections of earlier weeks that gold and known-bad items are made of: those that make a call, settled ones first.

    Args:
        corrected, items: `corrected_traces` and `correction_batch` rows of earlier weeks.
    """
    rows = {row["item_id"]: row for row in items.sort("week").iter_rows(named=True)}
    people = ("annotator", "editor", "reviewer", "adjudicator", "auditor")
    ordered = corrected.sort(pl.coalesce("adjudicator", "auditor").is_null(), "week", "item_id")
    found = []
    for one in ordered.iter_rows(named=True):
        proposal = {
            "first_bad_message_index": one["first_bad_message_index"],
            "messages": json.loads(one["messages"]),
            "trainable_indices": json.loads(one["trainable_indices"]),
            "suffix_mode": one["suffix_mode"],
        }
        if one["item_id"] in rows and answer_of(proposal).kind == "call":
            row = {name: value for name, value in rows[one["item_id"]].items() if name not in ("week", "workflow")}
            found.append(Material(row, proposal, tuple(one[name] for name in people if one[name])))
    return found


def plan(
    rows: Sequence[dict[str, Any]], material: Sequence[Material], *, salt: str, quality: Quality, exposures: Mapping[str, int],
    annotators: int,
) -> list[Probe]:  # fmt: skip
    """What to plant in a batch of `rows`; the same salt gives the same probes.

    Args:
        exposures: source item -> how often somebody has seen it as gold.
        annotators: people expected in the first pass; each should meet three gold items where there is material.
    """
    room, count = math.floor(_LARGEST_SHARE * len(rows)), len(rows)
    rng = random.Random(f"{salt}|probes")
    twins = rng.sample(list(rows), min(round(quality.overlap * count), room))
    probes = [_probe("overlap", row, salt, rng, count, None, ()) for row in twins]
    own = {row["trace_id"] for row in rows}
    usable = [one for one in material if one.row["trace_id"] not in own]
    wanted = min(round(quality.known_bad * count), room - len(probes)) if quality.known_bad else 0
    for one in reversed(usable):  # from the other end than gold, so that no run is met as both
        if wanted <= 0:
            break
        spoiled = spoil(one.proposal, json.loads(one.row["tools"]), seed=f"{salt}|{one.row['item_id']}")
        if spoiled:
            probes.append(
                _probe("known_bad", one.row, salt, rng, count, one.proposal, one.knows)._replace(proposal=spoiled)
            )
            wanted -= 1
    used = {probe.source for probe in probes}
    fresh = [
        one for one in usable if exposures.get(one.row["item_id"], 0) < _EXPOSURES and one.row["item_id"] not in used
    ]
    gold = max(round(quality.gold * count), _GOLD_FOR_EACH * annotators) if quality.gold else 0
    for one in fresh[: max(0, min(gold, room - len(probes)))]:
        probes.append(_probe("gold", one.row, salt, rng, count, one.proposal, one.knows))
    return probes


def plant(
    store: EventStore, batch: str, rows: Sequence[dict[str, Any]], material: Sequence[Material], quality: Quality,
    *, last_batch: str | None = None,
) -> dict[str, int]:  # fmt: skip
    """Plant a batch's probes; a second time changes nothing. Returns how many of each kind there are.

    Args:
        last_batch: id of the batch before, whose annotators are expected again.
    """
    probes = plan(rows, material, salt=store.salt(batch), quality=quality, exposures=_exposures(store),
                  annotators=_annotators(store, last_batch) if last_batch else 0)  # fmt: skip
    for probe in probes:
        payload: dict[str, Any] = {"kind": probe.kind, "source": probe.source, "item": probe.row, "expected": probe.expected,
                                   "barred": list(probe.barred)}  # fmt: skip
        if probe.proposal is not None:
            payload["proposal"] = probe.proposal
        role = "reviewer" if probe.kind == "known_bad" else "annotator"
        store.plant(batch, probe.item_id, probe.place, payload, role=role)
    return dict(sorted(Counter(probe.kind for probe in probes).items()))


def gold_results(store: EventStore, batch: str) -> list[tuple[str, bool]]:
    """(annotator, whether the first answer equals the settled correction) for every gold item that was answered."""
    history = store.history(batch)
    answers = first_answers(history)
    found = []
    for _, _, event in history:
        if event.kind == "plant" and event.payload.get("kind") == "gold" and event.item_id in answers:
            answer = answers[event.item_id]
            found.append((answer.actor, _equal(answer, answer_of(event.payload["expected"]))))
    return found


def catches(store: EventStore, batch: str) -> list[tuple[str, bool]]:
    """(reviewer, whether they caught it) for every known-bad correction that was reviewed."""
    states = store.states(batch).values()
    seen = [state for state in states if state.planted == "known_bad" and state.status in ("accepted", "dropped")]
    return [(state.reviewers[-1], state.status == "dropped") for state in seen]


def _equal(answer: Answer, expected: Answer) -> bool:
    same = (answer.step, answer.kind, answer.tool) == (expected.step, expected.kind, expected.tool)
    return same and distance(answer.arguments, expected.arguments) == 0


def _probe(
    kind: str, row: dict[str, Any], salt: str, rng: random.Random, count: int, expected: dict[str, Any] | None, barred: tuple[str, ...]
) -> Probe:  # fmt: skip
    item_id = sha256_of([salt, kind, row["item_id"]])[:16]
    place = rng.uniform(-0.5, count - 0.5)
    return Probe(kind, item_id, place, row["item_id"], {**row, "item_id": item_id}, expected, barred)


def _exposures(store: EventStore) -> dict[str, int]:
    asked = (
        "SELECT m.source, COUNT(*) FROM members m WHERE m.kind = 'gold' AND EXISTS"
        " (SELECT 1 FROM roles r WHERE r.item_id = m.item_id) GROUP BY m.source"
    )
    with store.database.read() as connection:
        return {row[0]: row[1] for row in connection.execute(asked).fetchall()}


def _annotators(store: EventStore, batch: str) -> int:
    asked = (
        "SELECT COUNT(DISTINCT r.actor) FROM roles r JOIN members m ON m.item_id = r.item_id"
        " WHERE m.batch = ? AND r.role = 'annotator'"
    )
    with store.database.read() as connection:
        return connection.execute(asked, (batch,)).fetchone()[0]
