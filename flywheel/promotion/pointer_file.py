"""`FLYWHEEL_HOME/served/WORKFLOW.json`: the pointer as others read it. Written after every move, whole or not at all.

The promotion log is the truth; this file is its last line with what a server needs. A file that a killed process left behind the
log is written anew by whoever reads it here. docs/promotion.md holds the schema.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import polars as pl
from pydantic import BaseModel, ConfigDict, ValidationError

from flywheel.chat.families import find_family
from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel.promotion.pointer import BASE, history, serving, since
from flywheel.serving.adapters import ADAPTER_FILES, MANIFEST, rank_of
from flywheel.serving.configuration import Configuration, configuration_sha256
from flywheel.serving.trained_on import trained_on_each
from flywheel.serving.vllm_server import ServerSpec
from flywheel.settings import Settings
from flywheel.workflows.base_model import BaseModel as Base
from flywheel.workflows.pack import Pack
from flywheel.workflows.serving_settings import is_endpoint, model_and_host


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ServedBase(_Strict):
    """The base model: name, folder (absolute), hash of its weights."""

    name: str
    path: Path
    sha256: str


class ServedEndpoint(_Strict):
    """The endpoint that answers production; url is None where workflow.yaml does not name it any more."""

    model: str
    host: str
    url: str | None


class ServedBecause(_Strict):
    """The log entry behind it; all None for what has served from the beginning."""

    entry_id: str | None = None
    week: str | None = None
    kind: str | None = None
    decision_id: str | None = None
    verdict: str | None = None
    by: str | None = None
    reason: str | None = None


class Pointer(_Strict):
    """The pointer file.

    Attributes:
        adapter_id: `base`, the adapter, or the endpoint that serves until a first release; of the first two also the model name to ask the server for, and what traces must carry.
        adapter_path: folder of the adapter, absolute; None where none serves.
        adapter_sha256: hash of its config and weights, as its manifest has it; None where none serves.
        base_model: what it stands on; None where an endpoint serves, and so are family and template.
        model_family, chat_template_sha256: the template that it was trained with.
        vllm_arguments: arguments of vLLM's OpenAI server, without an address; empty where an endpoint serves.
        since: when it began to serve, UTC, ISO 8601; None for what has served from the beginning.
        previous_adapter_id: what a rollback would restore; None when there is nothing.
        because: the decision or the person's act behind it.
        log_entries: entries of the promotion log that this file knows.
        configuration: the whole configuration by part: model, adapter, quantisation, prompt, tools, template, decoding, vLLM.
        configuration_sha256: its hash; None in files of before there was one.
        evaluated_by: the decision or comparison that ran exactly this; None where none did, as after an edit of the pack.
        endpoint: the endpoint that serves; None where a model of ours does.
    """

    schema_version: Literal[1] = 1
    workflow: str
    adapter_id: str
    adapter_path: Path | None
    adapter_sha256: str | None
    base_model: ServedBase | None
    model_family: str | None
    chat_template_sha256: str | None
    vllm_arguments: list[str]
    since: str | None
    previous_adapter_id: str | None
    because: ServedBecause
    log_entries: int
    configuration: dict[str, Any] = {}
    configuration_sha256: str | None = None
    evaluated_by: str | None = None
    endpoint: ServedEndpoint | None = None


def pointer_of(
    settings: Settings, pack: Pack, base: Base, log: pl.DataFrame, evaluated: Mapping[str, str] | None = None
) -> Pointer:
    """The pointer as the log has it; what it names need not be there, whoever serves it looks. Base model and family are those that
    the adapter was trained on, which need not be today's.

    Args:
        evaluated: hash of each configuration that was evaluated -> by what.
    """
    first = pack.first_incumbent
    adapter_id, entry, standing = serving(log, first=first), since(log), history(log, first=first)
    because = ServedBecause(**{name: entry[name] for name in ServedBecause.model_fields} if entry else {})
    moved: dict[str, Any] = {
        "workflow": pack.name, "adapter_id": adapter_id, "since": entry["decided_at"].isoformat() if entry else None,
        "previous_adapter_id": standing[-2].adapter_id if len(standing) > 1 else None, "because": because, "log_entries": log.height,
    }  # fmt: skip
    if is_endpoint(adapter_id):
        return _of_endpoint(pack, base, adapter_id, moved, evaluated or {})
    # Where nobody can say what it was trained on, whoever serves it says why.
    on, _ = trained_on_each(Lake(settings.lake()), pack, base, settings.models(), {adapter_id})
    pack, base = on[adapter_id]
    spec = spec_of(settings, pack, base, adapter_id)
    folder, family = spec.adapters.get(adapter_id), spec.family
    parts = Configuration("pack", pack, base, adapter_id).parts()
    return Pointer(
        **moved, adapter_path=folder, adapter_sha256=_manifest_sha256(folder),
        base_model=ServedBase(name=base.name, path=base.folder, sha256=base.sha256), model_family=family.name,
        chat_template_sha256=family.template_sha256, vllm_arguments=spec.arguments(),
        configuration=parts, configuration_sha256=configuration_sha256(parts), evaluated_by=(evaluated or {}).get(configuration_sha256(parts)),
    )  # fmt: skip


def _of_endpoint(
    pack: Pack, base: Base, adapter_id: str, moved: dict[str, Any], evaluated: Mapping[str, str]
) -> Pointer:
    """The pointer to an endpoint: who is asked, and nothing of what is its own affair."""
    first, (model, host) = pack.settings.first_incumbent, model_and_host(adapter_id)
    named = first.endpoint if first and first.endpoint.id == adapter_id else None
    parts = Configuration("pack", pack, base, adapter_id, endpoint=named).parts() if named else {}
    sha256 = configuration_sha256(parts) if parts else None
    return Pointer(
        **moved, adapter_path=None, adapter_sha256=None, base_model=None, model_family=None, chat_template_sha256=None, vllm_arguments=[],
        configuration=parts, configuration_sha256=sha256, evaluated_by=evaluated.get(sha256 or ""),
        endpoint=ServedEndpoint(model=model, host=host, url=named.url if named else None),
    )  # fmt: skip


def spec_of(settings: Settings, pack: Pack, base: Base, adapter_id: str) -> ServerSpec:
    """What a server of one workflow's adapter is started with; `base` for none."""
    folder = None if adapter_id == BASE else settings.checkpoints(pack.name).absolute() / adapter_id
    return ServerSpec(
        model=base.folder, family=find_family(pack.settings.model_family), adapters={adapter_id: folder} if folder else {},
        max_model_len=pack.settings.max_model_len, max_num_seqs=pack.settings.evaluation.concurrency,
        max_lora_rank=_rank(folder) or pack.settings.lora_rank, threads=settings.threads,
    )  # fmt: skip


