"""Retries that retry only what can succeed, and failures that say what to do.

A stage fails in one of two ways. What its inputs, its settings or its code cause comes back every time, so it is not tried again. What
came from outside, a killed child, a server that did not answer, a lost race for a commit, may pass, so the heavy stages try again with
growing pauses. Dagster's run retries are another mechanism and ignore `allow_retries`; dagster.yaml leaves failed stages to this one.
"""

import errno
import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import dagster as dg
import httpx
import polars as pl
from deltalake.exceptions import CommitFailedError, DeltaError

from flywheel.errors import FlywheelError, Interrupted
from flywheel.lake.trouble import DamagedTable
from flywheel.settings import Settings

_SETTINGS = Settings()
RETRY = dg.RetryPolicy(
    max_retries=_SETTINGS.retries, delay=_SETTINGS.retry_seconds, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS
)  # fmt: skip
# Of what the operating system says, these do not pass by waiting: no space, no such file, not allowed, read-only, too large.
_LASTING = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.ENOENT,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.EFBIG,
    errno.ENOTDIR,
    errno.EISDIR,
}

Compute = TypeVar("Compute", bound=Callable[..., Any])


def may_pass(error: BaseException) -> bool:
    """Whether the same work may succeed when it is tried again, with nothing mended in between."""
    if isinstance(error, FlywheelError):
        return isinstance(error, Interrupted)
    if isinstance(error, OSError):
        return error.errno not in _LASTING and not isinstance(error, FileExistsError)
    return isinstance(error, (httpx.TransportError, CommitFailedError))


def is_damage(error: BaseException) -> bool:
    """Whether a table of the lake cannot be read: not the week's fault, and every later week meets it too."""
    broken = isinstance(error, (DeltaError, pl.exceptions.ComputeError)) and not isinstance(error, CommitFailedError)
    return broken or isinstance(error, DamagedTable)


def says_why(compute: Compute) -> Compute:
    """A stage whose failure carries cause, place and remedy, and may be retried only when `may_pass` says so."""

    if inspect.isgeneratorfunction(compute):

        @functools.wraps(compute)
        def stages(*arguments: Any, **named: Any) -> Any:
            with _said():
                yield from compute(*arguments, **named)

        return stages  # pyright: ignore[reportReturnType]

    @functools.wraps(compute)
    def stage(*arguments: Any, **named: Any) -> Any:
        with _said():
            return compute(*arguments, **named)

    return stage  # pyright: ignore[reportReturnType]


@contextmanager
def _said() -> Iterator[None]:
    try:
        yield
    except dg.Failure:
        raise
    except Exception as error:
        facts: dict[str, Any] = {
            "lake_is_damaged": is_damage(error), "cause": str(getattr(error, "what", error))[:2_000], "error": type(error).__name__,
        }  # fmt: skip
        if isinstance(error, FlywheelError):
            facts |= {"where": error.where or "-", "remedy": error.remedy}
        said = str(error) or type(error).__name__
        raise dg.Failure(description=said[:4_000], metadata=facts, allow_retries=may_pass(error)) from error
