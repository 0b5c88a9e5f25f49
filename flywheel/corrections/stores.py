"""Which QA store a workflow uses: FLYWHEEL_QA_STORE for all workflows together, else an SQLite file for each."""

from flywheel.corrections.events import EventStore
from flywheel.settings import Settings


def open_store(settings: Settings, workflow: str) -> EventStore:
    """The store of a workflow's batches, made when absent; raises FlywheelError when it cannot be reached."""
    return EventStore(settings.qa_store_url or settings.qa_store(workflow), workflow=workflow)


def has_store(settings: Settings, workflow: str) -> bool:
    """Whether there is a store to look into; asking makes none."""
    return bool(settings.qa_store_url) or settings.qa_store(workflow).is_file()


def every_store(settings: Settings) -> list[EventStore]:
    """The stores of all workflows: the one database, or each file."""
    if settings.qa_store_url:
        return [EventStore(settings.qa_store_url)]
    # WORKFLOW.workbench.sqlite, which lies beside them, holds grades and no events.
    return [EventStore(file) for file in sorted(settings.qa_store("x").parent.glob("*.sqlite")) if "." not in file.stem]
