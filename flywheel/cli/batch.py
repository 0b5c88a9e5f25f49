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

    store, batch = store_and_batch(workflow, week)
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
    slices: Annotated[
        int, typer.Option(help="Make so many signed folders OUT/slice-N, each with its share of the items.", min=1)
    ] = 1,
) -> None:
    """Hand a week's batch out as a signed folder, or one for each of several people, and freeze it."""
    from flywheel.chat.visible import visible
    from flywheel.corrections.handoff.export import export_slices
    from flywheel.lake import Lake
    from flywheel.workflows.loader import checked_name, find_pack

    settings = Settings()
    store, batch = store_and_batch(workflow, week)
    outs = [out] if slices == 1 else [out / f"slice-{number}" for number in range(1, slices + 1)]
    made = export_slices(
        store, Lake(settings.lake()), find_pack(settings.workflows(), workflow), batch, outs, keys=settings.home / "qa" / "keys",
        partner=checked_name(partner), partner_key=partner_key, due_at=_due(due),
    )  # fmt: skip
    for done in made:
        print(f"{done.items} items in {done.folder}; the batch is frozen now\nmanifest {done.manifest_sha256}")
    done = made[0]
    print(f"key fingerprint {done.fingerprint}\n  -> tell it to the partner by telephone, not beside the folder")
    for item_id, kinds in done.held_back:
        print(f"held back: item {visible(item_id)} still holds {', '.join(kinds)}; correct it in the house")
    for tool, reason in sorted(done.unusable.items()):
        print(f"no call of {visible(tool)} can pass, on either side: {visible(reason)}")
    for name, reason in sorted(done.left_to_us.items()):
        print(
            f"answers as {visible(name)} are checked when they come back, not by the partner's judge: {visible(reason)}"
        )


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


@batch_app.command("return")
def hand_back(
    batch: Annotated[Path, typer.Argument(help="The batch folder as it was handed out.", exists=True, file_okay=False)],
    work: Annotated[
        Path | None, typer.Option(help="Folder of what was done at the bench; BATCH-work beside it by default.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="Your own PEM key, where the house asked for signed returns.")
    ] = None,
    unreviewed: Annotated[bool, typer.Option(help="Send what nobody of yours reviewed, too.")] = False,
    handling: Annotated[str, typer.Option(help="How personal data was handled; for the last part's attestation.")] = "",
    deletion: Annotated[str, typer.Option(help="Day on which everything is deleted, as in 2026-03-01.")] = "",
) -> None:
    """The partner: write what was done with `flywheel workbench --batch` as the next part of the return, judged by the house's rules."""
    from flywheel.chat.visible import visible
    from flywheel.corrections.partner.handing_back import write_part
    from flywheel.corrections.partner.opened import open_batch

    opened = open_batch(batch, work=work, key=key)
    part = write_part(opened, unreviewed=unreviewed, handling=handling, deletion=deletion)
    if part is None:
        print("there is nothing new to hand back")
        return
    for one in part.left_out:
        print(f"left out: item {visible(one['item_id'])}: {one['rule_id']}: {visible(one['got'])}; {one['fix_hint']}")
    print(
        f"{part.corrections} corrections, {part.unfixable} that cannot be fixed, {part.decisions} decisions, {part.questions} questions"
    )
    if part.folder:
        print(f"{part.folder}{': nothing is missing now' if part.complete else ''}")


@batch_app.command("import")
def take_in(
    returned: Returned,
    batch: Handed,
    by: Annotated[
        str, typer.Option(help="Who takes it in, for the log of acts; the account of this machine by default.")
    ] = "",
) -> None:
    """Judge a return, add what is accepted to the store and state what is billable; a second time changes nothing. Exit codes as for verify."""
    from flywheel.chat.visible import visible
    from flywheel.corrections.handoff.importing import handed_out, import_return
    from flywheel.corrections.handoff.keys import signing_key
    from flywheel.corrections.handoff.letters import Correspondence, folder_of
    from flywheel.corrections.handoff.statement import keep, sha256_of_statement, statement_of, text_of
    from flywheel.corrections.handoff.verify.command import CODES, summary
    from flywheel.lake import Lake
    from flywheel.operations.act_log import ActLog

    settings, handed = Settings(), handed_out(batch)
    acts = ActLog(settings)
    acts.check()
    workflow, name = str(handed.manifest["workflow"]), str(handed.manifest["batch_id"])
    store, _ = store_and_batch(workflow, str(handed.manifest["week"]))
    key, folder = signing_key(settings.home / "qa" / "keys"), folder_of(settings.home / "qa", name)
    letters = Correspondence(folder, name, key)
    letters.deliver(batch)  # what was called back since is not taken in
    handed = handed_out(batch)
    done = import_return(store, Lake(settings.lake()), handed, returned)
    print(summary(done.verdict))
    _told(done)
    asked = letters.take(done.verdict.questions, str(handed.manifest["partner"]))
    if asked:
        print(f"{asked} new questions: flywheel batch questions {workflow} {handed.manifest['week']}")
    statement = keep(statement_of(handed, done, _rates(settings, workflow)), folder, returned, key)
    about = f"statement {statement['number']} of batch {name}"
    week, sha256 = str(handed.manifest["week"]), sha256_of_statement(statement)
    acts.record("statement", workflow=workflow, week=week, what=about, sha256=sha256, by=by, again=False)
    print(visible(text_of(statement)))
    print(f"signed, as {returned / 'statement.json'}")
    raise typer.Exit(CODES[done.verdict.report["verdict"]])


def _rates(settings: Settings, workflow: str) -> dict[str, float]:
    """The pack's rates; none where there is no pack to read: the answers are taken in all the same, and no amount is stated."""
    from flywheel.workflows.loader import find_pack

    try:
        return find_pack(settings.workflows(), workflow).settings.rates
    except FlywheelError as error:
        print(f"no amount is stated: {error.what}")
        return {}


def _told(done: Any) -> None:
    from flywheel.chat.visible import visible

    print(
        f"{len(done.submitted)} answers new in the store, {len(done.decided)} decided by the partner, {len(done.unchanged)} known already"
    )
    for item_id, why in sorted(done.not_taken.items()):
        print(f"not taken: item {visible(item_id)}: {visible(why)}")


def store_and_batch(workflow: str, week: str) -> tuple[Any, Any]:
    """The workflow's store, and its batch of a week; raises FlywheelError when none was opened."""
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
