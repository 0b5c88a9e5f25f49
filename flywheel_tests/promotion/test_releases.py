"""What people do about the pointer: what is allowed, what is refused and in which words, and that each act stands in the log."""

import json
import shutil
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.errors import FlywheelError
from flywheel.lake.missing import ConcurrentWrite
from flywheel.promotion.adapter_files import problem_with
from flywheel.promotion.pointer import history, serving, waits
from flywheel.promotion.pointer_file import read_pointer, write_pointer
from flywheel.promotion.releases import Releases
from flywheel.serving.adapters import ADAPTER_FILES, MANIFEST, adapter_sha256
from flywheel_tests.promotion.house import WEEKS, blank, decide, make_adapter, make_house


@pytest.fixture
def acts(tmp_path: Path) -> Releases:
    return make_house(tmp_path)


@pytest.fixture
def two(acts: Releases) -> tuple[str, str]:
    """Two adapters, both released, the second serves."""
    names = make_adapter(acts.settings, 1), make_adapter(acts.settings, 2)
    for week, name in zip(WEEKS, names, strict=False):
        decide(acts, week, name, automatic=True)
    return names


def test_a_promoted_adapter_waits_until_a_person_releases_it(acts: Releases):
    adapter = make_adapter(acts.settings, 1)
    decide(acts, WEEKS[0], adapter)
    assert serving(acts.log()) == "base"
    done = acts.approve(WEEKS[0], by="Dana", reason="looked at the diffs")
    assert done.moved and serving(acts.log()) == adapter == serving(acts.log(), before_week=WEEKS[1])
    row = acts.log().row(-1, named=True) | acts.log().filter(kind="approval").row(0, named=True)
    assert (row["by"], row["reason"], row["decision_id"]) == ("Dana", "looked at the diffs", f"d-{WEEKS[0]}")
    assert not acts.approve(WEEKS[0], by="Dana").moved and acts.log().height == 2, "twice is once"


def test_an_adapter_that_the_week_was_judged_with_later_is_not_what_was_decided(acts: Releases):
    """As after `checkpoint import --replace` of a decided week: what was decided stays decided."""
    first, second = make_adapter(acts.settings, 1), make_adapter(acts.settings, 2)
    decide(acts, WEEKS[0], first)
    row = acts.lake.read_partition("promotion", workflow="door", week=WEEKS[0]).row(0, named=True)
    assert waits(acts.log(), WEEKS[0], row)
    later = {name: value for name, value in row.items() if name not in ("week", "workflow")} | {
        "candidate_adapter_id": second
    }
    acts.lake.replace_partition("promotion", [later], workflow="door", week=WEEKS[0])
    acts.lake.replace_partition("checkpoint", [blank("checkpoint", adapter_id=second)], workflow="door", week=WEEKS[0])
    assert not waits(acts.log(), WEEKS[0], later)
    with pytest.raises(FlywheelError, match=f"what was decided in week {WEEKS[0]} is {first}") as told:
        acts.approve(WEEKS[0], by="Dana")
    assert f"--override --adapter {second}" in told.value.remedy and serving(acts.log()) == "base"


REFUSED = [
    (lambda acts: acts.approve(WEEKS[1], by=" "), "nobody says who"),
    (lambda acts: acts.approve("2026-03-02", by="Dana"), "is not decided"),
    (lambda acts: acts.approve(WEEKS[0], by="Dana"), "older than 2026-01-12"),
    (lambda acts: acts.approve(WEEKS[1], by="Dana"), "was not promoted: REJECT"),
    (lambda acts: acts.override("adapter-unknown", by="Dana", reason="r"), "no checkpoint of door"),
    (lambda acts: acts.override("base", by="Dana", reason=""), "needs a reason"),
    (lambda acts: acts.override("base", by="", reason="r"), "nobody says who"),
    (lambda acts: acts.override("base", by="Dana", reason="r"), "base serves already"),
    (lambda acts: acts.roll_back(by="Dana", reason=" "), "needs a reason"),
    (lambda acts: acts.roll_back(by="Dana", reason="r"), "nothing to roll back"),
    (lambda acts: acts.adapter_of_week("2026-03-02"), "trained no adapter"),
]


