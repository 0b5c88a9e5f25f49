"""One bundle for two workflows on one base: both adapters, one command; what cannot share is refused."""

import dataclasses
import json
from pathlib import Path

import pytest

from flywheel.errors import FlywheelError
from flywheel.promotion.bundle import ARGUMENTS, check_bundle
from flywheel.promotion.releases import Releases
from flywheel.promotion.shared_bundle import Member, make_shared_bundle
from flywheel_tests.promotion.house import make_adapter, make_house


@pytest.fixture
def acts(tmp_path: Path) -> Releases:
    return make_house(tmp_path / "home")


def members(acts: Releases) -> tuple[Member, Member]:
    """The door's workflow and one like it, each with an adapter of its own."""
    window = dataclasses.replace(acts.pack, name="window")
    door = Member(acts.pack, acts.base, make_adapter(acts.settings, 1), "# Door\n")
    return door, Member(window, acts.base, make_adapter(acts.settings, 2, workflow="window"))


def test_one_command_serves_both_and_the_readme_says_whom_to_ask_for(acts: Releases, tmp_path: Path):
    door, window = members(acts)
    made = make_shared_bundle(acts.settings, [window, door], tmp_path / "bundle")
    arguments = (made.folder / ARGUMENTS).read_text().split()
    at = arguments.index("--lora-modules")
    assert set(arguments[at + 1 :]) == {f"{one.adapter_id}={one.adapter_id}" for one in (door, window)}
    assert arguments[arguments.index("--max-loras") + 1] == "2"
    assert all((made.folder / one.adapter_id / "adapter_model.safetensors").is_file() for one in (door, window))
    readme = (made.folder / "README.md").read_text()
    assert f"| door | `{door.adapter_id}` |" in readme and f"| window | `{window.adapter_id}` |" in readme
    described = json.loads((made.folder / "bundle.json").read_text())
    assert [one["workflow"] for one in described["workflows"]] == ["door", "window"]
    assert (made.folder / "MODEL_CARD-door.md").is_file() and not (made.folder / "MODEL_CARD-window.md").exists()
    texts = [file.read_text() for file in made.folder.rglob("*") if file.suffix in (".txt", ".md", ".json")]
    assert not any(str(tmp_path) in text for text in texts)
    again = make_shared_bundle(acts.settings, [door, window], tmp_path / "bundle")
    assert again.sha256 == made.sha256 == check_bundle(made.folder), "twice is once, in any order"


def test_a_workflow_that_still_serves_the_base_asks_for_base(acts: Releases, tmp_path: Path):
    door, window = members(acts)
    made = make_shared_bundle(acts.settings, [door, window._replace(adapter_id="base")], tmp_path / "bundle")
    assert "| window | `base` |" in (made.folder / "README.md").read_text()
    assert "--max-loras 1" in " ".join((made.folder / ARGUMENTS).read_text().split())


def test_other_base_models_and_families_do_not_share(acts: Releases, tmp_path: Path):
    door, window = members(acts)
    other = window._replace(base=dataclasses.replace(acts.base, sha256="1" * 64))
    with pytest.raises(FlywheelError, match="door and window stand on other base models"):
        make_shared_bundle(acts.settings, [door, other], tmp_path / "bundle")
    settings = window.pack.settings.model_copy(update={"model_family": "phi4_mini"})
    mixed = window._replace(pack=dataclasses.replace(window.pack, settings=settings))
    with pytest.raises(FlywheelError, match="cannot share a server: their model family differs"):
        make_shared_bundle(acts.settings, [door, mixed], tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()
