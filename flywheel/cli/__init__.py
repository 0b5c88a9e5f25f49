"""The command line: `flywheel`. One file per noun; this one holds the application and how errors are shown."""

import sys
from typing import Any

import typer

from flywheel.errors import FlywheelError


class _Application(typer.Typer):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().__call__(*args, **kwargs)
        except FlywheelError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(2)
        except KeyboardInterrupt:
            print("stopped; what was finished is kept, the same command goes on from there", file=sys.stderr)
            sys.exit(130)


app = _Application(
    help="The weekly loop that turns production failures of a small agent model into a better one.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

from flywheel.cli import (  # noqa: E402, F401  (they register their commands)
    batch,
    benchmark,
    dataset,
    demonstration,
    lineage,
    operations,
    run,
    teacher,
    traces,
    training,
    workbench,
    workflows,
)
