"""What a week's adapter starts from: a fresh one on the pinned base, or the weights of the incumbent. No torch here.

`training.start: base` is the default: a fresh adapter knows nothing but this week's mix, so that every row behind it can be named,
withdrawn and kept from the benchmark. `start: incumbent` lets what was learned add up over weeks where a week's presentations are few. It
keeps the same promises by looking at every dataset of the chain first: where one of them was written again since (an erasure, a
withdrawal, a rebuild), or now touches a frozen case, the week starts from the base and says why.
"""

import json
from collections.abc import Collection
from typing import NamedTuple

from flywheel.benchmark.leaks import leaks_in, read_registry
from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel.serving.adapters import ADAPTER_FILES, open_adapter
from flywheel.serving.ancestry import ancestors, trained_from
from flywheel.serving.vllm_server import BASE
from flywheel.settings import Settings
from flywheel.workflows.base_model import BaseModel
from flywheel.workflows.pack import Pack
from flywheel.workflows.serving_settings import is_endpoint

_DATASETS = ("sft_dataset", "preference_dataset")


class Start(NamedTuple):
    """The adapter to go on from, None for a fresh one; and the sentence that says why."""

    adapter_id: str | None
    because: str


def start_of(
    lake: Lake, settings: Settings, pack: Pack, base: BaseModel, *, incumbent: str, template_sha256: str, withdrawn: Collection[str] = ()
) -> Start:  # fmt: skip
    """What the week's training starts from.

    Args:
        incumbent: what serves before the week.
        template_sha256: of the template that the week's rows are rendered with.
        withdrawn: adapters that trained on something withdrawn since.
    """
    if pack.settings.training.start == "base":
        return Start(None, "a fresh adapter on the base model")
    reason = (
        f"{'the base model' if incumbent == BASE else incumbent} serves: there is no adapter to go on from"
        if incumbent == BASE or is_endpoint(incumbent)
        else _unfit(lake, settings, pack, base, incumbent, template_sha256)
        or _untrue(lake, pack.name, incumbent, withdrawn)
    )
    return Start(None, f"a fresh adapter: {reason}") if reason else Start(incumbent, f"goes on from {incumbent}")


def _unfit(
    lake: Lake, settings: Settings, pack: Pack, base: BaseModel, incumbent: str, template_sha256: str
) -> str | None:
    """Why the incumbent's weights cannot be trained on, or None."""
    columns = ("week", "adapter_id", "base_model_sha256", "chat_template_sha256")
    rows = lake.read_columns("checkpoint", columns, workflow=pack.name).filter(adapter_id=incumbent)
    if not rows.height:
        return f"no checkpoint knows {incumbent}"
    _, _, base_sha256, template = rows.row(-1)
    if (base_sha256, template) != (base.sha256, template_sha256):
        return f"{incumbent} was trained on another base model or template"
    folder = settings.checkpoints(pack.name).absolute() / incumbent
    try:
        adapter = open_adapter(folder, base_model=base.folder.name)
    except FlywheelError as error:
        return error.what
    if adapter.renamed:
        return f"the weights of {incumbent} carry the names that serving gives them"
    own, config = pack.settings.training, json.loads((folder / ADAPTER_FILES[0]).read_text(encoding="utf-8"))
    asked = {"r": own.lora_rank, "lora_alpha": own.lora_alpha}
    other = [name for name, value in asked.items() if value is not None and config[name] != value]
    return f"{incumbent} has another {' and '.join(other)}" if other else None


def _untrue(lake: Lake, workflow: str, incumbent: str, withdrawn: Collection[str]) -> str | None:
    """Why what the incumbent knows is not what may be known today, or None."""
    registry = read_registry(lake, workflow)
    trained = trained_from(lake, workflow)
    chain = ancestors(trained, incumbent)
    starts = dict(trained.select("adapter_id", "start_adapter_id").iter_rows())
    for adapter in chain:
        start = starts[adapter]
        if start is not None and start not in starts:  # its week trained another one since: nobody can look at its data
            return f"no checkpoint knows {start} any more, which {adapter} went on from"
    for adapter, week in chain.items():
        if adapter in withdrawn:
            return f"{adapter} trained on something withdrawn since"
        written = lake.lineage("checkpoint", workflow=workflow, week=week)
        read = json.loads(written.inputs) if written else {}
        for table in _DATASETS:
            known = lake.lineage(table, workflow=workflow, week=week)
            if known is None or read.get(f"{table}/{week}") != known.version:
                return f"{table} of {week} was written again since {adapter} trained on it"
            leaks = leaks_in(lake.read_partition(table, workflow=workflow, week=week), registry)
            if leaks:
                return f"{len(leaks)} rows of {table} of {week}, which {adapter} trained on, touch cases frozen since"
    return None
