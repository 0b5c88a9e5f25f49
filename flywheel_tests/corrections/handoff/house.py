"""A small house with one batch handed out, and a scripted partner who answers it: well, or with one thing wrong."""

import copy
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema

from flywheel.corrections.events import Batch, EventStore
from flywheel.corrections.handoff.export import Exported, export
from flywheel.corrections.handoff.verify.batch import load_batch
from flywheel.corrections.handoff.verify.command import seal
from flywheel.corrections.handoff.verify.strict import sha256_of
from flywheel.lake import Lake
from flywheel.toolcalls.arguments import canonical_json
from flywheel.workflows.pack import Pack

WEEK, WORKFLOW, BATCH = "2026-01-05", "support_desk", "2026-01-05|support_desk|v1"
START, END = "2099-01-07T09:00:00+00:00", "2099-01-07T09:01:30+00:00"
FOUND = {"status": "shipped"}


class House(NamedTuple):
    """An installation with a batch, and the folder it was handed out in."""

    store: EventStore
    lake: Lake
    pack: Pack
    folder: Path
    returns: Path
    exported: Exported


def call(name: str, arguments: Any, call_id: str = "call_0") -> dict[str, Any]:
    text = arguments if isinstance(arguments, str) else canonical_json(arguments)
    function = {"name": name, "arguments": text}
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": call_id, "type": "function", "function": function}],
    }


def run(number: int) -> list[dict[str, Any]]:
    """A run whose step 2 calls cancel_order with a reason that is none."""
    return [
        {"role": "system", "content": "You help."},
        {"role": "user", "content": f"Please cancel order A{number}, it takes too long."},
        call("cancel_order", {"order_id": f"A{number}", "reason": "slow"}),
        {"role": "tool", "tool_call_id": "call_0", "content": '{"error": "BAD_REASON"}'},
        {"role": "assistant", "content": "Done."},
    ]


def rows(pack: Pack, count: int) -> list[dict[str, Any]]:
    return [
        {
            "item_id": f"item{number:02d}", "batch_version": "v1", "position": number, "trace_id": f"t{number}",
            "failure_id": f"f{number}", "failure_cluster": "cancel_order / schema_violation / not_in_enum",
            "bucket": "schema_violation", "severity": "major", "message_index": 2, "picked_because": "a test",
            "priority": 1.0, "near_duplicate_group": f"t{number}", "conversation_id": f"c{number}", "principal_ref": None,
            "tools": canonical_json(pack.tools), "messages": canonical_json(run(number)),
        }
        for number in range(count)
    ]  # fmt: skip


def build(home: Path, pack: Pack, count: int = 12, table: list[dict[str, Any]] | None = None, **options: Any) -> House:
    lake, store = Lake(home / "lake"), EventStore(home / "qa" / f"{WORKFLOW}.sqlite")
    table = rows(pack, count) if table is None else table
    lake.replace_partition("correction_batch", table, workflow=WORKFLOW, week=WEEK)
    ids = [row["item_id"] for row in table]
    store.open_batch(week=WEEK, workflow=WORKFLOW, version="v1", item_ids=ids, qa_mode="three")
    done = hand_out(store, lake, pack, home, **options)
    (home / "returns").mkdir(exist_ok=True)
    return House(store, lake, pack, home / "batch", home / "returns", done)


def copied(house: House, home: Path) -> House:
    """The same house elsewhere: building one takes ten times as long."""
    shutil.copytree(house.folder.parent, home, dirs_exist_ok=True)
    store = EventStore(home / "qa" / f"{WORKFLOW}.sqlite")
    return house._replace(store=store, lake=Lake(home / "lake"), folder=home / "batch", returns=home / "returns")


def batch_of(store: EventStore) -> Batch:
    batch = store.batch_of(WEEK, WORKFLOW)
    assert batch is not None
    return batch


def hand_out(store: EventStore, lake: Lake, pack: Pack, home: Path, **options: Any) -> Exported:
    return export(
        store, lake, pack, batch_of(store), home / "batch", keys=home / "qa" / "keys", partner="acme", **options
    )


