"""A week trained on a machine elsewhere: the job folder, what comes back in it, and what is refused. Stand-ins train; one slow test does."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from flywheel.defs.resources import House
from flywheel.defs.training import checkpoint
from flywheel.errors import FlywheelError
from flywheel.lake import TABLES, Lake
from flywheel.operations import training_job
from flywheel.operations.act_log import account
from flywheel.operations.audit_log import audit_log
from flywheel.operations.training_job import export_job, import_job
from flywheel.partitions import partition_key
from flywheel.serving.adapters import open_adapter
from flywheel.settings import Settings
from flywheel.toolcalls.arguments import canonical_json
from flywheel.training import elsewhere
from flywheel.training.job import BASE_FOLDER, JOB, OUT, RETURN, ROWS, SPEC, START, SUMS, open_job, write_sums
from flywheel.training.job_export import NOT_ASKED, PINNED
from flywheel.training.source_files import training_sources
from flywheel.training.start import Start
from flywheel.workflows.base_model import find_base_model
from flywheel.workflows.loader import load_pack
from flywheel_tests.packs import door_simulation
from flywheel_tests.stand_ins.base_model import make_base_model
from flywheel_tests.stand_ins.training import train as stand_in
from flywheel_tests.stand_ins.training import write_adapter

ROOT = Path(__file__).parents[2]
WEEK, WORKFLOW = "2026-01-05", "door"


def row_of(table: str, **values: Any) -> dict[str, Any]:
    names = (name for name in TABLES[table].polars_schema() if name not in ("week", "workflow"))
    return {**dict.fromkeys(names), **values}


def build_house(home: Path) -> None:
    """The door pack, a base model, and a week whose datasets are ready: twelve rows and two pairs."""
    shutil.copytree(door_simulation.FOLDER, home / "workflows" / WORKFLOW, ignore=shutil.ignore_patterns("__pycache__"))
    make_base_model(home / "models", door_simulation.FOLDER)
    write_datasets(home, rows=12)


def write_datasets(home: Path, *, rows: int) -> None:
    pack, lake = load_pack(home / "workflows" / WORKFLOW), Lake(home / "lake")
    tools, sft, pairs = canonical_json(pack.tools), [], []
    for number in range(rows):
        history = [
            {"role": "system", "content": pack.system},
            {"role": "user", "content": f"open the red door {number}"},
        ]
        function = {"name": "open_door", "arguments": '{"door":"red"}'}
        right = {"role": "assistant", "content": None, "tool_calls": [{"id": "call_0", "type": "function", "function": function}]}  # fmt: skip
        own = {"row_id": f"r{number:02}", "from_week": WEEK, "tools": tools, "messages": canonical_json(history), "conversation_id": f"c{number}"}  # fmt: skip
        sft.append(row_of("sft_dataset", **own, source="correction", target=canonical_json(right), near_duplicate_group=f"g{number}"))  # fmt: skip
        if number < 2:
            wrong = canonical_json({"role": "assistant", "content": "ok"})
            pairs.append(row_of("preference_dataset", **own, chosen=canonical_json(right), rejected=wrong))
    corrected = [row_of("corrected_traces", correction_id=str(n), messages="[]", trainable_indices="[]", bucket="b") for n in range(5)]  # fmt: skip
    for table, content in (("sft_dataset", sft), ("preference_dataset", pairs), ("corrected_traces", corrected)):
        lake.replace_partition(table, content, workflow=WORKFLOW, week=WEEK)
    lake.replace_partition("benchmark", [], workflow=WORKFLOW)


def train_there(folder: Path, base: Path | None = None) -> Any:
    """What `python train.py` does on the other machine, with a stand-in for what trains."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(elsewhere, "train", lambda spec_file: stand_in(spec_file, 0))
        patch.setattr(elsewhere, "REFERENCE", "flywheel_tests.stand_ins.reference")
        patch.setattr(elsewhere, "machine", lambda: {"device": "a GPU", "torch": "2.13.0"})
        return elsewhere.run_job(folder, base)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A house and, beside it, an exported job that was trained."""
    folder = tmp_path_factory.mktemp("original")
    build_house(folder / "home")
    settings = Settings(home=folder / "home")
    export_job(settings, WORKFLOW, WEEK, folder / "job")
    train_there(folder / "job", find_base_model(settings.models(), "tiny-random").folder)
    return folder


class Place:
    """A copy of the house and the trained job, to be changed; `take` imports, the stage runs as the real job would run it."""

    def __init__(self, home: Path, job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home, self.job = home, job
        self.settings = Settings(home=self.home)
        self.lake, self.on, self.stages = Lake(self.settings.lake()), dg.DagsterInstance.ephemeral(), 0
        self.facts: Any = {}
        monkeypatch.setattr(training_job, "run_job", self._run)

    def _run(self, name: str, *, workflow: str, week: str, stages: list[str], **rest: Any) -> str:
        assert (name, stages) == ("learn", ["checkpoint"])
        self.facts = self.materialize(workflow, week).metadata
        self.stages += 1
        return "run"

    def materialize(self, workflow: str = WORKFLOW, week: str = WEEK) -> Any:
        context = dg.build_asset_context(partition_key=partition_key(week, workflow), instance=self.on)
        return checkpoint(context, House(home=str(self.home)), dg.PipesSubprocessClient())

    def take(self, **options: Any) -> Any:
        return import_job(self.settings, self.job, self.on, **options)

    def rows(self) -> Any:
        return self.lake.read_partition("checkpoint", workflow=WORKFLOW, week=WEEK)

    def refused(self, said: str) -> FlywheelError:
        """The import fails with a sentence and a remedy, and nothing of it is kept."""
        with pytest.raises(FlywheelError, match=said) as told:
            self.take()
        assert told.value.remedy and not self.settings.trained_elsewhere(WORKFLOW, WEEK).exists()
        assert not list(self.settings.checkpoints(WORKFLOW).glob("*")) and not self.stages
        return told.value


@pytest.fixture
def place(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    shutil.copytree(original, tmp_path, dirs_exist_ok=True)
    return Place(tmp_path / "home", tmp_path / "job", monkeypatch)


@pytest.fixture
def refusing(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """The job alone is a copy: what refuses leaves the house as it is."""
    shutil.copytree(original / "job", tmp_path / "job")
    return Place(original / "home", tmp_path / "job", monkeypatch)


def test_what_was_trained_elsewhere_lands_as_the_weeks_checkpoint_and_twice_is_once(place: Place):
    landed = place.take()
    (row,) = place.rows().iter_rows(named=True)
    assert row["adapter_id"] == landed.adapter_id and row["sft_rows"] == 12 and row["preference_rows"] == 2
    assert row["adapter_path"] == f"checkpoints/{WORKFLOW}/{landed.adapter_id}"
    base = find_base_model(place.settings.models(), "tiny-random")
    assert open_adapter(place.home / row["adapter_path"], base_model=base.folder.name).rank == 32
    told = json.loads(row["trained_elsewhere"])
    assert told["machine"] == {"device": "a GPU", "torch": "2.13.0"} and told["spec_sha256"] == landed.job.spec_sha256
    assert told["canary"]["effect_peft"] == pytest.approx(0.5) and told["canary"]["probes"] == 2
    lineage = place.lake.lineage("checkpoint", workflow=WORKFLOW, week=WEEK)
    inputs = json.loads(lineage.inputs) if lineage else {}
    assert {f"sft_dataset/{WEEK}", f"preference_dataset/{WEEK}", "benchmark/-"} <= set(inputs)
    assert place.facts["unchanged"] is False and place.facts["trained_elsewhere"].value == told
    assert place.take().adapter_id == landed.adapter_id and place.facts["unchanged"] is True and place.stages == 2


def test_what_left_and_what_came_back_is_in_the_audit_log(place: Place):
    sha256 = open_job(place.job)[1][:16]
    adapter = place.take(by="Ida").adapter_id
    place.take(by="Eve")
    out, back = audit_log(place.settings).acts
    assert (out.act, out.by, out.workflow) == ("job", account(), WORKFLOW)
    assert out.what.startswith(f"job {sha256} of week {WEEK}, ") and out.what.endswith(f"/{place.job.name}")
    assert (back.act, back.by, back.workflow) == ("checkpoint", "Ida", WORKFLOW), "a second time changes nothing"
    assert back.what == f"{adapter} for week {WEEK}, from job {sha256}, trained on a GPU" and back.at > out.at
    (place.home / "acts.jsonl").write_text("x\n")
    with pytest.raises(FlywheelError, match="the log of acts was changed"):
        export_job(place.settings, WORKFLOW, WEEK, place.home.parent / "another")
    assert not (place.home.parent / "another").exists(), "nothing leaves that cannot be recorded"


@pytest.mark.parametrize(
    "name", [SPEC, ROWS["sft_rows"], ROWS["preference_rows"], JOB, "code/flywheel/training/sft.py"]
)
def test_a_file_that_was_changed_is_named(refusing: Place, name: str):
    content = (refusing.job / name).read_text()
    (refusing.job / name).write_text(content[::-1].replace("1", "2", 1)[::-1])
    assert "export-job door 2026-01-05" in refusing.refused(f"1 of [0-9]+ files are not as they were exported, {name} first").remedy  # fmt: skip


def test_an_added_file_is_named_and_so_is_one_that_is_missing(refusing: Place):
    (refusing.job / "code" / "more.py").write_text("")
    (refusing.job / "requirements.txt").unlink()
    refusing.refused("2 of [0-9]+ files are not as they were exported, code/more.py first")


def edit(place: Place, name: str, **changes: Any) -> None:
    """Change a JSON file of the job and every hash that could betray it."""
    file = place.job / name
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    if name == SPEC:
        from flywheel.training.job import job_spec

        edit(place, JOB, spec_sha256=job_spec(place.job).sha256())
    write_sums(place.job)


def retell(place: Place, **changes: Any) -> None:
    """Make what came back agree with the folder as it is now."""
    file = place.job / OUT / RETURN
    told = {
        **json.loads(file.read_text()),
        "job_sha256": open_job(place.job)[1],
        "spec_sha256": open_job(place.job)[0].spec_sha256,
    }
    file.write_text(json.dumps(told | changes))


def test_a_forged_spec_with_all_its_hashes_is_not_what_the_week_would_train(refusing: Place):
    edit(refusing, SPEC, sft_learning_rate=0.5)
    refusing.refused("trained from another job, another spec than")
    retell(refusing)
    assert "export-job" in refusing.refused("not what the week would train now: it has other sft_learning_rate").remedy


def test_rows_that_changed_since_are_said_on_either_side(place: Place):
    write_datasets(place.home, rows=13)
    place.refused("would train now: it has other sft_presentations|rows were added")
    write_datasets(place.home, rows=12)
    first, *rest = (place.job / ROWS["sft_rows"]).read_text().splitlines()
    (place.job / ROWS["sft_rows"]).write_text("\n".join([first.replace('"target_ids":[', '"target_ids":[1,'), *rest]) + "\n")  # fmt: skip
    edit(place, SPEC)
    retell(place)
    place.refused("would train now: rows were added, taken away or changed")


def test_another_base_model_is_refused_here_and_there(refusing: Place, tmp_path: Path):
    other = "f" * 64
    edit(refusing, JOB, base_model_sha256=other)
    retell(refusing, base_model_sha256=other)
    refusing.refused("was trained on tiny-random-")
    shutil.rmtree(refusing.job / OUT)
    base = find_base_model(refusing.settings.models(), "tiny-random").folder
    with pytest.raises(FlywheelError, match="these are other weights") as told:
        train_there(refusing.job, base)
    assert other in told.value.remedy
    edit(refusing, JOB, base_model_sha256=find_base_model(refusing.settings.models(), "tiny-random").sha256)
    shutil.copytree(base, tmp_path / "base")
    (tmp_path / "base" / "tokenizer.json").write_text("{}")
    with pytest.raises(FlywheelError, match="its tokenizer.json are not those that the rows were made for"):
        train_there(refusing.job, tmp_path / "base")


def test_an_adapter_that_was_changed_swapped_or_does_nothing_is_refused(refusing: Place, tmp_path: Path):
    told = json.loads((refusing.job / OUT / RETURN).read_text())
    adapter = refusing.job / OUT / told["result"]["adapter_id"]
    shutil.copytree(adapter, tmp_path / "kept")
    weights = adapter / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert "again" in refusing.refused("was changed after it was exported").remedy
    shutil.rmtree(adapter)
    shutil.copytree(tmp_path / "kept", adapter.with_name("adapter-0000000000000000"))
    retell(refusing, result={**told["result"], "adapter_id": "adapter-0000000000000000"})
    refusing.refused("its content gives the name adapter-")
    (tmp_path / "kept").rename(adapter)
    nothing = dict.fromkeys(("base", adapter.name), told["log_probabilities"]["base"])
    retell(refusing, result=told["result"], log_probabilities=nothing)
    refusing.refused("changes nothing, in PEFT neither: 0.0000 nats")
    shutil.rmtree(refusing.job / OUT)
    assert "python train.py" in refusing.refused("nothing was trained from this job yet").remedy


def test_a_week_keeps_the_adapter_it_has_unless_somebody_says_otherwise(place: Place, monkeypatch: pytest.MonkeyPatch):
    place.lake.replace_partition(
        "checkpoint", [row_of("checkpoint", adapter_id="adapter-mine")], workflow=WORKFLOW, week=WEEK
    )
    assert "--replace" in place.refused("the checkpoint of 2026-01-05 is adapter-mine already").remedy
    ran: list[str] = []
    monkeypatch.setattr(training_job, "run_job", lambda name, **_: ran.append(name))
    landed = place.take(replace=True)
    assert ran == ["learn"] and (place.settings.checkpoints(WORKFLOW) / landed.adapter_id).is_dir()


def test_after_new_rows_what_was_imported_is_not_taken_for_this_weeks(place: Place, monkeypatch: pytest.MonkeyPatch):
    place.take()
    write_datasets(place.home, rows=14)
    called: list[str] = []
    monkeypatch.setattr("flywheel.defs.training._trained_here", lambda *_: called.append("here") or _stop())
    with pytest.raises(dg.Failure, match="stopped here"):
        place.materialize()
    assert called == ["here"]


def _stop() -> None:
    raise FlywheelError("stopped here", remedy="none")


def test_a_week_that_goes_on_from_the_incumbent_carries_its_weights(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # fmt: skip
    base = find_base_model(place.settings.models(), "tiny-random")
    begun = write_adapter(place.settings.checkpoints(WORKFLOW), base.folder.name, rank=32, alpha=64)
    for asked in ("flywheel.operations.training_job.week_start", "flywheel.defs.training.week_start"):
        monkeypatch.setattr(asked, lambda *_, **__: Start(begun, f"goes on from {begun}"))
    assert "it has other start_adapter_id" in str(pytest.raises(FlywheelError, place.take).value)
    place.job = tmp_path / "going_on"
    export_job(place.settings, WORKFLOW, WEEK, place.job)
    train_there(place.job, base.folder)
    landed = place.take()
    assert place.rows()["start_adapter_id"].to_list() == [begun] and landed.adapter_id != begun
    other = write_adapter(tmp_path / "others", base.folder.name, seed=5, rank=32, alpha=64)
    shutil.rmtree(place.job / START)
    shutil.copytree(tmp_path / "others" / other, place.job / START)
    write_sums(place.job)
    with pytest.raises(FlywheelError, match="start_adapter first"):
        open_job(place.job)


def test_the_same_job_is_written_once_and_a_banked_week_has_none(place: Place, tmp_path: Path):
    before = (place.job / SUMS).read_text()
    again = export_job(place.settings, WORKFLOW, WEEK, place.job, with_base=True)
    assert (place.job / SUMS).read_text() == before and (place.job / OUT / RETURN).is_file()
    assert again.sha256 == open_job(place.job)[1] and (place.job / BASE_FOLDER / "model.safetensors").is_file()
    assert train_there(place.job).result.adapter_id  # trained before: it is only read
    with pytest.raises(FlywheelError, match="the folder holds something else"):
        export_job(place.settings, WORKFLOW, WEEK, place.home)
    place.lake.replace_partition("corrected_traces", [], workflow=WORKFLOW, week=WEEK)
    with pytest.raises(FlywheelError, match="nothing to train in the week of 2026-01-05: banked: 0 accepted"):
        export_job(place.settings, WORKFLOW, WEEK, tmp_path / "other")


def test_the_folder_carries_all_code_that_trains_and_pip_is_told_the_rest(original: Path, tmp_path: Path):
    sources, cpu = training_sources(), tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["cpu"]  # fmt: skip
    assert {f"{name}=={version}" for name, version in PINNED.items()} <= set(cpu)
    asked = {line.partition("==")[0] for line in (original / "job" / "requirements.txt").read_text().splitlines()}
    assert asked == {name.replace("_", "-") for name in sources.packages - NOT_ASKED} and {"polars", "pydantic-settings", *PINNED} <= asked  # fmt: skip
    assert not {Path("defs/training.py"), Path("lake/store.py"), Path("demo/week.py")} & set(sources.files)
    # Alone, without our own source: it starts, and says that the base model is not there.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    shutil.copytree(original / "job", tmp_path / "job", ignore=shutil.ignore_patterns(OUT))
    command = [sys.executable, str(tmp_path / "job" / "train.py"), str(tmp_path)]
    said = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert said.returncode == 2 and "there is no base model in that folder" in said.stderr, said.stderr


@pytest.mark.slow
def test_a_real_training_in_the_folder_lands_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    home = tmp_path / "home"
    build_house(home)
    shutil.rmtree(home / "models")
    command = [
        sys.executable,
        "-m",
        "flywheel.training.base_model",
        "tiny-random",
        str(home / "models"),
        str(door_simulation.FOLDER),
    ]
    subprocess.run(command, check=True, capture_output=True)
    yaml = home / "workflows" / WORKFLOW / "workflow.yaml"
    yaml.write_text(yaml.read_text().replace("sft_presentations: 3200", "sft_presentations: 24"))
    place = Place(home, tmp_path / "job", monkeypatch)
    export_job(place.settings, WORKFLOW, WEEK, place.job, with_base=True)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    for _ in range(2):  # the second time there is nothing left to do
        said = subprocess.run([sys.executable, str(place.job / "train.py")], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)  # fmt: skip
        assert said.returncode == 0 and "trained adapter-" in said.stdout, said.stderr[-3000:]
    landed = place.take()
    assert place.rows()["adapter_id"][0] == landed.adapter_id and landed.effect() > 0.001
    assert (
        landed.returned.machine["torch"] == PINNED["torch"] + "+cpu"
        or landed.returned.machine["torch"] == PINNED["torch"]
    )
