"""A week of several workflows: who shares the server, in which order the stages run, and that one which fails stops alone."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from flywheel.chat.families import find_family
from flywheel.cli.run import _run_all
from flywheel.errors import FlywheelError
from flywheel.jobs import JOBS
from flywheel.lake import TABLES, Lake
from flywheel.operations import several as module
from flywheel.operations.several import ASKING, Several, learn_in_parts, refuse_apart
from flywheel.serving.shared_server import shared_server
from flywheel.workflows.base_model import write_manifest
from flywheel.workflows.loader import find_pack
from flywheel.workflows.pack import Pack
from flywheel_tests.conftest import HOME
from flywheel_tests.promotion.house import blank, make_adapter, make_house

WEEK = "2026-01-12"


class Weeks:
    """A house of several workflows in which nothing is run: what would be, and which server would be offered, is noted."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.settings = make_house(home).settings
        self.lake = Lake(self.settings.lake())
        self.settings.workflows().unlink()
        self.ran: list[tuple[str, str, Any]] = []
        self.said: list[str] = []
        self.fails: dict[tuple[str, str], FlywheelError] = {}
        monkeypatch.setattr(module, "run_job", self._run)

    def add(self, name: str, seed: int = 0, *, also: str = "", change: tuple[str, str] = ("", "")) -> str | None:
        """A workflow, with this week's checkpoint where it has a seed; the adapter's id."""
        folder = self.settings.workflows() / name
        shutil.copytree(HOME / "workflows" / "door", folder)
        text = (folder / "workflow.yaml").read_text()
        (folder / "workflow.yaml").write_text(f"{text.replace(*change) if change[0] else text}\n{also}\n")
        if not seed:
            return None
        adapter = make_adapter(self.settings, seed, workflow=name)
        self.lake.replace_partition("checkpoint", [blank("checkpoint", adapter_id=adapter)], workflow=name, week=WEEK)
        return adapter

    def packs(self, *names: str) -> dict[str, Pack]:
        return {name: find_pack(self.settings.workflows(), name) for name in names}

    def several(self, *names: str) -> Several:
        screen: Any = self
        on: Any = None
        return Several(self.settings, self.packs(*names), WEEK, on, screen)

    def say(self, text: str) -> None:
        self.said.append(text)

    def _run(self, job: str, *, workflow: str, week: str | None, on: Any, screen: Any, stages: Any) -> None:
        assert week == WEEK
        for stage in stages or [job]:
            if error := self.fails.get((workflow, stage)):
                raise error
            offered = shared_server()
            self.ran.append((stage, workflow, sorted(offered.spec.adapters) if offered else None))


@pytest.fixture
def weeks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Weeks:
    return Weeks(tmp_path, monkeypatch)


def serves_before(lake: Lake, workflow: str, adapter: str) -> None:
    names = [name for name in TABLES["promotion_log"].polars_schema() if name not in ("workflow", "decided_at")]
    row = {**dict.fromkeys(names, "x"), "week": "2026-01-05", "served_adapter_id": adapter, "decided_at": None}
    lake.append_new("promotion_log", [row], workflow=workflow)


def test_the_parts_of_learn_are_all_of_it_in_its_order():
    parts = learn_in_parts()
    assert [stage for part in parts for stage in part] == list(JOBS["learn"])
    assert [part for part in parts if set(part) & set(ASKING)] == [(stage,) for stage in ASKING]


def test_all_are_trained_before_one_server_of_all_adapters_evaluates_each(weeks: Weeks):
    candidate, other = weeks.add("door", 1), weeks.add("window", 2)
    incumbent = make_adapter(weeks.settings, 3, workflow="window")
    serves_before(weeks.lake, "window", incumbent)
    several = weeks.several("door", "window")
    several.learn(["door", "window"])
    every = sorted(str(one) for one in (candidate, other, incumbent))
    asked = [(workflow, served) for stage, workflow, served in weeks.ran if stage == "eval_results"]
    assert asked == [("door", every), ("window", every)]
    assert [served for stage, _, served in weeks.ran if stage != "eval_results"] == [None] * 14
    order = [stage for stage, _, _ in weeks.ran]
    assert max(n for n, stage in enumerate(order) if stage == "checkpoint") < order.index("eval_results")
    assert order.index("promotion") > max(n for n, stage in enumerate(order) if stage == "eval_results")
    assert any("eval_results: door, window needed no server" in line for line in weeks.said), "nobody asked it here"
    assert shared_server() is None
    several.finish()


def test_where_nothing_is_shared_learn_is_one_job_as_ever(weeks: Weeks):
    weeks.add("door", 1)
    weeks.add("theirs", 2, also="serving: attach\nattach: {url: http://127.0.0.1:1/v1}")
    weeks.add("nowhere", 3, also="serving: elsewhere")
    names = ("door", "theirs", "nowhere")
    weeks.several(*names).learn(names)
    assert weeks.ran == [("learn", name, None) for name in names]


