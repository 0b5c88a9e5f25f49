"""A house with a pack and one week of old runs."""

from pathlib import Path

import pytest
import yaml

from flywheel.demo.week import lay_out_pack
from flywheel.lake import Lake
from flywheel.settings import Settings
from flywheel.workflows.loader import load_pack
from flywheel_tests.datasets.samples import called, said
from flywheel_tests.datasets.week_zero.shown import collected, old_run
from flywheel_tests.operations.bootstrap.house import DOOR


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A house with the door pack, which names a verifier, and one week of old runs."""
    monkeypatch.setenv("FLYWHEEL_HOME", str(tmp_path))
    (tmp_path / "dagster").mkdir()
    (tmp_path / "dagster" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    folder = tmp_path / "workflows" / "door"
    lay_out_pack(DOOR, folder)
    values = yaml.safe_load((folder / "workflow.yaml").read_text())
    (folder / "workflow.yaml").write_text(
        yaml.safe_dump({**values, "verifiers": ["reward"], "rates": {"expert_hour": 60}})
    )
    pack, found = load_pack(folder), Settings()
    runs = [
        old_run(
            pack,
            f"good-{door}",
            f"guest {n} would love the {door} one open",
            called("open_door", door=door),
            said("It is open."),
            reward=1.0,
        )
        for n, door in enumerate(("red", "green", "blue", "gold"))
    ]
    asked = old_run(
        pack,
        "asked",
        "could the gold one be shut for the night",
        called("close_door", door="gold"),
        said("It is shut."),
    )
    collected(Lake(found.lake()), pack, *runs, asked)
    return found
