"""`flywheel batch questions | answer | amend | recall`: what the house and a partner say to each other about a handed-out batch."""

from pathlib import Path
from typing import Annotated, Any

import typer

from flywheel.cli.batch import Week, WorkflowName, batch_app, store_and_batch
from flywheel.errors import FlywheelError
from flywheel.settings import Settings

By = Annotated[str, typer.Option(help="Who says it; stands in the letter.")]
Folders = Annotated[
    list[Path] | None,
    typer.Option("--batch", help="Batch folder to put the letters into; repeatable.", exists=True, file_okay=False),
]


@batch_app.command()
def questions(workflow: WorkflowName, week: Week) -> None:
    """What partners asked about a week's batch, the unanswered first."""
    from flywheel.chat.visible import visible

    asked = _letters(workflow, week).questions()
    for one in sorted(asked, key=lambda row: row["answered"]):
        about = f"item {one['item_id']}" if one["item_id"] else "the whole batch"
        print(visible(f"{one['question_id']}  {'answered' if one['answered'] else 'OPEN'}  {one['partner']}/{one['actor_ref']}, {about}: {one['text']}"))  # fmt: skip
    if not asked:
        print("nobody asked anything: questions come with a return (flywheel batch import)")


@batch_app.command()
def answer(
    workflow: WorkflowName,
    week: Week,
    question: Annotated[str, typer.Argument(help="Id of the question, or its beginning.")],
    text: Annotated[str, typer.Argument(help="The answer.")],
    by: By,
    batch: Folders = None,
) -> None:
    """Answer a partner's question by a signed letter that travels with the batch."""
    letters = _letters(workflow, week)
    _sent(letters, f"letter {letters.answer(question, text, by=by)} answers it", batch)


@batch_app.command()
def amend(
    workflow: WorkflowName,
    week: Week,
    file: Annotated[Path, typer.Argument(help="Text file with what is to be done from now on.", exists=True, dir_okay=False)],
    by: By,
    batch: Folders = None,
) -> None:  # fmt: skip
    """Amend the guidelines of a batch that is out; answers by the earlier version are still taken."""
    letters = _letters(workflow, week)
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise FlywheelError("that is no text in UTF-8", where=str(file), remedy="save it as UTF-8") from None
    _sent(letters, f"{letters.amend(text, by=by)} of the guidelines is in force", batch)


@batch_app.command()
def recall(
    workflow: WorkflowName,
    week: Week,
    items: Annotated[list[str], typer.Argument(help="Ids of the items to call back.")],
    reason: Annotated[str, typer.Option(help="erasure, poisoning, guideline_change or mistake.")],
    by: By,
    batch: Folders = None,
) -> None:
    """Call items of a handed-out batch back: the partner's bench withdraws them, and no answer to them is taken any more."""
    from flywheel.chat.visible import visible
    from flywheel.corrections.erasing import erased_items
    from flywheel.corrections.handoff.recall import withdrawn

    store, opened = store_and_batch(workflow, week)
    known = {
        *opened.item_ids,
        *(item_id for _, item_id, _ in store.planted(opened.name)),
        *erased_items(store, opened.name),
    }
    strange = [item for item in items if item not in known]
    if strange:
        raise FlywheelError(f"the batch has no item {visible(strange[0])}", where=f"{workflow}, week {week}",
                            remedy="ids stand in items.jsonl of the batch, and in what flywheel erase printed")  # fmt: skip
    letters = _letters(workflow, week)
    _sent(letters, f"letter {letters.recall(items, reason, by=by)} calls {len(items)} items back", batch)
    taken = withdrawn(store, opened.name, items, reason, by)
    if taken:
        print(f"{taken} of them were accepted before and are withdrawn; rows that trained: flywheel dataset withdraw")


def _letters(workflow: str, week: str) -> Any:
    from flywheel.corrections.handoff.keys import signing_key
    from flywheel.corrections.handoff.letters import Correspondence, folder_of

    _, batch = store_and_batch(workflow, week)
    qa = Settings().home / "qa"
    return Correspondence(folder_of(qa, batch.name), batch.name, signing_key(qa / "keys"))


def _sent(letters: Any, what: str, folders: list[Path] | None) -> None:
    for folder in folders or ():
        letters.deliver(folder)
    print(f"{what}; " + (f"put into {', '.join(map(str, folders))}" if folders else "give the partner the folder letters/ (--batch puts it into a batch folder)"))  # fmt: skip
