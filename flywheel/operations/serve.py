"""`flywheel serve`: what the pointers of one or several workflows name, served in the foreground."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from flywheel.chat.families import find_family
from flywheel.errors import FlywheelError
from flywheel.operations.releasing import releases
from flywheel.promotion.adapter_files import open_served
from flywheel.promotion.comparison import evaluated_in
from flywheel.promotion.pointer_file import Pointer, read_pointer, spec_of, write_pointer
from flywheel.promotion.releases import Releases
from flywheel.serving.foreground import Address, check_address, serve
from flywheel.serving.together import together
from flywheel.settings import Settings
from flywheel.workflows.base_model import BaseModel, check_weights


def serve_workflows(
    settings: Settings, workflows: Sequence[str], address: Address, *, say: Callable[[str], None]
) -> None:
    """Serve what the pointers of one or several workflows name until the command is stopped; several stand on one base model.

    Raises FlywheelError when something that a pointer names is gone or was changed, two workflows cannot share a server, the address is
    refused, or vLLM does not start.
    """
    check_address(address)
    acts = {name: releases(settings, name) for name in dict.fromkeys(workflows)}
    pointers = {name: current_pointer(one, say) for name, one in acts.items()}
    on = {name: check_pointer(settings, pointer) for name, pointer in pointers.items()}
    arguments = arguments_of(settings, acts, pointers)
    for name, pointer in pointers.items():
        since = f", released {pointer.since}" if pointer.since else ""
        say(f"{name}: serving {pointer.adapter_id} on {on[name].name}{since}")
    files = {name: settings.pointer(name) for name in pointers}
    looks = [_watch(name, files[name], pointer.adapter_id, say) for name, pointer in pointers.items()]
    first = next(iter(files.values()))
    log = first.with_name(f"{'+'.join(files)}.log")

    def look() -> None:
        for one in looks:
            one()

    serve(
        arguments, address, threads=settings.threads, log=log, start_seconds=settings.serve_start_seconds, say=say, look=look,
    )  # fmt: skip


def arguments_of(settings: Settings, acts: Mapping[str, Releases], pointers: Mapping[str, Pointer]) -> list[str]:
    """vLLM's arguments: those of the pointer file; of several workflows the joined ones of what their pointers name."""
    if len(pointers) == 1:
        return next(iter(pointers.values())).vllm_arguments
    return together(
        {
            name: spec_of(settings, *acts[name].trained_on(pointer.adapter_id), pointer.adapter_id)
            for name, pointer in pointers.items()
        }
    ).arguments()


def current_pointer(acts: Releases, say: Callable[[str], None]) -> Pointer:
    """The pointer file; written from the log where it is missing or behind, as after a killed command."""
    file, log = acts.settings.pointer(acts.pack.name), acts.log()
    if file.is_file():
        pointer = read_pointer(file)
        if pointer.log_entries == log.height:
            return pointer
        say(f"the pointer file knew {pointer.log_entries} of {log.height} entries of the promotion log: written anew")
    return write_pointer(acts.settings, acts.pack, acts.base, log, evaluated_in(acts.lake, acts.pack.name, log))


def check_pointer(settings: Settings, pointer: Pointer) -> BaseModel:
    """The base model; raises FlywheelError when it, the adapter or the template is not what was released, or an endpoint serves."""
    if pointer.base_model is None or pointer.model_family is None:
        raise FlywheelError(
            f"{pointer.adapter_id} answers production until a first adapter is released: nothing is to be served here", where=pointer.workflow,
            remedy=f"let one serve: flywheel promote --workflow {pointer.workflow} --week WEEK --by NAME",
        )  # fmt: skip
    base = BaseModel(pointer.base_model.name, pointer.base_model.path, pointer.base_model.sha256, "")
    remedy = f"put it back, or roll back: flywheel rollback --workflow {pointer.workflow} --by NAME --reason TEXT"
    if not base.folder.is_dir():
        raise FlywheelError(
            f"the base model that {pointer.adapter_id} stands on is gone", where=str(base.folder), remedy=remedy
        )
    check_weights(base)
    adapter = open_served(settings, pointer.workflow, pointer.adapter_id, base)
    if adapter and adapter.folder != pointer.adapter_path:
        raise FlywheelError(
            f"the pointer names {pointer.adapter_path}, and the adapter lies in {adapter.folder}", where=str(settings.pointer(pointer.workflow)),
            remedy="FLYWHEEL_HOME was moved: delete the pointer file, it is written anew from the log",
        )  # fmt: skip
    family = find_family(pointer.model_family)
    family.check_template()
    if family.template_sha256 != pointer.chat_template_sha256:
        raise FlywheelError(f"the template of {family.name} is another than at the release", where=str(family.template_file),
                            remedy="train and promote with the new one, or go back to the version that was released")  # fmt: skip
    return base


def _watch(workflow: str, file: Path, serving: str, say: Callable[[str], None]) -> Callable[[], None]:
    """Says once when the pointer moves away from what is served here."""
    seen = file.stat().st_mtime_ns

    def look() -> None:
        nonlocal seen, serving
        try:
            changed = file.stat().st_mtime_ns
            if changed == seen:
                return
            seen = changed
            named = read_pointer(file).adapter_id
        except (OSError, FlywheelError):
            return
        if named != serving:
            say(f"{workflow}: the pointer now names {named}: start this command again to serve it")
            serving = named

    return look
