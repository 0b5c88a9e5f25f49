"""An erasure that was killed: the same command again ends where an undisturbed one ends. And what only the store or old files still hold."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flywheel.corrections.events import EventStore
from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel.operations import erase as erasing
from flywheel.operations.erase import Erasure, erase
from flywheel.privacy import erasure
from flywheel.privacy.erasure import search
from flywheel.privacy.pending import Pending
from flywheel.privacy.vault import Vault
from flywheel.settings import Settings
from flywheel_tests.privacy.person import OTHERS, PERSON, TRACES, WEEK, WORDS, item_of, make_house

# Everything an erasure changes, in whatever order it does so; each of their calls is a step.
STEPS = (
    (Pending, "save"), (Pending, "done"), (EventStore, "erase_items"), (Lake, "_overwrite"), (Vault, "destroy"), (erasure, "scrub"),
    *((erasing, name) for name in ("look", "forget_cases", "forget_names", "erase_rows", "bury", "_erase_inbox", "forget", "search")),
)  # fmt: skip


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("template") / "home"
    make_house(home)
    return home


@pytest.fixture
def settings(template: Path, tmp_path: Path) -> Settings:
    return Settings(home=shutil.copytree(template, tmp_path / "home"))


class Killed(BaseException):
    """As a signal: nothing that handles errors may catch it."""


class Steps:
    """Counts the steps, and kills before one of them: what the ones before it did is all that is on the disk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []
        self.kill: int | None = None
        for owner, name in STEPS:
            monkeypatch.setattr(owner, name, self._counted(name, getattr(owner, name)))

    def _counted(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **named: Any) -> Any:
            self.calls.append(name)
            if self.kill == len(self.calls) - 1:
                raise Killed
            return real(*args, **named)

        return step

    def worth_a_kill(self) -> list[int]:
        """Of every kind of step the first and the last, and of commits one more table with its line in lineage."""
        places = {name: [n for n, called in enumerate(self.calls) if called == name] for name in set(self.calls)}
        commits = places["_overwrite"]
        return sorted({*(n for found in places.values() for n in (found[0], found[-1])), *commits[:4]})


def forget_me(settings: Settings) -> Erasure:
    return erase(settings, PERSON, reason="they asked", by="Dana")


def standing(settings: Settings) -> dict[str, Any]:
    """The whole house, but for times and the versions of tables."""
    lake, store = Lake(settings.lake()), EventStore(settings.qa_store("door"), workflow="door")
    store.verify_chain()
    tables = {}
    for one in lake.all_lineage(workflow="door").sort("table_name", "week").iter_rows(named=True):
        table, week = one["table_name"], None if one["week"] == "-" else one["week"]
        rows = lake.read_partition(table, workflow="door", week=week)
        kept = rows.drop("erased_at", strict=False).write_ndjson()
        data = len(list(Path(lake.uri(table)).rglob("*.parquet")))
        tables[table, week] = (
            kept,
            one["code_version"],
            one["fingerprint"] if table == "correction_batch" else "",
            data,
        )
    pack, inbox = settings.workflows() / "door", settings.inbox("door")
    files = [
        path for folder in (pack, inbox, settings.home / "reports") for path in folder.rglob("*") if path.is_file()
    ]
    return {
        "tables": tables,
        "events": [(one.batch, one.event.item_id, one.event.kind, one.event.payload)
                   for batch in store.batches() for one in store.history(batch.name)],
        "files": {str(path.relative_to(settings.home)): path.read_bytes() for path in files},
        "vault": [(one.principal_ref, one.reason, one.counts, one.by) for one in Vault(settings.vault()).tombstones()],
        "pending": sorted(path.name for path in settings.vault().glob("erasure-*")),
    }  # fmt: skip


def told(done: Erasure) -> tuple[Any, ...]:
    return done.erased, done.recalled, done.left


