"""The command line: `flywheel`. One file per noun; this one holds the application and how errors are shown."""

import sys
from typing import Any

import typer
from typer.main import get_command

from flywheel.chat.visible import visible
from flywheel.cli.system_errors import refused
from flywheel.cli.terminal import guard
from flywheel.errors import FlywheelError

# What a partner's installation (extra `workbench`) does not have.
_OF_THE_LOOP = ("dagster", "deltalake", "polars", "pyarrow", "numpy", "scipy", "sqlalchemy", "fsspec", "matplotlib", "tokenizers", "xxhash")  # fmt: skip


class _Application(typer.Typer):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return guard(get_command(self))(*args, **kwargs)
        except FlywheelError as error:
            print(f"error: {visible(error)}", file=sys.stderr)
            sys.exit(2)
        except OSError as error:  # a reader that went away (`| head`) is none: click ends the command for it
            print(f"error: {visible(refused(error))}", file=sys.stderr)
            sys.exit(2)
        except ModuleNotFoundError as missing:
            if (missing.name or "").split(".")[0] not in _OF_THE_LOOP:
                raise
            print(
                f"error: {missing.name} is not installed: here is the workbench alone\n  -> python -m pip install 'flywheel-loop[loop]'",
                file=sys.stderr,
            )
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
    audit,
    batch,
    benchmark,
    benchmark_drafts,
    benchmark_import,
    bootstrap,
    checkpoint,
    correspondence,
    cost,
    cover,
    dataset,
    demonstration,
    evaluation,
    gate,
    lineage,
    maintenance,
    model,
    operations,
    pack,
    prequential,
    promotion,
    receipts,
    reference,
    report,
    run,
    serving,
    teacher,
    traces,
    training,
    value,
    workbench,
    workflows,
)
