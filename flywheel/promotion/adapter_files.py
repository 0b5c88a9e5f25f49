"""Are the files of an adapter there, whole, unchanged and for this base model? Asked before anything is made to serve."""

from flywheel.errors import FlywheelError
from flywheel.promotion.pointer import BASE
from flywheel.serving.adapters import Adapter, adapter_sha256, open_adapter
from flywheel.settings import Settings
from flywheel.workflows.base_model import BaseModel
from flywheel.workflows.serving_settings import is_endpoint


def open_served(settings: Settings, workflow: str, adapter_id: str, base: BaseModel) -> Adapter | None:
    """The adapter, opened and compared with its id; None for the base model itself. Raises FlywheelError when it cannot serve from here."""
    if adapter_id == BASE:
        return None
    if is_endpoint(adapter_id):
        raise FlywheelError(
            f"production is answered by {adapter_id}, of which nothing lies here to be served or packed", where=f"promotion_log of {workflow}",
            remedy=f"ask it where it is, or let an adapter serve: flywheel promote --workflow {workflow}",
        )  # fmt: skip
    folder = settings.checkpoints(workflow).absolute() / adapter_id
    adapter = open_adapter(folder, base_model=base.folder.name)
    if (
        folder.name != f"adapter-{adapter_sha256(folder)[:16]}"
    ):  # the id is the hash: a manifest can be rewritten, a name is asked for
        raise FlywheelError(
            f"{adapter_id} holds other weights than its name says", where=str(folder),
            remedy="rematerialize the checkpoint of the week that trained it, or serve another adapter",
        )  # fmt: skip
    return adapter


def problem_with(settings: Settings, workflow: str, adapter_id: str, base: BaseModel) -> str | None:
    """Why an adapter cannot serve, in one sentence; None when it can, and of an endpoint, which needs nothing from here."""
    if is_endpoint(adapter_id):
        return None
    try:
        open_served(settings, workflow, adapter_id, base)
    except FlywheelError as error:
        return error.what
    return None
