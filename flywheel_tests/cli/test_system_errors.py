"""What the operating system refuses is said in words, with the file and a remedy; no command ends in a traceback for it."""

import errno
import os
import shutil
import sys

import pytest

from flywheel.cli import app
from flywheel.cli.system_errors import refused

HOSTILE = "\x1b[2Jname"


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "flywheel prune --dry-run"), (errno.EDQUOT, "make room"),
        (errno.EACCES, "a folder that may be written"), (errno.EPERM, "FLYWHEEL_HOME"), (errno.EROFS, "FLYWHEEL_HOME"),
        (errno.EISDIR, "name another path"), (errno.ENOTDIR, "name another path"),
        (errno.ENOENT, "name another path"), (errno.EEXIST, "name another path"),
        (errno.EMFILE, "mend that, then run the same command again"),
    ],
)  # fmt: skip
def test_each_number_has_the_remedy_that_fits_it(number: int, remedy: str):
    told = refused(OSError(number, os.strerror(number), "/home/it"))
    assert remedy in told.remedy and told.where == "/home/it"
    assert told.what == os.strerror(number)[0].lower() + os.strerror(number)[1:]


def test_an_error_without_a_file_has_no_brackets():
    told = str(refused(OSError(errno.ENOSPC, "No space left on device")))
    assert told.startswith("no space left on device\n  -> make room")


def test_an_error_that_is_text_alone_is_shown_as_it_is():
    assert str(refused(OSError("HTTP is down"))) == "HTTP is down\n  -> mend that, then run the same command again"
    assert refused(TimeoutError()).what == "TimeoutError"
    delta = refused(OSError("Generic LocalFileSystem error: /lake/x: No space left on device (os error 28)"))
    assert "/lake/x" in delta.what and delta.remedy.startswith("make room")


def test_of_a_folder_that_could_not_be_copied_the_first_file_is_named():
    each = [(f"from/{n}", f"to/{n}", f"[Errno 28] No space left on device: 'to/{n}'") for n in range(3)]
    told = refused(shutil.Error(each))
    assert (told.what, told.where) == (os.strerror(28).lower(), "to/0") and "make room" in told.remedy


def fails_with(error: OSError, monkeypatch: pytest.MonkeyPatch) -> int | str | None:
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr("flywheel.operations.audit_log.audit_log", fails)
    with pytest.raises(SystemExit) as ended:
        app(["audit"])
    return ended.value.code


def test_a_command_shows_it_and_spells_out_what_the_file_is_called(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert fails_with(OSError(errno.ENOSPC, "No space left on device", HOSTILE), monkeypatch) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: no space left on device [\\u001b[2Jname]\n  -> make room")


def test_a_reader_that_went_away_is_no_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(sys, "stdout", sys.stdout)  # click puts others in their place: taken back after the test
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    assert fails_with(BrokenPipeError(errno.EPIPE, "Broken pipe"), monkeypatch) == 1
    assert capsys.readouterr().err == ""
