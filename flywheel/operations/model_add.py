"""`flywheel model add`: a model folder into the cache, once it is known that it can be trained and served here.

folder -> is it whole and safe -> which family -> does it know the family's tokens and stops -> template round trip -> copy and hash
"""

import importlib.util
import json
import re
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from flywheel.chat import Renderer
from flywheel.chat.families import FAMILIES, Family, find_family
from flywheel.chat.golden import GOLDEN, GOLDEN_TOOLS, steps
from flywheel.errors import FlywheelError
from flywheel.operations.family_checks import check_tokens, reads_back
from flywheel.operations.model_folder import ModelFolder, check_folder
from flywheel.serving.parse import parsing
from flywheel.settings import Settings
from flywheel.workflows.base_model import BaseModel, cached_models, weights_sha256, write_manifest

_SNAPSHOT = re.compile(r"models--(?P<owner>[^/]+)--(?P<name>[^/]+)/snapshots/(?P<revision>[0-9a-f]{7,40})$")


class Added(NamedTuple):
    """A model in the cache, its family, and what was found on the way, for the terminal."""

    base: BaseModel
    family: Family
    said: list[str]


def add_model(
    settings: Settings,
    folder: Path,
    *,
    name: str | None = None,
    family: str | None = None,
    licence: str | None = None,
    read_back: bool = True,
) -> Added:
    """Check a model folder and copy it into the cache; one that is there already is only named.

    Args:
        name: what packs call it; default: the folder's name.
        family: its family where the architecture and the tokens do not tell.
        licence: as a person names it.
        read_back: ask vLLM's parser to read the family's calls back (some seconds), where vLLM is installed.

    Raises FlywheelError for anything that would keep it from being trained or served here.
    """
    source = folder.absolute()
    if not source.is_dir():
        raise FlywheelError(
            "there is no such folder", where=str(folder), remedy="name the folder of the model's files; no hub is asked"
        )
    found = check_folder(source, licence)
    known = find_family(family) if family else family_of(found)
    called = name or _name_of(source)
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,80}", called):
        raise FlywheelError(
            f"{called!r} is no name for a model", where=str(folder), remedy="--name with letters, digits, . _ -"
        )
    base = BaseModel(called, source, weights_sha256(source), str(source))
    said = [f"{found.parameters:,} parameters, {found.architecture}; licence {found.licence.name} ({found.licence.file or 'as you say'})",
            check_tokens(known.name, base), round_trip(known, base, read_back=read_back)]  # fmt: skip
    said += [f"left out: {what}" for what in found.passed_over]
    return Added(_keep(settings, found, base, known), known, said)


def family_of(found: ModelFolder) -> Family:
    """The family whose architecture and special tokens a model has; raises FlywheelError naming the nearest."""
    stem = found.architecture.split("For")[0]
    alike = [family for family in FAMILIES.values() if family.architecture.split("For")[0] == stem]
    if not alike:
        known = ", ".join(f"{family.name} ({family.architecture})" for family in FAMILIES.values())
        raise FlywheelError(f"no family is written for the architecture {found.architecture}", where=str(found.folder / "config.json"),
                            remedy=f"take a model of a known family: {known}; a new family is a record in flywheel/chat/families.py")  # fmt: skip
    problems = []
    for family in alike:
        try:
            check_tokens(family.name, BaseModel(found.folder.name, found.folder, "", ""))
            return family
        except FlywheelError as error:
            problems.append(error)
    raise problems[0]


def round_trip(family: Family, base: BaseModel, *, read_back: bool = True) -> str:
    """Render the golden conversations with the model's tokenizer: every prompt is a prefix of its step, and the text comes back out of
    its tokens; then vLLM's parser reads the calls back. Raises FlywheelError at the first difference."""
    renderer = Renderer(base.tokenizer_file, family.name)
    turns = [step for conversation in GOLDEN for step in steps(conversation)]
    for history, target in turns:
        step = renderer.step(history, target, GOLDEN_TOOLS)
        prompt = renderer.text(history, GOLDEN_TOOLS, add_generation_prompt=True)
        if renderer.decode(step.prompt_ids) != prompt:
            raise FlywheelError("the tokenizer gives other text back than it was given", where=str(base.tokenizer_file),
                                remedy=f"is tokenizer.json the one of this model? For {family.name} it must keep every character")  # fmt: skip
    told = f"template of {family.name}: {len(turns)} assistant turns come back out of their tokens"
    if not read_back or importlib.util.find_spec("vllm") is None:
        return f"{told}; their calls were not read back{'' if read_back else ' (not asked)'}: flywheel doctor --serve does it"
    with parsing() as child:
        read = sum(reads_back(child, renderer, history, target) for history, target in turns)
    return f"{told}, and vLLM's parser {family.tool_parser} reads {read} back as written"


def _name_of(folder: Path) -> str:
    snapshot = _SNAPSHOT.search(folder.as_posix())
    return re.sub(r"[^a-z0-9._-]+", "-", (snapshot["name"] if snapshot else folder.name).lower()).strip("-.")


def _keep(settings: Settings, found: ModelFolder, base: BaseModel, family: Family) -> BaseModel:
    """Copy the model's files, measure the copy, and write its manifest last."""
    cache = settings.models()
    final = cache / f"{base.name}-{base.sha256[:12]}"
    others = [
        model.folder for model in cached_models(cache) if model.name == base.name and model.folder.name != final.name
    ]
    if others:
        raise FlywheelError(
            f"another model is called {base.name}", where=str(others[0]), remedy="give this one its own: --name"
        )
    if (final / "manifest.json").is_file():
        return BaseModel(base.name, final.absolute(), base.sha256, base.source)
    partial = cache / f".partial-{base.name}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for file in found.files:
        shutil.copyfile(file, partial / file.name)
    if weights_sha256(partial) != base.sha256:
        raise FlywheelError(
            "the copy differs from the folder",
            where=str(partial),
            remedy="nothing may write there meanwhile; is the disk full?",
        )
    snapshot = _SNAPSHOT.search(base.folder.as_posix())
    source = f"{snapshot['owner']}/{snapshot['name']}@{snapshot['revision']}" if snapshot else str(base.folder)
    write_manifest(
        partial, sha256=base.sha256, source=source, family=family.name, architecture=found.architecture, parameters=found.parameters,
        licence=found.licence._asdict(),
    )  # fmt: skip
    shutil.rmtree(final, ignore_errors=True)
    partial.rename(final)
    return BaseModel(base.name, final.absolute(), base.sha256, source)


def listed(settings: Settings, packs: dict[str, str]) -> list[dict[str, Any]]:
    """One entry a model in the cache; `packs` says which base model each workflow names."""
    rows = []
    for base in cached_models(settings.models()):
        manifest = json.loads((base.folder / "manifest.json").read_text(encoding="utf-8"))
        rows.append({
            "name": base.name, "sha256": base.sha256, "family": manifest.get("family"), "licence": (manifest.get("licence") or {}).get("name"),
            "bytes": sum(file.stat().st_size for file in base.folder.iterdir() if file.is_file()), "source": base.source,
            "workflows": sorted(workflow for workflow, model in packs.items() if model == base.name),
        })  # fmt: skip
    return rows