def test_one_that_has_nothing_to_ask_leaves_the_other_its_own_server(weeks: Weeks):
    weeks.add("door", 1)
    weeks.add("banked")
    weeks.several("door", "banked").ask("eval_results", ["door", "banked"])
    assert weeks.ran == [("eval_results", "door", None), ("eval_results", "banked", None)]


def test_one_that_fails_stops_alone_and_is_named_at_the_end(weeks: Weeks):
    for seed, name in enumerate(("door", "window", "gate"), 1):
        weeks.add(name, seed)
    weeks.fails["door", "checkpoint"] = FlywheelError("the loss diverged", where="w", remedy="a lower rate")
    several = weeks.several("door", "window", "gate")
    several.learn(["door", "window", "gate"])
    asked = [(workflow, len(served)) for stage, workflow, served in weeks.ran if stage == "eval_results"]
    assert asked == [("window", 2), ("gate", 2)]
    assert not [stage for stage, workflow, _ in weeks.ran if workflow == "door" and stage in ("promotion", *ASKING[1:])]
    with pytest.raises(FlywheelError, match="1 of 3 workflows stopped: door: the loss diverged") as caught:
        several.finish()
    assert caught.value.remedy == "door: a lower rate"


def test_a_single_workflows_error_is_its_own(weeks: Weeks):
    weeks.add("door", 1)
    weeks.fails["door", "learn"] = error = FlywheelError("the loss diverged", remedy="a lower rate")
    several = weeks.several("door")
    several.learn(["door"])
    with pytest.raises(FlywheelError) as caught:
        several.finish()
    assert caught.value is error and not weeks.said


def test_an_endpoint_that_serves_until_a_first_release_is_not_on_the_shared_server(weeks: Weeks):
    first = "first_incumbent: {endpoint: {url: http://127.0.0.1:1/v1, model: large-1}}"
    candidate, other = weeks.add("door", 1), weeks.add("window", 2, also=first)
    endpoint = weeks.packs("window")["window"].first_incumbent
    assert endpoint and "large-1" in endpoint
    every = sorted(str(one) for one in (candidate, other))
    weeks.several("door", "window").ask("eval_results", ["door", "window"])
    serves_before(weeks.lake, "window", endpoint)  # as a decision without a release notes it
    weeks.several("door", "window").ask("eval_results", ["door", "window"])
    assert [served for _, _, served in weeks.ran] == [every] * 4


def test_an_incumbent_that_is_gone_or_on_another_base_is_not_on_the_shared_server(weeks: Weeks):
    candidate, other, third = weeks.add("door", 1), weeks.add("window", 2), weeks.add("gate", 3)
    serves_before(weeks.lake, "window", "adapter-that-is-gone")
    folder = weeks.settings.models() / "older-111111111111"
    folder.mkdir()
    write_manifest(folder, sha256="1" * 64, source="a test")
    incumbent = make_adapter(weeks.settings, 4, base=folder.name, workflow="gate")
    template = find_family("chatml_hermes").template_sha256
    trained = blank("checkpoint", adapter_id=incumbent, base_model_sha256="1" * 64, chat_template_sha256=template)
    weeks.lake.replace_partition("checkpoint", [trained], workflow="gate", week="2026-01-05")
    serves_before(weeks.lake, "gate", incumbent)
    weeks.several("door", "window", "gate").ask("eval_results", ["door", "window", "gate"])
    every = sorted(str(one) for one in (candidate, other, third))
    assert [served for _, _, served in weeks.ran] == [every] * 3


@pytest.mark.parametrize(
    ("change", "what"),
    [(("base_model: tiny-random", "base_model: tiny-mistral"), "base model"),
     (("release: automatic", "release: automatic\nmodel_family: phi4_mini"), "model family")],
)  # fmt: skip
def test_other_bases_and_families_are_refused_before_anything_runs(weeks: Weeks, change: tuple[str, str], what: str):
    weeks.add("door", 1)
    weeks.add("window", change=change)
    with pytest.raises(FlywheelError, match=f"door and window cannot share a server: their {what} differs") as caught:
        refuse_apart(weeks.settings, weeks.packs("door", "window"))
    assert caught.value.remedy == "evaluate them apart: one flywheel run each"
    refuse_apart(weeks.settings, weeks.packs("door"))
    nothing: Any = None
    for stage in (None, "learn", "eval_results"):
        with pytest.raises(FlywheelError, match="cannot share a server"):
            _run_all(weeks.settings, weeks.several("door", "window"), WEEK, stage, nothing, nothing)
    assert not weeks.ran


def test_one_that_asks_a_server_elsewhere_may_stand_on_another_base(weeks: Weeks):
    weeks.add("door")
    weeks.add("window", also="serving: elsewhere", change=("base_model: tiny-random", "base_model: tiny-mistral"))
    refuse_apart(weeks.settings, weeks.packs("door", "window"))