def test_a_kill_at_any_step_and_the_same_command_again_is_an_undisturbed_erasure(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    steps = Steps(monkeypatch)
    whole = Settings(home=shutil.copytree(template, tmp_path / "whole"))
    done = forget_me(whole)
    expected, order = standing(whole), steps.calls
    assert set(order) == {name for _, name in STEPS}, "every step is taken"
    assert order.index("save") < order.index("erase_items") < order.index("_overwrite")
    assert done.left == [] and done.events == 3 and done.erased["door"].adapters == [(WEEK, "adapter-1")]
    assert expected["pending"] == [] and len(expected["vault"]) == 1
    for point in steps.worth_a_kill():
        home = Settings(home=shutil.copytree(template, tmp_path / f"at-{point}"))
        steps.calls, steps.kill = [], point
        with pytest.raises(Killed):
            forget_me(home)
        steps.kill = None
        again = forget_me(home)
        assert told(again) == told(done), f"killed before step {point}, {order[point]}"
        assert standing(home) == expected, f"killed before step {point}, {order[point]}"
        shutil.rmtree(home.home)
    assert forget_me(whole).erased == {}, "it is whole: a second time finds nothing"


def test_what_was_planted_in_a_batch_that_another_replaced_goes_too(settings: Settings):
    store = EventStore(settings.qa_store("door"), workflow="door")
    old, now = store.batches()
    done = forget_me(settings)
    payloads = {one.event.item_id: one.event.payload for one in store.history(old.name) if one.event.kind == "plant"}
    assert payloads["twin-of-theirs"] == payloads["gold-of-theirs"] == {"erased": True}
    assert payloads["gold-of-another"]["item"]["messages"] == WORDS, "others keep theirs"
    assert {*map(item_of, TRACES), "twin-of-theirs", "gold-of-theirs"} <= set(done.erased["door"].item_ids)
    assert [(one.batch, one.item_ids) for one in done.recalled] == [(now.name, [item_of(TRACES[0])])]


def test_a_replaced_version_of_a_table_that_does_not_name_them_now_leaves_no_byte(settings: Settings):
    lake, reference = Lake(settings.lake()), Vault(settings.vault()).principal_ref(PERSON)
    rows = lake.read_partition("correction_batch", workflow="door", week=WEEK).drop("week", "workflow")
    others = rows.filter(rows["trace_id"].is_in(OTHERS))
    lake.replace_partition("correction_batch", others, workflow="door", week=WEEK)
    folder = Path(lake.uri("correction_batch"))
    assert search([folder], [reference, *TRACES])[0], "the files of the versions before hold their runs"
    done = forget_me(settings)
    assert "correction_batch" not in done.erased["door"].rows
    assert search([folder], [reference, *TRACES])[0] == [] and done.left == []
    assert lake.read_partition("correction_batch", workflow="door", week=WEEK).height == 2


def test_a_file_that_is_left_is_searched_for_the_same_strings_again(settings: Settings):
    stray = settings.inbox("door") / "notes.txt"
    stray.write_text(TRACES[2])
    first = forget_me(settings)
    again = forget_me(settings)
    assert first.left == again.left == [stray] and again.erased == first.erased
    stray.unlink()
    assert forget_me(settings).left == [] and forget_me(settings).erased == {}
    assert len(Vault(settings.vault()).tombstones()) == 2, "one an erasure: the last run began another one"


def test_an_unknown_person_costs_no_table_its_history(settings: Settings):
    lake = Lake(settings.lake())
    files = {path for path in Path(lake.uri("correction_batch")).rglob("*") if path.is_file()}
    done = erase(settings, "nobody-we-know", reason="they asked", by="Dana")
    assert (done.erased, done.events, done.left) == ({}, 0, [])
    assert {path for path in Path(lake.uri("correction_batch")).rglob("*") if path.is_file()} == files


def test_what_is_written_down_holds_no_text_is_the_owners_alone_and_a_broken_one_is_said(tmp_path: Path):
    pending = Pending(tmp_path, "someone")
    pending.of("door").rows_of("correction_batch", WEEK, 3)
    pending.of("door").rows_of("correction_batch", WEEK, 1)
    pending.of("door").rows_of("benchmark", None, 1)
    pending.of("door").adapters.add((WEEK, "adapter-1"))
    pending.save()
    assert pending.file.stat().st_mode & 0o777 == 0o600
    again = Pending(tmp_path, "someone")
    assert again.of("door") == pending.of("door") and again.begun_at == pending.begun_at
    assert again.of("door").rows_by_table() == {"correction_batch": 3, "benchmark": 1}
    pending.file.write_text(json.dumps({"begun_at": 1}))
    with pytest.raises(FlywheelError, match="cannot be read"):
        Pending(tmp_path, "someone")
