"""`flywheel batch`: list and close correction batches, hand one to a partner and take it back, also through Label Studio."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from flywheel.cli import app
from flywheel.errors import FlywheelError
from flywheel.settings import Settings

batch_app = typer.Typer(help="Correction batches: list, close, hand out, verify, take in.", no_args_is_help=True)
app.add_typer(batch_app, name="batch")
label_studio_app = typer.Typer(help="Label Studio projects from a batch, and their answers back.", no_args_is_help=True)
batch_app.add_typer(label_studio_app, name="label-studio")

WorkflowName = Annotated[str, typer.Argument(help="Name of the workflow pack.")]
Week = Annotated[str, typer.Argument(help="Monday the week starts on, as in 2026-01-05.")]
Handed = Annotated[
    Path, typer.Option("--batch", help="The batch folder as it was handed out.", exists=True, file_okay=False)
]
Returned = Annotated[
    Path, typer.Argument(help="A part, or the folder with all part-NNN folders.", exists=True, file_okay=False)
]


@batch_app.command("list")
def list_batches(workflow: Annotated[str | None, typer.Option(help="Only this workflow.")] = None) -> None:
    """One line a batch: week, version, how far it is, and whether it is frozen or closed."""
    from flywheel.corrections.closing import own_states
    from flywheel.corrections.stores import has_store, open_store
    from flywheel.workflows.loader import checked_name, known_workflows

    settings = Settings()
    names = [checked_name(workflow)] if workflow else known_workflows(settings.workflows())
    shown = 0
    for name in names:
        if not has_store(settings, name):
            continue
        store = open_store(settings, name)
        for batch in store.batches():
            states = own_states(store, batch)
            counts = ", ".join(
                f"{count} {status}" for status, count in sorted(Counter(s.status for s in states.values()).items())
            )
            how = "closed" if batch.closed else "frozen, people work on it" if batch.frozen else "open"
            print(f"{batch.workflow}  {batch.week}  {batch.version[:12]}  {how}  {len(batch.item_ids)} items: {counts}")
            shown += 1
    if not shown:
        print("no batch was opened yet: flywheel run --week MONDAY makes one")


@batch_app.command()
def close(
    workflow: WorkflowName, week: Week, by: Annotated[str, typer.Option(help="Who closes it; stands in the log.")]
) -> None:
    """Close a week's batch before its deadline: open items return with the next batch, the accepted ones still meet their audit."""
    from flywheel.corrections.closing import close_now
    from flywheel.workflows.loader import find_pack

    store, batch = _store_and_batch(workflow, week)
    print(close_now(store, find_pack(Settings().workflows(), workflow), batch, by=by))


@batch_app.command()
def export(
    workflow: WorkflowName,
    week: Week,
    out: Annotated[Path, typer.Option(help="Folder to make; it must not hold anything else.")],
    partner: Annotated[
        str, typer.Option(help="Short name of who gets it; their people become partner/person.")
    ] = "partner",
    partner_key: Annotated[Path | None, typer.Option(help="PEM public key their returns must be signed with.")] = None,
    due: Annotated[
        str | None, typer.Option(help="When it is due, ISO 8601; seven days after it was opened by default.")
    ] = None,
) -> None:
    """Hand a week's batch out as a signed folder, and freeze it."""
    from flywheel.chat.visible import visible
    from flywheel.corrections.handoff.export import export as hand_out
    from flywheel.lake import Lake
    from flywheel.workflows.loader import checked_name, find_pack

    settings = Settings()
    store, batch = _store_and_batch(workflow, week)
    done = hand_out(
        store, Lake(settings.lake()), find_pack(settings.workflows(), workflow), batch, out, keys=settings.home / "qa" / "keys",
        partner=checked_name(partner), partner_key=partner_key, due_at=_due(due),
    )  # fmt: skip
    print(f"{done.items} items in {out}; the batch is frozen now\nmanifest {done.manifest_sha256}")
    print(f"key fingerprint {done.fingerprint}\n  -> tell it to the partner by telephone, not beside the folder")
    for item_id, kinds in done.held_back:
        print(f"held back: item {visible(item_id)} still holds {', '.join(kinds)}; correct it in the house")
    for tool, reason in sorted(done.unusable.items()):
        print(f"no call of {visible(tool)} can pass, on either side: {visible(reason)}")


