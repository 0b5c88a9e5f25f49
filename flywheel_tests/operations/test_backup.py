"""Backup and restore: equal content after, a cut that writers do not blur, and no half or damaged backup taken for a whole one."""

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from flywheel.corrections.states import Event
from flywheel.corrections.stores import open_store
from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel.operations import backup as backup_module
from flywheel.operations.backup import back_up
from flywheel.operations.backup_manifest import MANIFEST, read_manifest
from flywheel.operations.erase import erase
from flywheel.operations.launch import instance
from flywheel.operations.restore import restore
from flywheel.privacy.vault import Original, Vault
from flywheel.promotion.pointer_file import read_pointer, write_pointer
from flywheel.promotion.releases import Releases
from flywheel.settings import Settings
from flywheel.workflows.base_model import find_base_model
from flywheel.workflows.loader import load_pack
from flywheel_tests.conftest import HOME
from flywheel_tests.promotion.house import WEEKS, blank, decide, make_adapter, make_house

PERSON = "person-to-forget-1"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A house with two decided weeks, of which one was promoted, traces, corrections, an inbox, a vault and an instance of Dagster."""
    folder = tmp_path_factory.mktemp("template")
    with pytest.MonkeyPatch.context() as monkeypatch:
        dagster_home(folder / "ops", monkeypatch)
        fill(folder / "house")
    with closing(sqlite3.connect(runs_of(folder / "ops"))) as runs:
        runs.executescript("PRAGMA journal_mode=WAL; CREATE TABLE runs (id TEXT); INSERT INTO runs VALUES ('r1')")
    return folder


def runs_of(folder: Path) -> Path:
    """A database as Dagster keeps it."""
    file = folder / ".dagster" / "history" / "runs.db"
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


@pytest.fixture
def acts(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Releases:
    """The same, a copy of one's own."""
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "ops"))
    monkeypatch.chdir(tmp_path / "ops")
    settings = Settings(home=tmp_path / "house")
    base = find_base_model(settings.models(), "tiny-random")
    made = Releases(Lake(settings.lake()), settings, load_pack(settings.workflows() / "door"), base)
    write_pointer(settings, made.pack, base, made.log())
    return made


def fill(folder: Path) -> None:
    made = make_house(folder)
    (folder / "workflows").unlink()
    shutil.copytree(HOME / "workflows", folder / "workflows")
    settings = made.settings
    traces(made.lake, settings, WEEKS[0], 3)
    first, second = make_adapter(settings, 1), make_adapter(settings, 2)
    made.lake.replace_partition(
        "sft_dataset", [blank("sft_dataset", row_id="as trained on")], workflow="door", week=WEEKS[0]
    )
    decide(made, WEEKS[0], first)
    trained = [blank("checkpoint", adapter_id=first)]
    inputs = {f"sft_dataset/{WEEKS[0]}": made.lake.version("sft_dataset") or 0}
    made.lake.replace_partition("checkpoint", trained, workflow="door", week=WEEKS[0], inputs=inputs)
    made.approve(WEEKS[0], by="Dana")
    decide(made, WEEKS[1], second, verdict="REJECT")
    made.lake.replace_partition(
        "sft_dataset", [blank("sft_dataset", row_id="built again")], workflow="door", week=WEEKS[0]
    )
    store = open_store(settings, "door")
    batch = store.open_batch(week=WEEKS[0], workflow="door", version="v1", item_ids=["i", "j"], qa_mode="three")
    store.append(batch, Event("i", "claim", "ann"))
    settings.inbox("door").mkdir(parents=True)
    (settings.inbox("door") / "log.jsonl").write_text('{"id": 1}\n')


