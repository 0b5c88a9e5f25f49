"""A batch opened on the partner's machine: proved first, then joined with the folder that keeps their work.

The batch folder itself is signed and only read. The work lies beside it, laid out like an installation's home, so that
`workbench-users` names people there (`FLYWHEEL_HOME=WORK`). A batch that cannot be proved changes nothing in it.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

from flywheel.corrections.events import Batch, EventStore
from flywheel.corrections.handoff.proved import handed_out, handed_responses
from flywheel.corrections.handoff.verify import ed25519
from flywheel.corrections.handoff.verify.batch import Batch as HandedOut
from flywheel.corrections.items import Item
from flywheel.corrections.workbench.people import write_private
from flywheel.errors import FlywheelError
from flywheel.settings import Settings
from flywheel.toolcalls.arguments import sha256_of
from flywheel.workflows.pack import Pack, WorkflowSettings


class Opened(NamedTuple):
    """An opened batch.

    Attributes:
        folder: as it was handed out.
        work: the partner's own folder: store, people, returns.
        handed: the proved batch.
        fingerprint: of the key it is signed with.
        store, batch: their correction log, and the batch in it.
        items: what people see, by id, in order.
        pack: what a page needs of the workflow: name, guidelines, tools, schemas of structured answers. There is no simulator in it.
        key: PEM file of the partner's own key, where returns must be signed.
    """

    folder: Path
    work: Path
    handed: HandedOut
    fingerprint: str
    store: EventStore
    batch: Batch
    items: dict[str, Item]
    pack: Pack
    key: Path | None

    @property
    def returns(self) -> Path:
        """Where the parts are written."""
        return self.work / "returns"


def open_batch(
    folder: Path, *, work: Path | None = None, fingerprint: str | None = None, key: Path | None = None
) -> Opened:
    """Prove a batch and open the work on it; raises FlywheelError, and then nothing was written.

    Args:
        work: folder for what is done; `FOLDER-work` beside the batch when None.
        fingerprint: of the key it must be signed with, as the house told it; None trusts the key beside the batch the first time.
    """
    folder = folder.resolve()
    work = (work or folder.with_name(f"{folder.name}-work")).resolve()
    handed = handed_out(folder, fingerprint)
    found = ed25519.fingerprint(ed25519.public_key((folder / "public_key.pem").read_bytes()) or b"")
    _remember(work, {"batch_sha256": handed.sha256, "batch_id": handed.manifest["batch_id"], "fingerprint": found})
    manifest = handed.manifest
    week, workflow, version = (str(manifest[name]) for name in ("week", "workflow", "version"))
    store = EventStore(Settings(home=work).qa_store(workflow), workflow=workflow)
    name = store.open_batch(
        week=week, workflow=workflow, version=version, item_ids=list(handed.items), qa_mode=manifest["qa_plan"]["mode"]
    )
    batch = next(one for one in store.batches() if one.name == name)
    return Opened(folder, work, handed, found, store, batch, _items(handed), _pack(handed, work), key)


def _remember(work: Path, this: dict[str, str]) -> None:
    """One folder of work, one batch: another one under the same name, or signed by another key, is not mixed into it."""
    file = work / "opened.json"
    if not file.exists():
        write_private(file, json.dumps(this, indent=1).encode())
        return
    try:
        before = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        raise FlywheelError("it does not say which batch it belongs to", where=str(file),
                            remedy="restore that file, or name another folder with --work") from None  # fmt: skip
    if before != this:
        what = "the key" if before.get("batch_sha256") == this["batch_sha256"] else "the batch"
        raise FlywheelError(f"{what} is another one than the work here was begun with", where=str(work),
                            remedy="ask the house which batch is theirs; what was done here is kept. For another batch: --work FOLDER")  # fmt: skip


def _items(handed: HandedOut) -> dict[str, Item]:
    shown = ("position", "message_index", "failure_cluster", "bucket", "severity", "picked_because")
    return {
        key: Item(
            item_id=key,
            messages=item.messages,
            tools=item.offered,
            **{name: item.row[name] for name in shown},
            language=str(item.row.get("language") or ""),
            skills=tuple(map(str, item.row.get("skills") or ())),
        )  # fmt: skip
        for key, item in handed.items.items()
    }


def _pack(handed: HandedOut, work: Path) -> Pack:
    tools: dict[str, dict[str, Any]] = {
        tool["function"]["name"]: tool for item in handed.items.values() for tool in item.offered
    }
    offered = list(tools.values())
    # The folder is one that is never made: whatever else lies beside a batch, no code of it is run.
    return Pack(str(handed.manifest["workflow"]), work / "no-pack", WorkflowSettings(owner=str(handed.manifest["partner"])),
                offered, sha256_of(offered), "", _guidelines(handed), handed_responses(handed))  # fmt: skip


def _guidelines(handed: HandedOut) -> str:
    """The guidelines with every amendment below them."""
    amended = [f"{one['version']}, {one['at'][:10]}\n\n{one['text']}" for one in handed.letters.amendments]
    return "\n\n---\n\n".join([handed.guidelines, *amended])