@batch_app.command()
def verify(
    returned: Returned,
    batch: Handed,
    fingerprint: Annotated[str | None, typer.Option(help="Of the key the batch must be signed with.")] = None,
) -> None:
    """Judge a return as the partner does; exit code 0 all accepted, 1 some refused, 3 the return refused, 2 not judged."""
    from flywheel.corrections.handoff.importing import handed_out
    from flywheel.corrections.handoff.verify.command import CODES, summary, verify_folder

    verdict = verify_folder(returned, handed_out(batch, fingerprint))
    print(summary(verdict))
    raise typer.Exit(CODES[verdict.report["verdict"]])


@batch_app.command("import")
def take_in(returned: Returned, batch: Handed) -> None:
    """Judge a return and add what is accepted to the store; a second time changes nothing. Exit codes as for verify."""
    from flywheel.corrections.handoff.importing import handed_out, import_return
    from flywheel.corrections.handoff.verify.command import CODES, summary
    from flywheel.lake import Lake

    settings, handed = Settings(), handed_out(batch)
    store, _ = _store_and_batch(str(handed.manifest["workflow"]), str(handed.manifest["week"]))
    done = import_return(store, Lake(settings.lake()), handed, returned)
    print(summary(done.verdict))
    _told(done)
    raise typer.Exit(CODES[done.verdict.report["verdict"]])


def _told(done: Any) -> None:
    from flywheel.chat.visible import visible

    print(
        f"{len(done.submitted)} answers new in the store, {len(done.decided)} decided by the partner, {len(done.unchanged)} known already"
    )
    for item_id, why in sorted(done.not_taken.items()):
        print(f"not taken: item {visible(item_id)}: {visible(why)}")


def _store_and_batch(workflow: str, week: str) -> tuple[Any, Any]:
    from flywheel.corrections.stores import has_store, open_store
    from flywheel.workflows.loader import checked_name

    settings = Settings()
    store = open_store(settings, workflow) if has_store(settings, checked_name(workflow)) else None
    batch = store.batch_of(week, workflow) if store else None
    if batch is None:
        raise FlywheelError("no correction batch was opened", where=f"{workflow}, week {week}",
                            remedy=f"flywheel run --workflow {workflow} --week {week} --stage collect")  # fmt: skip
    return store, batch


def _due(text: str | None) -> str | None:
    from datetime import datetime

    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).isoformat()
    except ValueError:
        raise FlywheelError(
            f"{text!r} is no date", remedy="write it as 2026-01-12 or 2026-01-12T18:00:00+00:00"
        ) from None


@label_studio_app.command("export")
def label_studio_export(
    batch: Annotated[Path, typer.Argument(help="The batch folder as it was handed out.", exists=True, file_okay=False)],
    out: Annotated[Path, typer.Option(help="Folder to make; it must not hold anything else.")],
) -> None:
    """Make Label Studio projects of a batch: one for each tool and failure cluster, filled with what the model did."""
    from flywheel.corrections.handoff.importing import handed_out
    from flywheel.corrections.label_studio.projects import write_projects

    for folder, tasks in write_projects(handed_out(batch), out):
        print(f"{folder}: {tasks} tasks")
    print(
        "for each: make a project, paste config.xml as its labelling interface, import tasks.json, and turn predictions on;"
    )
    print(
        "then export it in the format JSON: flywheel batch label-studio import EXPORT.json ... --batch BATCH --part FOLDER"
    )


@label_studio_app.command("import")
def label_studio_import(
    exports: Annotated[
        list[Path], typer.Argument(help="Exports of the projects, in the format JSON.", exists=True, dir_okay=False)
    ],
    batch: Handed,
    part: Annotated[Path, typer.Option(help="Folder of the part to write, as in returns/part-001.")],
    number: Annotated[int, typer.Option(help="Number of the part.", min=1)] = 1,
) -> None:
    """Read Label Studio's exports as pass 1, judge them like any return, and add what is accepted to the store."""
    from flywheel.chat.visible import visible
    from flywheel.corrections.handoff.importing import handed_out
    from flywheel.corrections.label_studio.answers import read_exports, write_part

    handed = handed_out(batch)
    answers = read_exports(exports, handed)
    write_part(answers, handed, part, number=number)
    print(
        f"{len(answers.corrections)} corrections, {len(answers.unfixable)} unfixable, {answers.unanswered} tasks without an answer"
    )
    for one in answers.refused:
        print(
            f"refused: item {visible(one['item_id'])}, {visible(one['path'])}: got {visible(one['got'])}, expected {visible(one['expected'])}"
        )
    if answers.refused:
        print(f"details: {part / 'form_rejections.json'}")
    take_in(part, batch)
