"""One serving bundle for several workflows on one base: every adapter that serves, one tokenizer, one template, one command."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from flywheel.errors import FlywheelError
from flywheel.promotion.adapter_files import open_served
from flywheel.promotion.bundle import (
    ARGUMENTS,
    CPU_ARGUMENTS,
    SUMS,
    VLLM,
    Bundle,
    copy_template,
    copy_tokenizer,
    inside_arguments,
    write_bundle,
    write_description,
)
from flywheel.promotion.pointer import BASE
from flywheel.promotion.pointer_file import spec_of
from flywheel.serving.together import together
from flywheel.settings import Settings
from flywheel.workflows.base_model import BaseModel
from flywheel.workflows.pack import Pack


class Member(NamedTuple):
    """A workflow in a shared bundle: its pack and base, the adapter that serves it (`base` for none), its model card if there is one."""

    pack: Pack
    base: BaseModel
    adapter_id: str
    card: str | None = None


def make_shared_bundle(settings: Settings, members: Sequence[Member], folder: Path) -> Bundle:
    """Write one bundle for several workflows to `folder`, whole or not at all; the same bundle there already is left as it is.

    Raises FlywheelError when two workflows cannot share a server, an adapter is not whole, or the folder holds something else.
    """
    members = sorted(members, key=lambda member: member.pack.name)
    base = members[0].base
    for member in members:
        if member.base.sha256 != base.sha256:
            raise FlywheelError(
                f"{members[0].pack.name} and {member.pack.name} stand on other base models: {base.name} and {member.base.name}",
                where=member.pack.name, remedy="make a bundle for each: flywheel bundle WORKFLOW --out DIR",
            )  # fmt: skip
    adapters = {
        member.pack.name: open_served(settings, member.pack.name, member.adapter_id, base) for member in members
    }
    spec = together({member.pack.name: spec_of(settings, member.pack, base, member.adapter_id) for member in members})
    inside = {served: Path(served) for served in spec.adapters}  # their folders stand in the bundle under their names

    def fill(partial: Path) -> None:
        copy_tokenizer(base, partial)
        copy_template(spec.family, partial)
        for adapter in adapters.values():
            if adapter and not (partial / adapter.id).is_dir():
                shutil.copytree(adapter.folder, partial / adapter.id)
        for member in members:
            if member.card:
                (partial / f"MODEL_CARD-{member.pack.name}.md").write_text(member.card, encoding="utf-8")
        arguments = inside_arguments(replace(spec, adapters=inside))
        described = {
            "schema_version": 1,
            "workflows": [
                {"workflow": one.pack.name, "adapter_id": one.adapter_id, "tools_sha256": one.pack.tools_sha256} for one in members
            ],
            "merged": False, "base_model": {"name": base.name, "sha256": base.sha256}, "model_family": spec.family.name,
            "chat_template_sha256": spec.family.template_sha256, "vllm": VLLM,
            "arguments": ["--host", "127.0.0.1", "--tokenizer", "tokenizer", *arguments],
        }  # fmt: skip
        write_description(partial, described, _readme(base, members))

    return write_bundle(folder, fill)


def _readme(base: BaseModel, members: Sequence[Member]) -> str:
    rows = "\n".join(f"| {member.pack.name} | `{member.adapter_id}` |" for member in members)
    note = "\n`base` is the base model itself.\n" if any(member.adapter_id == BASE for member in members) else ""
    return f"""# {", ".join(member.pack.name for member in members)} on {base.name}

One server for all of them. In this folder, with vLLM {VLLM} and nothing of flywheel:

```sh
vllm serve "$BASE_MODEL" $(cat {ARGUMENTS})
```

The CPU build of vLLM has no `vllm` command, and needs to be told how much memory to take:

```sh
python -m vllm.entrypoints.openai.api_server --model "$BASE_MODEL" $(cat {ARGUMENTS} {CPU_ARGUMENTS})
```

`BASE_MODEL` is a folder with the weights of {base.name}: the SHA-256 over its safetensors files, in name order, is
`{base.sha256}`. The answers are those that were evaluated with this base model alone.

| workflow | model to ask for at http://127.0.0.1:8000/v1/chat/completions |
|---|---|
{rows}
{note}
Send each workflow's tools as production does, and keep the model's name as `adapter_id` in its traces. vLLM asks nobody who they are: it
listens on this machine alone, put a proxy that asks in front of it. `sha256sum -c {SUMS}` checks the files; the digest of the bundle is
`sha256sum {SUMS}`.
"""
