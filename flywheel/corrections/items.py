"""What people see of a batch's items: the run, its tools, why it was picked. Read from the lake, never from the event log."""

import json
from typing import Any, NamedTuple

from flywheel.corrections.events import Batch
from flywheel.errors import FlywheelError
from flywheel.lake import Lake


class Item(NamedTuple):
    """One item as it was handed out.

    Attributes:
        item_id: its id in the store.
        position: place in the batch, by priority.
        messages, tools: the run (OpenAI messages) and the tools it was offered (OpenAI functions with `x-` keys).
        message_index: the assistant step that triage suspects.
        failure_cluster, bucket, severity, picked_because: why it is here.
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


def batch_items(lake: Lake, batch: Batch) -> dict[str, Item]:
    """The items of a batch by id, in the order of their positions; raises FlywheelError when the table lost some."""
    rows = lake.read_partition("correction_batch", workflow=batch.workflow, week=batch.week)
    found = {row["item_id"]: item_of(row) for row in rows.sort("position").iter_rows(named=True)}
    missing = [item_id for item_id in batch.item_ids if item_id not in found]
    if missing:
        raise FlywheelError(f"{len(missing)} items that were handed out are not in correction_batch: {missing[0]}",
                            where=f"{batch.workflow}, week {batch.week}",
                            remedy="restore the version of the table that was handed out")  # fmt: skip
    wanted = set(batch.item_ids)
    return {item_id: item for item_id, item in found.items() if item_id in wanted}


def item_of(row: dict[str, Any]) -> Item:
    """A `correction_batch` row as an item."""
    return Item(
        row["item_id"], row["position"], json.loads(row["messages"]), json.loads(row["tools"]), row["message_index"],
        row["failure_cluster"], row["bucket"], row["severity"], row["picked_because"],
    )  # fmt: skip