def write_pointer(
    settings: Settings, pack: Pack, base: Base, log: pl.DataFrame, evaluated: Mapping[str, str] | None = None
) -> Pointer:
    """Write the pointer file for the log as it is; readers see the old file or the new one."""
    pointer = pointer_of(settings, pack, base, log, evaluated)
    file = settings.pointer(pack.name)
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f"{file.name}.{os.getpid()}.partial")
    with partial.open("w", encoding="utf-8") as opened:
        opened.write(pointer.model_dump_json(indent=2) + "\n")
        opened.flush()
        os.fsync(opened.fileno())  # a machine that loses power must not be left with an empty pointer
    partial.replace(file)
    return pointer


def read_pointer(file: Path) -> Pointer:
    """A pointer file; raises FlywheelError when it is missing or is none."""
    remedy = "write it anew from the log: delete it, then flywheel serve WORKFLOW"
    try:
        return Pointer.model_validate(json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise FlywheelError("there is no pointer file", where=str(file), remedy=remedy) from None
    except (ValueError, ValidationError) as error:
        first = str(error).splitlines()[0]
        raise FlywheelError(f"the pointer file cannot be read: {first}", where=str(file), remedy=remedy) from None


def _manifest_sha256(folder: Path | None) -> str | None:
    return _value(folder, MANIFEST, lambda found: found["sha256"])


def _rank(folder: Path | None) -> int | None:
    return _value(folder, ADAPTER_FILES[0], rank_of)


def _value(folder: Path | None, name: str, read: Any) -> Any:
    """Something of an adapter's JSON file; None where the file is gone or broken, which serving it will say."""
    if folder is None:
        return None
    try:
        return read(json.loads((folder / name).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError):
        return None
