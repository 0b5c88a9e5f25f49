"""`flywheel quarantine`, `erase`, `traces` and `schema`: what came in, what was refused, and who must be forgotten."""

import json
import sys
from typing import Annotated

import typer

from flywheel.cli import app
from flywheel.errors import FlywheelError
from flywheel.settings import Settings

Workflow = Annotated[str, typer.Option(help="Name of the workflow pack.")]


@app.command()
def quarantine(
    workflow: Workflow = "support_desk",
    week: Annotated[str | None, typer.Option(help="Only this week.")] = None,
    retry: Annotated[bool, typer.Option(help="Read the files again, after they or the pack were mended.")] = False,
    lines: Annotated[bool, typer.Option(help="Show the (redacted) records themselves.")] = False,
) -> None:
    """List refused records with file, place, reason and remedy; --retry reads them again."""
    from flywheel.chat.visible import visible
    from flywheel.lake import Lake

    settings = Settings()
    lake = Lake(settings.lake())
    refused = lake.read_weeks("quarantined_records", workflow=workflow)
    refused = refused if week is None else refused.filter(week=week)
    if not refused.height:
        print(f"nothing is quarantined for {workflow}" + (f" in week {week}" if week else ""))
        return
    for row in refused.sort("week", "source_file", "source_line").iter_rows(named=True):
        print(
            f"{row['week']}  {visible(row['source_file'])}:{row['source_line']} (byte {row['byte_offset']})  {row['reason_code']}: {visible(row['detail'])}"
        )
        print(f"    -> {row['remedy']}")
        if lines:
            print(f"    {visible(row['line'])[:400]}")
    print(f"{refused.height} records quarantined")
    if retry:
        _retry(settings, lake, workflow, sorted(set(refused["week"])), refused.height)


def _retry(settings: Settings, lake: object, workflow: str, weeks: list[str], before: int) -> None:
    from flywheel.lake import Lake
    from flywheel.operations.launch import instance, run_job
    from flywheel.operations.screen import Screen

    assert isinstance(lake, Lake)
    screen = Screen(settings.home / "run.log")
    with instance() as on:
        for week in weeks:
            run_job("collect", workflow=workflow, week=week, on=on, screen=screen)
    after = lake.read_weeks("quarantined_records", workflow=workflow).filter(week=weeks[0]).height if len(weeks) == 1 else (
        lake.read_weeks("quarantined_records", workflow=workflow).height
    )  # fmt: skip
    print(f"{before} records were quarantined, {after} still are")


@app.command()
def erase(
    principal: Annotated[str, typer.Option(help="The person's id as production logs it.")],
    reason: Annotated[str, typer.Option(help="Why, for the tombstone.")] = "request of the person",
    by: Annotated[
        str, typer.Option(help="Who erases, for the tombstone; the account of this machine by default.")
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove a person from every table, event, inbox file, report and run record, and prove it by searching the bytes."""
    from flywheel.operations.act_log import account
    from flywheel.operations.erase import erase as remove
    from flywheel.operations.launch import instance

    if not yes and not typer.confirm("This cannot be undone. Erase this person everywhere?"):
        raise typer.Exit(1)
    with instance() as on:
        done = remove(Settings(), principal, reason=reason, by=by.strip() or account(), on=on)
    for workflow, found in done.erased.items():
        for table, rows in found.rows.items():
            print(f"{workflow}: {rows} rows of {table}")
        for week, adapter in found.adapters:
            print(f"{workflow}: checkpoint {adapter} (week {week}) was trained on their rows: retire or retrain it")
    print(
        f"{done.events} correction events blanked, {done.inbox_lines} inbox lines, {done.case_lines} benchmark cases, "
        f"names in {done.cases_named} cases of others, {done.demonstrations} lines of demonstrations, {done.reports} report pages, "
        f"{done.runs} run records removed"
    )
    print(
        f"searched {done.searched} files for {done.needles} strings: "
        + (f"still in {len(done.left)}" if done.left else "none is left")
    )
    for file in done.left:
        print(f"  {file}")
    for recall in done.recalled:
        print(
            f"recall from the partner: batch {recall.batch} (manifest {', '.join(recall.manifests)}): items {', '.join(recall.item_ids)}"
        )
    for folder in done.backups:
        print(f"the backup {folder} was made before and still holds them: docs/operations.md says how to erase there")
    if done.left:
        raise FlywheelError("the person is not gone from everywhere", where=str(done.left[0]),
                            remedy="take them out of these files by hand (formats other than .jsonl are not rewritten), then run it again")  # fmt: skip


@app.command()
def traces(
    week: Annotated[str, typer.Option(help="Monday the week starts on.")], workflow: Workflow = "support_desk"
) -> None:
    """Write a week's traces to standard output as Trace/1, one JSON object a line."""
    from flywheel.lake import Lake
    from flywheel.traces.interchange import to_record

    lake = Lake(Settings().lake())
    tools = dict(lake.read_weeks("toolsets", workflow=workflow).select("tools_sha256", "tools").rows())
    for row in lake.read_partition("production_traces", workflow=workflow, week=week).iter_rows(named=True):
        sys.stdout.write(json.dumps(to_record(row, tools[row["tools_sha256"]])) + "\n")


@app.command()
def schema(name: Annotated[str, typer.Argument(help="trace or signal.")] = "trace") -> None:
    """Print the JSON Schema of Trace/1 or Signal/1."""
    from flywheel.traces.interchange import SCHEMAS

    if name not in SCHEMAS:
        raise FlywheelError(f"there is no schema {name!r}", remedy=f"name one of: {', '.join(SCHEMAS)}")
    print(json.dumps(SCHEMAS[name](), indent=2))