def items(house: House) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (house.folder / "items.jsonl").read_text().splitlines()]


def correction(item: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A right correction of an item, with some fields changed."""
    right = json.loads(item["messages"][2]["tool_calls"][0]["function"]["arguments"]) | {"reason": "too_slow"}
    messages = [*item["messages"][:2], call("cancel_order", right), {"role": "tool", "tool_call_id": "call_0", "content": "{}"},
                {"role": "assistant", "content": f"Order {right['order_id']} is cancelled."}]  # fmt: skip
    row = {
        "schema_version": "correction/1", "item_id": item["item_id"], "base_sha256": item["base_sha256"], "actor_ref": "ann",
        "guideline_version": "1", "active_ms": 60_000, "started_at": START, "submitted_at": END,
        "first_bad_message_index": 2, "trainable_indices": [2, 4], "suffix_mode": "reexecuted", "rationale": "too slow",
        "resulting_messages": messages,
    }  # fmt: skip
    return copy.deepcopy(row | changes)


def with_arguments(item: dict[str, Any], arguments: Any, **changes: Any) -> dict[str, Any]:
    """A correction whose written call has other arguments."""
    row = correction(item, **changes)
    row["resulting_messages"][2] = call("cancel_order", arguments)
    return row


def decision(item_id: str, **changes: Any) -> dict[str, Any]:
    return {"schema_version": "decision/1", "item_id": item_id, "actor_ref": "rob", "role": "reviewer", "verdict": "accept",
            "at": END} | changes  # fmt: skip


def unfixable(item: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"schema_version": "unfixable/1", "item_id": item["item_id"], "base_sha256": item["base_sha256"], "actor_ref": "ann",
            "guideline_version": "1", "active_ms": 20_000, "started_at": START, "submitted_at": END, "code": "tool_bug",
            "note": "the tool is down"} | changes  # fmt: skip


ATTEST = {"schema_version": "attest/1", "pii_handling": "none was seen", "deletion_date": "2099-02-01",
          "staff": [{"actor_ref": "ann", "roles": ["annotator"]}, {"actor_ref": "rob", "roles": ["reviewer"]}]}  # fmt: skip


def part(
    house: House, corrections: list[Any], *, decisions: list[Any] | None = None, unfixables: list[Any] | None = None, number: int = 1,
    complete: bool = False, attest: Any = ATTEST,
) -> Path:  # fmt: skip
    """Write and seal one part of a return; a string among the lines is written as it is."""
    folder = house.returns / f"part-{number:03d}"
    folder.mkdir(exist_ok=True)
    for name, lines in (("corrections", corrections), ("decisions", decisions), ("unfixable", unfixables)):
        texts = [line if isinstance(line, str) else canonical_json(line) for line in lines or []]
        (folder / f"{name}.jsonl").write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    if attest is not None:
        (folder / "attest.json").write_text(json.dumps(attest))
    seal(folder, load_batch(house.folder), number, complete)
    return folder


def digest(row: dict[str, Any]) -> str:
    return sha256_of(row)


_NEEDED = ("jsonschema", "jsonschema_specifications", "referencing", "rpds", "attr", "attrs", "typing_extensions.py")


def bare_path(folder: Path) -> Path:
    """A folder with jsonschema and what it needs, and nothing else of this environment."""
    site = Path(jsonschema.__file__).parents[1]
    folder.mkdir(exist_ok=True)
    for name in _NEEDED:
        if not (folder / name).exists():
            (folder / name).symlink_to(site / name)
    return folder


def zipapp(house: House, *arguments: str, site: Path) -> subprocess.CompletedProcess[str]:
    """Run the batch's own verify.pyz as a partner would: no site-packages but jsonschema, no flywheel."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([sys.executable, "-S", "-s", str(house.folder / "verify.pyz"), *arguments], capture_output=True, text=True,
                          env=environment, cwd=house.returns.parent, check=False)  # fmt: skip
