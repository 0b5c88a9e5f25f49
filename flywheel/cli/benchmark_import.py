"""`flywheel benchmark import`: cases from public benchmarks and plain files."""

from pathlib import Path
from typing import Annotated, cast

import typer

from flywheel.cli.benchmark import Workflow, benchmark
from flywheel.errors import FlywheelError
from flywheel.settings import Settings


@benchmark.command("import")
def import_cases(
    file: Annotated[Path, typer.Argument(help="A file of one benchmark.")],
    kind: Annotated[str, typer.Option("--format", help="bfcl, tau, tau2 or jsonl.")],
    workflow: Workflow = "support_desk",
    answers: Annotated[Path | None, typer.Option(help="BFCL's possible answers; else found beside the file.")] = None,
    seed: Annotated[int, typer.Option(help="The world of environment.py that tau tasks play in.")] = 0,
) -> None:
    """Import cases; every record is imported or refused with its reason."""
    from flywheel.benchmark.importers.records import FORMATS, Format
    from flywheel.benchmark.importers.run import import_file
    from flywheel.workflows.loader import find_pack

    if kind not in FORMATS:
        raise FlywheelError(f"there is no format {kind!r}", remedy=f"use one of: {', '.join(FORMATS)}")
    pack = find_pack(Settings().workflows(), workflow)
    found = import_file(pack, file, cast(Format, kind), answers=answers, seed=seed)
    print(f"{found.read} read = {len(found.cases)} imported + {len(found.refused)} refused")
    for reason, count in found.reasons()[:20]:
        example = next(where for where, said in found.refused if said == reason)
        print(f"  {count:>5} refused ({example}): {reason[:200]}")
    if found.file is not None:
        print(
            f"written to {found.file}\n  flywheel benchmark lint --workflow {workflow}, then freeze: from then on they never change"
        )
