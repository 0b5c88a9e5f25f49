"""`flywheel dataset ...`: card, export, release and withdrawal."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flywheel.cli import app
from flywheel.settings import Settings

if TYPE_CHECKING:
    from flywheel.datasets.refresh import Workshop

dataset = typer.Typer(help="What trains the weekly adapter.", no_args_is_help=True)
app.add_typer(dataset, name="dataset")

Workflow = Annotated[str, typer.Option(help="Name of the workflow pack.")]
Week = Annotated[str, typer.Option(help="Monday the week starts on.")]


@dataset.command()
def export(
    week: Week, workflow: Workflow = "support_desk",
    to: Annotated[Path, typer.Option(help="Folder for openai.jsonl, trl_sft.jsonl and trl_preference.jsonl.")] = Path("export"),
) -> None:  # fmt: skip
    """Write a week's dataset as OpenAI fine-tuning JSONL and TRL files."""
    from flywheel.datasets.export import export as write
    from flywheel.lake import Lake

    for name, rows in write(Lake(Settings().lake()), workflow, week, to).items():
        print(f"{to / name}: {rows} rows")


@dataset.command()
def release(
    week: Week, by: Annotated[str, typer.Option(help="Your name.")], workflow: Workflow = "support_desk"
) -> None:
    """Look at the strings that block a week's build, and release them by name."""
    from flywheel.chat.visible import visible
    from flywheel.datasets.build import build
    from flywheel.datasets.poisoning import release_rows

    shop = _workshop(workflow)
    found = build(shop, week).suspicions
    if not found:
        print(f"nothing in the targets of {week} is new and suddenly frequent")
        return
    for one in found:
        print(
            f"{one.kind} {visible(one.token)!r}: {len(one.row_ids)} of {one.new_rows} new rows: {', '.join(one.row_ids)}"
        )
    if not typer.confirm(f"{by}, are these right in all these rows?"):
        raise typer.Exit(1)
    shop.lake.append_new("dataset_releases", release_rows(found, week, by, datetime.now(UTC)), workflow=workflow)
    print(f"released by {by}; now: flywheel run --workflow {workflow} --week {week} --stage learn")


@dataset.command()
def withdraw(
    kind: Annotated[str, typer.Argument(help="principal_ref, batch_version, trace_id, source_id, annotator or source_file.")],
    value: Annotated[str, typer.Argument(help="Which one.")],
    by: Annotated[str, typer.Option(help="Your name.")], reason: Annotated[str, typer.Option(help="Why.")],
    workflow: Workflow = "support_desk",
    rebuild: Annotated[bool, typer.Option(help="Build the datasets that hold its rows again, without them.")] = True,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before building.")] = False,
) -> None:  # fmt: skip
    """Take a person, a batch or a poisoned source out of every build, and list the checkpoints that trained on it.

    The datasets of the weeks concerned are built again at once; checkpoints are not: whether to retrain or roll back is yours to say.
    """
    from flywheel.datasets.withdrawals import retrained_since, tainted, weeks_to_rebuild
    from flywheel.datasets.withdrawals import withdraw as record
    from flywheel.lake import Lake

    lake = Lake(Settings().lake())
    steps = record(lake, workflow, kind, value, by=by, reason=reason)
    print(f"{steps} candidate steps will not train any more")
    found, weeks = tainted(lake, workflow, kind, value), weeks_to_rebuild(lake, workflow, kind, value)
    for one in found:
        serves = "; IT SERVES NOW" if one.serving else ""
        print(
            f"  checkpoint {one.adapter_id} (week {one.week}, {one.verdict}) trained on {one.rows} rows of it{serves}"
        )
    for adapter, week in retrained_since(lake, workflow).items():
        print(
            f"  adapter {adapter} (last named in week {week}): its week has trained another one since, what it read is not known; "
            "take it as if it had trained on it"
        )
    if not weeks:
        print("no dataset holds a row of it")
    elif rebuild and (
        yes or typer.confirm(f"build the datasets of {len(weeks)} weeks again now ({', '.join(weeks)})?")
    ):
        _rebuild(workflow, weeks)
    else:
        print("the datasets still hold its rows; say it again to build them without")
    if found:
        print(f"retrain without it: flywheel run --workflow {workflow} --week {found[-1].week} --stage learn")


def _rebuild(workflow: str, weeks: list[str]) -> None:
    from flywheel.operations.launch import instance, run_job

    with instance() as on:
        for number, week in enumerate(weeks, 1):
            run_job("learn", workflow=workflow, week=week, on=on, stages=["sft_dataset", "preference_dataset"])
            print(f"  {number} of {len(weeks)}: the datasets of {week} are built again, without it", flush=True)


@dataset.command()
def replay(
    workflow: Workflow = "support_desk",
    temperature: Annotated[float, typer.Option(help="0 is greedy; above it answers are drawn with the seed.", min=0, max=2)] = 0.0,
    seed: Annotated[int, typer.Option(help="Of the draw; kept with the set.")] = 0,
    max_tokens: Annotated[int, typer.Option(help="Longest answer; one that is cut off trains nothing.", min=1)] = 256,
) -> None:  # fmt: skip
    """Have the base model answer a frozen set of general prompts once; a share of the answers holds its other skills in training.

    A set belongs to the base model and is shared by its workflows; where it is there already, nothing is done.
    """
    from flywheel.datasets.replay import prompts_of
    from flywheel.datasets.replay_sampling import Sampling, sample_replay
    from flywheel.workflows.base_model import find_base_model

    settings, shop = Settings(), _workshop(workflow)
    base = find_base_model(settings.models(), settings.base_model or shop.pack.settings.base_model)
    prompts, sampling = prompts_of(shop.pack), Sampling(temperature, seed, max_tokens)
    made = sample_replay(settings, base, shop.renderer, prompts, sampling)
    told = ", ".join(f"{count} {reason}" for reason, count in sorted(made.left_out.items())) or "none left out"
    rows, folder = made.found.manifest["rows"], made.found.folder
    print(f"{base.name} answered {rows} of {len(prompts.prompts)} prompts of {prompts.name} ({told}): {folder}")
    print(
        "it was sampled before; nothing was done"
        if made.unchanged
        else f"now: flywheel run --workflow {workflow} --week MONDAY --stage learn"
    )


def _workshop(workflow: str) -> "Workshop":
    """The workshop the asset would build in."""
    from flywheel.chat.render import Renderer
    from flywheel.datasets.refresh import Workshop
    from flywheel.datasets.replay import find_replay, prompts_of
    from flywheel.lake import Lake
    from flywheel.workflows.base_model import find_base_model
    from flywheel.workflows.loader import find_pack

    settings = Settings()
    pack = find_pack(settings.workflows(), workflow)
    base = find_base_model(settings.models(), settings.base_model or pack.settings.base_model)
    renderer = Renderer(base.tokenizer_file, pack.settings.model_family)
    replayed = find_replay(settings.replay(), base.sha256, renderer.template_sha256, prompts_of(pack))
    return Workshop(Lake(settings.lake()), pack, renderer, base.sha256, replay=replayed)
