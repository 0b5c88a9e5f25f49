"""Week zero in the workbench: the pack's tasks as prompts for experts, and the ledger that takes what they show."""

from pathlib import Path
from typing import Any

from flywheel.corrections.workbench.prompts import Prompt
from flywheel.datasets.teacher import Task, read_tasks
from flywheel.datasets.week_zero.ledger import add_drafts, draft, ledger_of, lot_of
from flywheel.datasets.week_zero.prompts import TASKS, prompt_id, trace_of
from flywheel.settings import Settings
from flywheel.workflows.pack import Pack


class PackPrompts:
    """The tasks of a pack; read anew each time, so that what is added shows while the workbench runs."""

    def __init__(self, settings: Settings, pack: Pack) -> None:
        self._pack, self._ledger = pack, ledger_of(settings.bootstrap(), pack.folder)

    def prompts(self) -> list[Prompt]:
        """Every task, in the order of the file, with who showed it; one whose showing was refused is open again."""
        shown: dict[str, set[str]] = {}
        for one in lot_of(self._ledger, self._pack).standings:
            if one.row["source"] == "person" and one.row.get("task") and one.status != "refused":
                shown.setdefault(one.row["task"], set()).add(one.row["annotator"])
        tasks = read_tasks(self._pack.folder / TASKS, self._pack)
        return [_prompt(task, tuple(sorted(shown.get(task.id, ())))) for task in tasks]

    def keep(self, prompt: Prompt, messages: list[dict[str, Any]], *, by: str, effort: dict[str, Any]) -> None:
        """Put a finished run into the ledger; raises FlywheelError saying what is wrong with it."""
        row = draft(
            messages, self._pack.tools, source="person", annotator=by, annotator_kind="human",
            conversation_id=prompt.conversation_id or f"shown-{prompt.id}", trains_from=len(prompt.messages), task=prompt.name,
            effort=effort, trace_id=trace_of(prompt.name),
        )  # fmt: skip
        add_drafts(self._ledger, [row])


def pack_prompts(settings: Settings, pack: Pack) -> PackPrompts | None:
    """The pack's prompts; None where it has no tasks. Raises FlywheelError for a task that cannot be read."""
    if not Path(pack.folder / TASKS).is_file():
        return None
    found = PackPrompts(settings, pack)
    found.prompts()
    return found


def _prompt(task: Task, shown_by: tuple[str, ...]) -> Prompt:
    world = task.environment
    return Prompt(prompt_id(task.id), task.id, task.messages, task.replies, world.seed if world else None,
                  world.overrides if world else None, task.recorded, shown_by, task.conversation_id)  # fmt: skip