def test_what_is_refused_says_why_and_leaves_nothing(acts: Releases):
    decide(acts, WEEKS[0], make_adapter(acts.settings, 1))
    decide(acts, WEEKS[1], make_adapter(acts.settings, 2), verdict="REJECT")
    before = acts.log()
    for act, said in REFUSED:
        with pytest.raises(FlywheelError, match=said) as caught:
            act(acts)
        assert caught.value.remedy
    assert acts.log().equals(before)


def test_a_rollback_restores_what_served_before_and_a_second_one_what_served_before_that(
    acts: Releases, two: tuple[str, str]
):
    assert acts.roll_back(by="Dana", reason="refunds fail").entry["served_adapter_id"] == two[0]
    assert serving(acts.log()) == two[0] == serving(acts.log(), before_week=WEEKS[2])
    assert serving(acts.log(), before_week=WEEKS[1]) == two[0], "what the second week was judged against stays"
    assert acts.roll_back(by="Dana", reason="still").entry["served_adapter_id"] == "base"
    with pytest.raises(FlywheelError, match="nothing to roll back"):
        acts.roll_back(by="Dana", reason="again")
    with pytest.raises(FlywheelError, match="rollback by Dana took it back: still"):
        acts.approve(WEEKS[1], by="Dana")
    acts.override(two[1], by="Eve", reason="the cause was elsewhere")
    assert acts.roll_back(by="Eve", reason="no").entry["served_adapter_id"] == "base"
    assert acts.log()["decided_at"].is_unique().all()


def test_an_adapter_of_other_tools_comes_back_only_by_override(acts: Releases):
    old, new = make_adapter(acts.settings, 1), make_adapter(acts.settings, 2)
    decide(acts, WEEKS[0], old, automatic=True, tools="other")
    decide(acts, WEEKS[1], new, automatic=True)
    with pytest.raises(FlywheelError, match="trained on other tools"):
        acts.roll_back(by="Dana", reason="r")
    assert acts.roll_back(by="Dana", reason="r", override=True).entry["served_adapter_id"] == old


def test_an_adapter_that_is_gone_or_changed_is_not_made_to_serve(acts: Releases, two: tuple[str, str]):
    folder = acts.settings.checkpoints("door") / two[0]
    weights = folder / ADAPTER_FILES[1]
    weights.write_bytes(weights.read_bytes()[:-1] + b"\7")
    with pytest.raises(FlywheelError, match="was changed after it was exported"):
        acts.roll_back(by="Dana", reason="r")
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**manifest, "sha256": adapter_sha256(folder)}))
    with pytest.raises(FlywheelError, match="other weights than its name"):
        acts.roll_back(by="Dana", reason="r")
    for broken in ('{"files": 2}', "[]", "{"):
        (folder / MANIFEST).write_text(broken)
        assert "cannot be read" in (problem_with(acts.settings, "door", two[0], acts.base) or "")
    weights.unlink()  # as of a copy that was interrupted
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(FlywheelError, match="is not whole: adapter_model.safetensors is missing"):
        acts.roll_back(by="Dana", reason="r")
    shutil.rmtree(folder)
    with pytest.raises(FlywheelError, match="is missing"):
        acts.override(two[0], by="Dana", reason="r")
    assert serving(acts.log()) == two[1]


def test_a_candidate_is_not_released_over_something_it_was_not_judged_against(acts: Releases, two: tuple[str, str]):
    decide(acts, WEEKS[2], make_adapter(acts.settings, 3))
    acts.roll_back(by="Dana", reason="r")
    with pytest.raises(FlywheelError, match=f"judged against {two[1]}, and {two[0]} serves"):
        acts.approve(WEEKS[2], by="Eve")