def dagster_home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir()
    (folder / "dagster.yaml").write_text("storage: {sqlite: {base_dir: .dagster}}\ntelemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(folder))
    monkeypatch.chdir(folder)


def traces(lake: Lake, settings: Settings, week: str, count: int) -> None:
    vault = Vault(settings.vault())
    reference = vault.principal_ref(PERSON)
    vault.keep([Original(reference, "email", "surrogate@example.invalid", "real@example.org")])
    rows = [blank("production_traces", trace_id=f"t{number}", conversation_id=f"conversation-{number}", shard=0, messages="[]",
                  principal_ref=reference) for number in range(count)]  # fmt: skip
    lake.replace_partition("production_traces", rows, workflow="door", week=week)


def contents(lake: Lake) -> dict[tuple[str, str], pl.DataFrame]:
    """Every partition that lineage speaks of, as rows."""
    return {
        (row["table_name"], row["week"]): lake.read_partition(
            row["table_name"], workflow="door", week=None if row["week"] == "-" else row["week"]
        )
        for row in lake.all_lineage(workflow="door").iter_rows(named=True)
    }


def test_an_empty_house_gets_everything_back(acts: Releases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    settings, made = acts.settings, tmp_path / "backup"
    store = open_store(settings, "door")
    before, chain = contents(acts.lake), store.verify_chain()
    serves = read_pointer(settings.pointer("door")).adapter_id
    with closing(sqlite3.connect(runs_of(tmp_path / "ops"))) as open_elsewhere:
        open_elsewhere.execute("INSERT INTO runs VALUES ('r2')")
        open_elsewhere.commit()  # stays in the write-ahead log as long as this connection lives
        manifest = back_up(settings, made)
    assert manifest.pinned["sft_dataset"] == [0] and len(manifest.adapters["door"]) == 2
    shutil.move(settings.home, tmp_path / "lost")
    dagster_home(tmp_path / "new-ops", monkeypatch)
    there = Settings(home=tmp_path / "elsewhere" / "house")
    shutil.copytree(tmp_path / "lost" / "models", tmp_path / "models")
    there = there.model_copy(update={"models_folder": tmp_path / "models"})
    done = restore(there, made)
    lake = Lake(there.lake())
    after = contents(lake)
    assert before.keys() == after.keys() and done.partitions == len(before) > 5
    assert all(after[place].equals(frame) for place, frame in before.items())
    assert lake.all_lineage(workflow="door").equals(
        acts_lineage := Lake(tmp_path / "lost" / "lake").all_lineage(workflow="door")
    )
    assert acts_lineage.height == len(before)
    then = lake.read_partition("sft_dataset", workflow="door", week=WEEKS[0], version=0)
    assert then["row_id"].to_list() == ["as trained on"], "what the promoted adapter was made from came along"
    again = open_store(there, "door")
    assert again.verify_chain() == chain and again.batch_of(WEEKS[0], "door")
    pointer = read_pointer(there.pointer("door"))
    assert pointer.adapter_id == serves and pointer.adapter_path == there.checkpoints("door").absolute() / serves
    assert Vault(there.vault()).originals(Vault(there.vault()).principal_ref(PERSON))[0].value == "real@example.org"
    assert (
        there.vault() / "pseudonym.key"
    ).stat().st_mode & 0o777 == 0o600 and there.vault().stat().st_mode & 0o777 == 0o700
    assert (there.inbox("door") / "log.jsonl").read_text() == '{"id": 1}\n'
    with closing(sqlite3.connect(runs_of(tmp_path / "new-ops"))) as runs:
        assert runs.execute("SELECT id FROM runs").fetchall() == [("r1",), ("r2",)]
    traces(lake, there, WEEKS[2], 1)  # the house goes on
    assert lake.has_partition("production_traces", workflow="door", week=WEEKS[2])


def test_what_is_written_meanwhile_is_not_in_the_cut(acts: Releases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    before, real = contents(acts.lake), backup_module.cut
    log = Path(acts.lake.uri("production_traces")) / "_delta_log"

    def busy(*arguments):
        found = real(*arguments)
        for _ in range(12):  # more than a checkpoint's worth
            traces(Lake(acts.lake.root), acts.settings, WEEKS[2], 2)
        return found

    monkeypatch.setattr(backup_module, "cut", busy)
    back_up(acts.settings, tmp_path / "backup")
    assert (log / "_last_checkpoint").is_file(), "the house is ahead of the backup by a checkpoint"
    dagster_home(tmp_path / "new-ops", monkeypatch)
    there = Settings(home=tmp_path / "there")
    restore(there, tmp_path / "backup")
    after = contents(Lake(there.lake()))
    assert before.keys() == after.keys() and all(after[place].equals(frame) for place, frame in before.items())


def test_an_interrupted_backup_is_none(acts: Releases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    real, done = backup_module._copy, []

    def stopped(source: Path, target: Path):
        if len(done) == 20:
            raise KeyboardInterrupt
        done.append(source)
        return real(source, target)

    monkeypatch.setattr(backup_module, "_copy", stopped)
    with pytest.raises(KeyboardInterrupt):
        back_up(acts.settings, tmp_path / "backup")
    home = Settings(home=tmp_path / "there")
    with pytest.raises(FlywheelError, match="no whole backup"):
        restore(home, tmp_path / "backup")
    assert not home.home.exists()
    with pytest.raises(FlywheelError, match="must be empty"):
        back_up(acts.settings, tmp_path / "backup")


def test_damage_is_named_and_nothing_is_written(acts: Releases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    whole = tmp_path / "backup"
    manifest = back_up(acts.settings, whole)
    kinds = {".parquet", ".json", ".sqlite", ".safetensors", ".key", ".jsonl", ".db"}
    chosen = {kind: next(name for name in manifest.files if Path(name).suffix == kind) for kind in sorted(kinds)}
    there = Settings(home=tmp_path / "there")
    dagster_home(tmp_path / "new-ops", monkeypatch)
    for name in chosen.values():
        file = whole / name
        good = file.read_bytes()
        for bad in (good[:-1], good[:-1] + bytes([good[-1] ^ 1]), None):
            file.unlink() if bad is None else file.write_bytes(bad)
            with pytest.raises(FlywheelError) as refused:
                restore(there, whole)
            assert name in str(refused.value), name
            file.write_bytes(good)
    (whole / "home" / "lake" / "extra").write_text("x")
    with pytest.raises(FlywheelError, match="home/lake/extra"):
        restore(there, whole)
    (whole / "home" / "lake" / "extra").unlink()
    text = (whole / MANIFEST).read_text()
    for bad, said in ((text[: len(text) // 2], "cannot be read"), (text.replace(manifest.files["home/inbox/door/log.jsonl"].sha256, "0" * 64), "was changed"),
                      (text.replace(manifest.made_at, "2020-01-01T00:00:00+00:00"), "was changed"),
                      (text.replace('"schema_version": 1', '"schema_version": 2'), "newer one")):  # fmt: skip
        (whole / MANIFEST).write_text(bad)
        with pytest.raises(FlywheelError, match=said):
            restore(there, whole)
    (whole / MANIFEST).write_text(text)
    assert not there.home.exists()
    restore(there, whole)
    with pytest.raises(FlywheelError, match="empty place only"):
        restore(there, whole)


def test_a_vault_kept_apart_stays_apart(acts: Releases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shutil.move(acts.settings.vault(), tmp_path / "safe")
    settings = acts.settings.model_copy(update={"vault_folder": tmp_path / "safe"})
    with pytest.raises(FlywheelError, match="beside the data"):
        back_up(settings, tmp_path / "backup")
    back_up(settings, tmp_path / "backup", vault=tmp_path / "keys")
    assert not any("vault" in name for name in read_manifest(tmp_path / "backup").files)
    dagster_home(tmp_path / "new-ops", monkeypatch)
    there = Settings(home=tmp_path / "there")
    with pytest.raises(FlywheelError, match="apart"):
        restore(there, tmp_path / "backup")
    done = restore(there, tmp_path / "backup", vault=tmp_path / "keys")
    assert not any("the vault," in sentence for sentence in done.told), "it is back: nothing is left to do about it"
    assert Vault(there.vault()).originals(Vault(settings.vault()).principal_ref(PERSON))


def test_an_erasure_names_the_backups_and_a_living_vault_names_who_is_back(
    acts: Releases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    shutil.move(acts.settings.vault(), tmp_path / "safe")
    settings = acts.settings.model_copy(update={"vault_folder": tmp_path / "safe"})
    back_up(settings, tmp_path / "backup", vault=tmp_path / "keys")
    done = erase(settings, PERSON, reason="they asked", by="Dana")
    assert done.backups == [str(tmp_path / "backup")] and done.erased["door"].rows["production_traces"] == 3
    shutil.rmtree(settings.home)
    dagster_home(tmp_path / "new-ops", monkeypatch)
    restored = restore(settings, tmp_path / "backup", vault=tmp_path / "keys")
    assert any("1 people who were erased have rows" in sentence for sentence in restored.told)
    assert Vault(settings.vault()).erased(), "the living vault was not replaced by the older copy"
    again = erase(settings, PERSON, reason="they asked", by="Dana")
    assert again.erased["door"].rows["production_traces"] == 3 and not again.left


def test_it_refuses_a_place_inside_the_house_and_a_second_one_at_once(acts: Releases, tmp_path: Path):
    with pytest.raises(FlywheelError, match="lost with it"):
        back_up(acts.settings, acts.settings.home / "backup")
    with backup_module.alone(acts.settings, "a prune"), pytest.raises(FlywheelError, match="a prune is running"):
        back_up(acts.settings, tmp_path / "backup")
    empty = Settings(home=tmp_path / "nowhere")
    with pytest.raises(FlywheelError, match="nothing to back up"):
        back_up(empty, tmp_path / "other")
    assert not empty.home.exists() and os.listdir(tmp_path / "backup") == []


def test_corrections_in_postgresql_are_named_without_a_password(acts: Releases, tmp_path: Path):
    settings = acts.settings.model_copy(update={"qa_store_url": "postgresql+psycopg2://ann:secret@127.0.0.1/qa"})
    told = " ".join(back_up(settings, tmp_path / "backup").elsewhere)
    assert "pg_dump --schema=flywheel_qa" in told and "secret" not in told and "ann@127.0.0.1/qa" in told


@pytest.mark.slow
def test_a_real_instance_comes_back(acts: Releases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    runs_of(tmp_path / "ops").unlink()
    with instance() as on:
        on.report_runless_asset_event(dg.AssetMaterialization("production_traces", metadata={"rows": 3}))
        back_up(acts.settings, tmp_path / "backup")
    dagster_home(tmp_path / "new-ops", monkeypatch)
    restore(Settings(home=tmp_path / "there"), tmp_path / "backup")
    with instance() as on:
        assert on.get_latest_materialization_event(dg.AssetKey("production_traces"))
