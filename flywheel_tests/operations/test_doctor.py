"""The doctor asks Ray where Ray is to work, and nobody else's Ray; for the packages that some pack needs here; and names a damaged model."""

import json
import os
import shutil
from pathlib import Path

import pytest

from flywheel.chat import Renderer
from flywheel.operations import doctor
from flywheel.settings import Settings
from flywheel_tests.packs import door_simulation
from flywheel_tests.stand_ins.base_model import make_base_model


def asked(settings: Settings) -> doctor.Check:
    (check,) = [check for check in doctor.doctor(settings) if check.name == "ray"]
    return check


def test_nothing_is_said_of_ray_where_it_does_not_work(tmp_path: Path):
    assert not [check for check in doctor.doctor(Settings(home=tmp_path)) if check.name == "ray"]


def test_an_open_ray_elsewhere_is_refused_before_it_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("RAY_AUTH_MODE", "RAY_USE_TLS"):
        monkeypatch.delenv(name, raising=False)
    check = asked(Settings(home=tmp_path, executor="ray", ray_address="10.0.0.7:6379"))
    assert not check.ok and "10.0.0.7" in check.found and "RAY_AUTH_MODE" in check.remedy


def test_workers_that_do_not_see_the_folder_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor, "map_shards", lambda see, names, *_, what: [True, *(False for _ in names[1:])])
    check = asked(Settings(home=tmp_path, executor="ray"))
    assert not check.ok and "7 of 8 tasks" in check.found and "mount it" in check.remedy


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("tokenizer.json", "{}", "the tokenizer cannot be read: Model missing"),
        ("tokenizer.json", '{"model": {"type": "BPE"}}', "the tokenizer cannot be read: Missing vocab/merges"),
        ("tokenizer.json", None, "the tokenizer cannot be read: No such file"),
        ("generation_config.json", "{", "generation_config.json of a base model cannot be read"),
        ("generation_config.json", None, "would not stop"),
        ("manifest.json", "[]", "manifest.json of a base model cannot be read: it is no JSON object"),
        ("manifest.json", "{}", "it names no sha256 and source"),
    ],
)
def test_a_damaged_base_model_is_a_finding_with_a_remedy(
    whole: Path, tmp_path: Path, name: str, content: str | None, said: str
):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    (file,) = tmp_path.glob(f"models/*/{name}")
    file.write_text(content) if content is not None else file.unlink()
    check = base_check(Settings(home=tmp_path))
    assert not check.ok and said in check.found and str(file.parent) in check.found and check.remedy


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the door pack, and a base model that fits it."""
    home = tmp_path_factory.mktemp("whole")
    shutil.copytree(door_simulation.FOLDER, home / "workflows" / "door", ignore=shutil.ignore_patterns("__pycache__"))
    base = make_base_model(home / "models", door_simulation.FOLDER)
    ends = [Renderer(base.tokenizer_file).encode("<|im_end|>")[0]]
    (base.folder / "generation_config.json").write_text(json.dumps({"eos_token_id": ends}))
    assert base_check(Settings(home=home)).ok
    return home


def base_check(settings: Settings) -> doctor.Check:
    (check,) = [check for check in doctor.doctor(settings, "door") if check.name == "base model of door"]
    return check


@pytest.mark.parametrize(
    ("said", "needed"),
    [
        ("", ["torch", "transformers", "trl", "peft", "vllm"]),
        ("trainer: elsewhere", ["torch", "transformers", "peft", "vllm"]),
        ("serving: elsewhere", ["torch", "transformers", "trl", "peft"]),
        ("trainer: elsewhere\nserving: attach\nattach: {url: 'http://127.0.0.1:8000/v1'}", []),
    ],
)
def test_packages_are_asked_for_where_a_pack_trains_or_serves(tmp_path: Path, said: str, needed: list[str]):
    shutil.copytree(door_simulation.FOLDER, tmp_path / "workflows" / "door")
    with (tmp_path / "workflows" / "door" / "workflow.yaml").open("a") as opened:
        opened.write(f"\n{said}\n")
    assert doctor.needed_packages(Settings(home=tmp_path), ["door"]) == needed


@pytest.mark.slow
def test_a_real_ray_answers_and_sees_the_folder(ray: None, tmp_path: Path):
    check = asked(Settings(home=tmp_path, executor="ray"))
    assert check.ok and str(tmp_path) in check.found
    assert not os.listdir(tmp_path / "lake" / "_staging")