def test_of_two_at_once_one_moves_and_the_other_is_told(acts: Releases, two: tuple[str, str]):
    stale = acts.log()
    acts.roll_back(by="Dana", reason="r")
    late = acts.lake.read_weeks("promotion_log", workflow="door")
    assert late.height == stale.height + 1
    with pytest.raises(ConcurrentWrite, match="got 1 rows from somebody else"):
        acts.lake.append_new("promotion_log", late.drop("workflow"), workflow="door", expected=stale.height)
    outcomes: list[str] = []
    barrier = threading.Barrier(4)

    def act(name: str) -> None:
        barrier.wait()
        try:
            outcomes.append("moved" if acts.override(two[1], by=name, reason="r").moved else "again")
        except FlywheelError as error:
            outcomes.append("told" if "somebody else" in error.what or "serves already" in error.what else error.what)

    threads = [threading.Thread(target=act, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["moved", "told", "told", "told"]
    assert acts.log().filter(kind="override").height == 1


def test_the_pointer_file_says_what_a_server_needs_and_is_whole(acts: Releases, two: tuple[str, str]):
    file = acts.settings.pointer("door")
    write_pointer(acts.settings, acts.pack, acts.base, acts.log())
    pointer = read_pointer(file)
    assert (pointer.adapter_id, pointer.previous_adapter_id, pointer.because.kind) == (two[1], two[0], "decision")
    assert pointer.adapter_path and pointer.adapter_path.is_absolute() and pointer.adapter_path.name == two[1]
    assert f"{two[1]}={pointer.adapter_path}" in pointer.vllm_arguments and pointer.log_entries == 2
    assert pointer.adapter_sha256 and two[1] == f"adapter-{pointer.adapter_sha256[:16]}"
    acts.roll_back(by="Dana", reason="r")
    acts.roll_back(by="Dana", reason="r")
    pointer = write_pointer(acts.settings, acts.pack, acts.base, acts.log())
    assert (pointer.adapter_id, pointer.adapter_path, pointer.previous_adapter_id) == ("base", None, None)
    assert "--enable-lora" not in pointer.vllm_arguments and pointer.because.by == "Dana" and pointer.since
    assert [each.name for each in file.parent.iterdir()] == ["door.json"]
    file.write_text(file.read_text()[:40])
    with pytest.raises(FlywheelError, match="cannot be read"):
        read_pointer(file)
    file.write_text(json.dumps({**json.loads(pointer.model_dump_json()), "schema_version": 9}))
    with pytest.raises(FlywheelError, match="cannot be read"):
        read_pointer(file)


@settings(max_examples=40, deadline=None)
@given(acts=st.lists(st.sampled_from(["a", "b", "c", "back"]), max_size=12))
def test_rollbacks_unwind_like_a_stack_whatever_was_done(acts: list[str]):
    """The fold over the log against a list that is pushed and popped."""
    from datetime import UTC, datetime, timedelta

    import polars as pl

    from flywheel.lake import TABLES
    from flywheel.promotion.pointer import entry

    rows, stack = [], ["base"]
    empty = pl.DataFrame(schema=TABLES["promotion_log"].polars_schema())
    log = empty
    for number, act in enumerate(acts):
        standing = [served.adapter_id for served in history(log)]
        assert standing == stack and serving(log) == stack[-1]
        if act == "back" and len(stack) > 1:
            stack.pop()
        elif act == "back" or act == stack[-1]:
            continue
        else:
            stack.append(act)
        moment = datetime(2026, 1, 6, tzinfo=UTC) + timedelta(seconds=number)
        kind = "rollback" if act == "back" else "override"
        rows.append(
            {
                "workflow": "door",
                **entry(WEEKS[0], None, None, standing[-1], stack[-1], moment, kind=kind, place=number),
            }
        )
        log = pl.DataFrame(rows, schema=empty.schema)
