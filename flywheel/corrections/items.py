"""What people see of a batch's items: the run, its tools, why it was picked. Read from the lake; planted items (probes.py) stand between them."""

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from flywheel.corrections.erasing import erased_items
from flywheel.corrections.events import Batch, EventStore
from flywheel.errors import FlywheelError
from flywheel.toolcalls.structured_answers import ResponseSchema

if TYPE_CHECKING:  # a partner's bench has items and no lake
    from flywheel.lake import Lake


class Item(NamedTuple):
    """One item as it was handed out.

    Attributes:
        item_id: its id in the store.
        position: place in the batch, by priority, planted items counted too.
        messages, tools: the run (OpenAI messages) and the tools it was offered (OpenAI functions with `x-` keys).
        message_index: the assistant step that triage suspects.
        failure_cluster, bucket, severity, picked_because: why it is here.
        responses: the pack's schemas of structured answers, where whoever reads the items has the pack.
        language, skills: what it asks for of a person (skills.py); empty before that was looked at.
    """

    item_id: str
    position: int
    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]]
    message_index: int
    failure_cluster: str
    bucket: str
    severity: str
    picked_because: str
    responses: tuple[ResponseSchema, ...] = ()
    language: str = ""
    skills: tuple[str, ...] = ()


def batch_items(lake: "Lake", batch: Batch, store: EventStore | None = None) -> dict[str, Item]:
    """The items of a batch by id, in the order of their positions; raises FlywheelError when the table lost some.

    Args:
        store: gives the planted items as well, which nothing in the result tells from the others, and says which items were erased: those
            are left out, and the table need not have them.
    """
    rows = lake.read_partition("correction_batch", workflow=batch.workflow, week=batch.week)
    found = {row["item_id"]: row for row in rows.iter_rows(named=True)}
    erased = erased_items(store, batch.name) if store is not None else set[str]()
    own = [(float(place), item_id) for place, item_id in enumerate(batch.item_ids) if item_id not in erased]
    missing = [item_id for _, item_id in own if item_id not in found]
    if missing:
        raise FlywheelError(f"{len(missing)} items that were handed out are not in correction_batch: {missing[0]}",
                            where=f"{batch.workflow}, week {batch.week}",
                            remedy="where an erasure was interrupted, run it again; else restore the version of the table that was handed out")  # fmt: skip
    placed = [(place, item_id, found[item_id]) for place, item_id in own]
    if store is not None:
        placed += [(place, item_id, payload["item"]) for place, item_id, payload in store.planted(batch.name)]
    placed.sort(key=lambda one: one[:2])
    return {key: item_of({**row, "position": position}) for position, (_, key, row) in enumerate(placed)}


def first_pass_items(lake: "Lake", batch: Batch, store: EventStore) -> list[Item]:
    """The items an annotator may get, planted ones among them; not what starts before a reviewer or an adjudicator."""
    others = {item_id for _, item_id, payload in store.planted(batch.name) if payload["kind"] == "known_bad"}
    others |= {item_id for item_id, state in store.states(batch.name).items() if state.answers}
    return [item for item in batch_items(lake, batch, store).values() if item.item_id not in others]


def item_of(row: dict[str, Any]) -> Item:
    """A `correction_batch` row as an item."""
    return Item(
        row["item_id"], row["position"], json.loads(row["messages"]), json.loads(row["tools"]), row["message_index"],
        row["failure_cluster"], row["bucket"], row["severity"], row["picked_because"],
    )  # fmt: skip
