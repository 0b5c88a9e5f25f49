"""`flywheel promote` and `rollback` as a person types them."""

import shutil
from pathlib import Path

import pytest

from flywheel.cli import app
from flywheel.promotion.pointer import serving
from flywheel.promotion.pointer_file import read_pointer
from flywheel.promotion.releases import Releases
from flywheel_tests.promotion.house import WEEKS, decide, make_adapter, make_house


@pytest.fixture
def acts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Releases:
    """A house in which a week waits for its release; its Dagster instance too."""
    monkeypatch.setenv("FLYWHEEL_HOME", str(tmp_path))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    (tmp_path / "dagster").mkdir()
    (tmp_path / "dagster" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    made = make_house(tmp_path)
    decide(made, WEEKS[0], make_adapter(made.settings, 1))
    return made


def typed(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    with pytest.raises(SystemExit) as ended:
        app(list(words))
    said = capsys.readouterr()
    assert ended.value.code == code, said
    return " ".join((said.out + said.err).split())


def test_release_and_rollback_in_two_commands(acts: Releases, capsys: pytest.CaptureFixture[str]):
    promote = ("promote", "--workflow", "door", "--week", WEEKS[0])
    assert "nobody says who" in typed(capsys, *promote, code=2)
    assert "say --week WEEK" in typed(capsys, "promote", "--workflow", "door", "--by", "Dana", code=2)
    assert "named by its Monday" in typed(capsys, "promote", "--workflow", "door", "--week", "2026-01-06", code=2)
    assert "before: base approval by Dana" in typed(capsys, *promote, "--by", "Dana")
    served = serving(acts.log())
    assert served != "base" and read_pointer(acts.settings.pointer("door")).adapter_id == served
    assert f"serves {served} already" in typed(capsys, *promote, "--by", "Dana")
    back = typed(capsys, "rollback", "--workflow", "door", "--by", "Dana", "--reason", "refunds fail")
    assert "door: serves base" in back and "rollback by Dana: refunds fail" in back
    assert "nothing to roll back" in typed(
        capsys, "rollback", "--workflow", "door", "--by", "Dana", "--reason", "r", code=2
    )
    over = typed(capsys, *promote, "--override", "--by", "Eve", "--reason", "it was the shop's fault")
    assert f"door: serves {served}" in over and "override by Eve" in over
    assert _told_to_dagster() == 3


def test_the_same_command_tells_a_hook_that_was_not_told_and_does_nothing_else(
    acts: Releases, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    packs = (tmp_path / "workflows").resolve()
    (tmp_path / "workflows").unlink()
    shutil.copytree(packs, tmp_path / "workflows")
    with (tmp_path / "workflows" / "door" / "workflow.yaml").open("a") as file:
        file.write(f"on_rollback: {{command: [test, -f, {tmp_path / 'ready'}]}}\n")
    typed(capsys, "promote", "--workflow", "door", "--week", WEEKS[0], "--by", "Dana")
    back = ("rollback", "--workflow", "door", "--by", "Dana", "--reason", "refunds fail")
    said = typed(capsys, *back, code=1)
    assert "serves base from" in said and "on_rollback: test was not told" in said
    (tmp_path / "ready").touch()
    said = typed(capsys, *back)
    assert "serves base already" in said and "on_rollback: test was told (attempt 2" in said and acts.log().height == 3
    assert "nothing to roll back" in typed(capsys, *back, code=2)


def _told_to_dagster() -> int:
    import dagster as dg

    from flywheel.operations.launch import instance

    with instance() as on:
        records = on.fetch_materializations(dg.AssetKey("served_model"), limit=10).records
    partitions = {record.partition_key for record in records}
    assert partitions == {f"{WEEKS[0]}|door"}
    return len(records)
