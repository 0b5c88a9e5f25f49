"""A serving bundle: one folder from which a plain vLLM serves what was promoted, without flywheel beside it.

It holds the adapter (or merged weights), template, tokenizer, parser, vLLM's arguments, and a README with the one command. Equal
inputs give equal bytes: nothing in it says where or when it was made. Its digest is the hash of `SHA256SUMS`, the hashes of all files.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from flywheel.chat.families import Family, find_family
from flywheel.errors import FlywheelError
from flywheel.promotion.adapter_files import open_served
from flywheel.promotion.pointer import BASE
from flywheel.serving.vllm_server import MACHINE_ARGUMENTS, ServerSpec
from flywheel.serving.vllm_server import PINNED_VLLM as VLLM
from flywheel.settings import Settings
from flywheel.whole_folder import put_in_place
from flywheel.workflows.base_model import BaseModel
from flywheel.workflows.pack import Pack

SUMS, ARGUMENTS, CPU_ARGUMENTS = "SHA256SUMS", "vllm-arguments.txt", "vllm-arguments-cpu.txt"
_TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "config.json",
    "generation_config.json",
)


class Bundle(NamedTuple):
    """A bundle on disk: its folder, its digest, and how many bytes its files have."""

    folder: Path
    sha256: str
    size: int


class Contents(NamedTuple):
    """What goes into a bundle: an adapter (`base` for none), or the folder of the model it was merged into; the model card if there is one."""

    adapter_id: str
    merged: Path | None = None
    card: str | None = None


def make_bundle(settings: Settings, pack: Pack, base: BaseModel, contents: Contents, folder: Path) -> Bundle:
    """Write a bundle to `folder`, whole or not at all; the same bundle there already is left as it is.

    Raises FlywheelError when the adapter is not whole, or the folder holds something else.
    """
    adapter = open_served(settings, pack.name, contents.adapter_id, base)
    family = find_family(pack.settings.model_family)

    def fill(partial: Path) -> None:
        if contents.merged:
            shutil.copytree(contents.merged, partial / "model")
        else:
            copy_tokenizer(base, partial)
            if adapter:
                shutil.copytree(adapter.folder, partial / adapter.id)
        copy_template(family, partial)
        if contents.card:
            (partial / "MODEL_CARD.md").write_text(contents.card, encoding="utf-8")
        _describe(partial, pack, base, family, contents, adapter.rank if adapter else 0)

    return write_bundle(folder, fill)


def write_bundle(folder: Path, fill: Callable[[Path], None]) -> Bundle:
    """Let `fill` write a bundle's files into an empty folder, add their hashes, and put it in place: whole or not at all.

    Raises FlywheelError when it cannot be written, or `folder` holds something else.
    """
    folder = folder.absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        fill(partial)
        made = Bundle(
            folder, _sum_up(partial), sum(file.stat().st_size for file in partial.rglob("*") if file.is_file())
        )
        put_in_place(
            partial, folder, remedy="name an empty or a new folder: --out DIR",
            is_same=lambda: (folder / SUMS).is_file() and check_bundle(folder) == made.sha256,
        )  # fmt: skip
        return made
    except OSError as error:
        raise FlywheelError(f"the bundle could not be written: {error}", where=str(folder),
                            remedy="free some disk space or name another folder; nothing half-written is left") from None  # fmt: skip
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check_bundle(folder: Path) -> str:
    """The digest of a bundle whose files are all as they were written; raises FlywheelError naming the first that is not."""
    try:
        sums = (folder / SUMS).read_text(encoding="utf-8")
    except OSError:
        raise FlywheelError(
            "this is no serving bundle, or no whole one", where=str(folder), remedy="make it again: flywheel bundle"
        ) from None
    listed = {name: sha256 for sha256, _, name in (line.partition("  ") for line in sums.splitlines())}
    for name in sorted({*listed, *_files(folder)}):
        if not (folder / name).is_file() or listed.get(name) != _sha256(folder / name):
            raise FlywheelError(
                f"{name} is not as the bundle was made", where=str(folder), remedy="make it again: flywheel bundle"
            )
    return hashlib.sha256(sums.encode()).hexdigest()


def bundle_arguments(pack: Pack, family: Family, contents: Contents, rank: int) -> list[str]:
    """vLLM's arguments with paths inside the bundle, without the model itself and without what fits them to one machine."""
    lora = not contents.merged and contents.adapter_id != BASE
    spec = ServerSpec(
        model=Path("model"), family=family, adapters={contents.adapter_id: Path(contents.adapter_id)} if lora else {},
        max_model_len=pack.settings.max_model_len, max_num_seqs=pack.settings.evaluation.concurrency, max_lora_rank=rank,
    )  # fmt: skip
    found = inside_arguments(spec)
    if contents.merged:
        found[found.index("--served-model-name") + 1] = contents.adapter_id  # traces must carry the adapter's id
        return ["--host", "127.0.0.1", *found]
    return ["--host", "127.0.0.1", "--tokenizer", "tokenizer", *found]


