"""The doctor asks Ray where Ray is to work, and nobody else's Ray; and for the packages that some pack needs here."""

import os
import shutil
from pathlib import Path

import pytest

from flywheel.operations import doctor
from flywheel.settings import Settings
from flywheel_tests.packs import door_simulation


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