def inside_arguments(spec: ServerSpec) -> list[str]:
    """vLLM's arguments with the template and parser of the bundle's folder, without model and without what fits one machine."""
    family = spec.family
    inside = {str(family.template_file): "chat_template.jinja", str(family.tool_parser_plugin): "tool_parser.py"}
    found = [inside.get(argument, argument) for argument in _without(spec.arguments(), MACHINE_ARGUMENTS)]
    return _without(found, ("--model", str(spec.model)))


def _without(arguments: Sequence[str], run: Sequence[str]) -> list[str]:
    """The arguments without one run of them, which must be there."""
    start = next(n for n in range(len(arguments)) if tuple(arguments[n : n + len(run)]) == tuple(run))
    return [*arguments[:start], *arguments[start + len(run) :]]


def _describe(partial: Path, pack: Pack, base: BaseModel, family: Family, contents: Contents, rank: int) -> None:
    arguments = bundle_arguments(pack, family, contents, rank)
    described = {
        "schema_version": 1, "workflow": pack.name, "adapter_id": contents.adapter_id, "merged": contents.merged is not None,
        "base_model": {"name": base.name, "sha256": base.sha256}, "model_family": family.name,
        "chat_template_sha256": family.template_sha256, "tools_sha256": pack.tools_sha256, "vllm": VLLM, "arguments": arguments,
    }  # fmt: skip
    write_description(partial, described, _readme(pack, base, contents))


def write_description(partial: Path, described: dict[str, Any], readme: str) -> None:
    """What every bundle says of itself: bundle.json, vLLM's arguments a line each (of every machine; of a CPU), and the README."""
    (partial / "bundle.json").write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    (partial / ARGUMENTS).write_text("\n".join(described["arguments"]) + "\n", encoding="utf-8")
    (partial / CPU_ARGUMENTS).write_text("\n".join(_cpu_arguments()) + "\n", encoding="utf-8")
    (partial / "README.md").write_text(readme, encoding="utf-8")


def _cpu_arguments() -> list[str]:
    """Of what fits a server to our machines, what every CPU needs: vLLM would else ask for nearly all of the memory."""
    start = MACHINE_ARGUMENTS.index("--kv-cache-memory-bytes")
    return ["--enforce-eager", *MACHINE_ARGUMENTS[start : start + 2]]


def _readme(pack: Pack, base: BaseModel, contents: Contents) -> str:
    model = "model" if contents.merged else '"$BASE_MODEL"'
    what = (
        f"`{contents.adapter_id}` merged into {base.name}"
        if contents.merged
        else f"`{contents.adapter_id}` on {base.name}"
    )
    needed = "" if contents.merged else (
        f"\n`BASE_MODEL` is a folder with the weights of {base.name}: the SHA-256 over its safetensors files, in name order, is\n"
        f"`{base.sha256}`. The answers are those that were evaluated with this base model alone.\n"
    )  # fmt: skip
    merged = (
        "\nMerged weights answer otherwise than the attached adapter where two tokens are nearly as likely: evaluate them before they\n"
        "serve. They are served under the adapter's id, which traces must carry.\n"
    ) if contents.merged else ""  # fmt: skip
    return f"""# {pack.name}: {what}

In this folder, with vLLM {VLLM} and nothing of flywheel:

```sh
vllm serve {model} $(cat {ARGUMENTS})
```

The CPU build of vLLM has no `vllm` command, and needs to be told how much memory to take:

```sh
python -m vllm.entrypoints.openai.api_server --model {model} $(cat {ARGUMENTS} {CPU_ARGUMENTS})
```
{needed}{merged}
Ask it for model `{contents.adapter_id}` at http://127.0.0.1:8000/v1/chat/completions, with the tools as production sends them, and
keep that name as `adapter_id` in the traces. vLLM asks nobody who they are: it listens on this machine alone, put a proxy that asks
in front of it. `sha256sum -c {SUMS}` checks the files; the digest of the bundle is `sha256sum {SUMS}`.
"""


def _sum_up(folder: Path) -> str:
    """Write `SHA256SUMS`, as sha256sum does; returns its hash, the digest of the bundle."""
    text = "".join(f"{_sha256(folder / name)}  {name}\n" for name in _files(folder))
    (folder / SUMS).write_text(text, encoding="utf-8")
    return hashlib.sha256(text.encode()).hexdigest()


def _files(folder: Path) -> list[str]:
    return sorted(
        file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file() and file.name != SUMS
    )


def copy_tokenizer(base: BaseModel, partial: Path) -> None:
    """The base model's small files, from which vLLM makes the tokenizer; its weights stay where they are."""
    target = partial / "tokenizer"
    target.mkdir()
    for name in _TOKENIZER:
        if (base.folder / name).is_file():
            shutil.copyfile(base.folder / name, target / name)


def copy_template(family: Family, partial: Path) -> None:
    """The family's template as it is pinned, and the parser of its calls where vLLM has none; raises FlywheelError for a changed template."""
    family.check_template()
    shutil.copyfile(family.template_file, partial / "chat_template.jinja")
    if family.tool_parser_plugin:
        shutil.copyfile(family.tool_parser_plugin, partial / "tool_parser.py")


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
