"""A teacher behind a real HTTP server: what is sent, what comes back wrong, what waits for a person, and what leaves the machine."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flywheel.cli import app
from flywheel.datasets.demonstrations import read_demonstrations
from flywheel.datasets.endpoint import Endpoint, NoStep, Sampling
from flywheel.datasets.steps import steps_of_demonstration
from flywheel.datasets.teacher import add_row, read_rows, read_tasks, shelf_of, teach
from flywheel.demo.week import lay_out_pack
from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel.privacy.egress import Destination
from flywheel.workflows.loader import load_pack
from flywheel.workflows.pack import Pack
from flywheel_tests.datasets.samples import called, said
from flywheel_tests.stand_ins.teacher import Teacher

DOOR = Path(__file__).parent.parent / "packs" / "door"
HERE = Destination("127.0.0.1", False, ())


@pytest.fixture
def teacher() -> Iterator[Teacher]:
    server = Teacher()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def door(tmp_path: Path) -> Pack:
    lay_out_pack(DOOR, tmp_path / "home" / "workflows" / "door")
    return load_pack(tmp_path / "home" / "workflows" / "door")


def endpoint(teacher: Teacher, tmp_path: Path, **changes: Any) -> Endpoint:
    return Endpoint(
        teacher.url,
        "big",
        HERE,
        Sampling(),
        **{"log": tmp_path / "log.jsonl", "seconds": 30, "pause": lambda s: None, **changes},
    )


def tasks(pack: Pack, tmp_path: Path, *lines: dict[str, Any]):
    file = tmp_path / "tasks.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return read_tasks(file, pack)


def ask(number: int, text: str = "open the red door", **more: Any) -> dict[str, Any]:
    return {"id": f"t{number}", "messages": [{"role": "user", "content": text}], **more}


def test_a_run_is_played_in_the_environment_and_waits_for_a_person(teacher: Teacher, door: Pack, tmp_path: Path):
    teacher.answers = [called("open_door", door="red"), said("It is open. Anything else?"), said("Goodbye.")]
    wanted = tasks(door, tmp_path, ask(1, environment={"seed": 0}, replies=["no, thanks"]))
    shelf = shelf_of(tmp_path / "home" / "teacher", door)
    with endpoint(teacher, tmp_path) as asked:
        made = teach(door, wanted, asked, shelf)
        again = teach(door, wanted, asked, shelf)
    assert (made.waiting, made.accepted, again.waiting, again.done_before) == (1, 0, 0, 1) and len(teacher.asked) == 3
    (row,) = read_rows(shelf.pending)
    assert [message["role"] for message in row["messages"]] == [
        "system",
        "user",
        "assistant",
        "tool",
        "assistant",
        "user",
        "assistant",
    ]
    assert row["source"] == "teacher" and row["teacher"]["model"] == "big" and row["teacher"]["host"] == "127.0.0.1"
    assert row["teacher"]["temperature"] == 0.0 and row["teacher"]["seed"] == 0 and row["reviewer"] == ""
    assert read_demonstrations(door.folder / "demonstrations") == [], "nothing trains yet"
    sent = teacher.asked[0]
    assert sent["messages"][0]["content"] == door.system and sent["tools"] and "x-access" not in json.dumps(sent)
    (line, *_) = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert (
        line["host"] == "127.0.0.1"
        and not line["left_the_machine"]
        and line["messages"] == 2
        and len(line["sha256"]) == 64
    )
    assert "red door" not in (tmp_path / "log.jsonl").read_text(), "counts and hashes only"


def by_model(model: Any, message: dict[str, Any], finish: str = "stop") -> tuple[int, dict[str, str], str]:
    """An answer that says which model made it."""
    return 200, {}, json.dumps({"model": model, "choices": [{"message": message, "finish_reason": finish}]})


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (called("open_door", door="pink"), "invalid_call"),
        (called("fly", to="moon"), "invalid_call"),
        ({**said("and so on"), "finish_reason": "length"}, "cut_off"),
        ((200, {"content-type": "text/html"}, "<html>sign in</html>"), "not_json"),
        ((200, {}, '{"choices": []}'), "no_message"),
        ((200, {}, "[1]"), "no_message"),
        ((200, {}, '{"choices": [{"message": {"content": "", "tool_calls": [{"id": 1}]}}]}'), "no_message"),
        (said(""), "no_message"),
        ((401, {}, "who are you"), "refused"),
        ((302, {"location": "http://elsewhere.example/"}, ""), "refused"),
        ((0, {}, ""), "timeout"),
        (by_model("big-mini", said("Doors only.")), "other_model"),
        (by_model("small", said("and so on"), "length"), "other_model"),
    ],
)
def test_what_is_no_step_is_counted_by_reason_and_tried_again(
    teacher: Teacher, door: Pack, tmp_path: Path, answer: Any, reason: str
):
    teacher.answers = [answer, said("Doors only.")]
    wanted = tasks(door, tmp_path, ask(1))
    shelf = shelf_of(tmp_path / "home" / "teacher", door)
    with endpoint(teacher, tmp_path, seconds=0.3 if reason == "timeout" else 30) as asked:
        first = teach(door, wanted, asked, shelf)
    with endpoint(teacher, tmp_path) as asked:
        second = teach(door, wanted, asked, shelf)
    assert dict(first.refused) == {reason: 1} and "task t1" in first.examples[reason]
    assert second.waiting == 1 and len(read_rows(shelf.pending)) == 1


def test_a_busy_server_is_waited_for_and_a_dead_one_stops_the_run(teacher: Teacher, door: Pack, tmp_path: Path):
    waits: list[float] = []
    busy = (429, {"retry-after": "7"}, "slow down")
    teacher.answers = [busy, (503, {}, ""), said("Doors only.")]
    with endpoint(teacher, tmp_path, pause=waits.append) as asked:
        assert asked.step([{"role": "user", "content": "hi"}], door.tools)["content"] == "Doors only."
        assert waits == [7.0, 4.0]
        teacher.answers = [busy] * 5
        with pytest.raises(NoStep, match="too_many_requests"):
            asked.step([{"role": "user", "content": "hi"}], door.tools)
        wanted = tasks(door, tmp_path, *(ask(number) for number in range(9)))
        teacher.answers = [said("Doors only."), *[(500, {}, "broken")] * 8]
        shelf = shelf_of(tmp_path / "home" / "teacher", door)
        with pytest.raises(FlywheelError, match="failed 3 tasks in a row"):
            teach(door, wanted, asked, shelf)
    assert len(read_rows(shelf.pending)) == 1, "what was done before stays"
    with endpoint(teacher, tmp_path) as asked:
        asked._url = "http://127.0.0.1:1/v1"
        with pytest.raises(NoStep, match="unreachable"):
            asked.step([{"role": "user", "content": "hi"}], [])


@pytest.mark.parametrize("named", ["big", "acme/big", "big-2026-01-31", "", None])
def test_a_dated_version_and_an_answer_that_names_nobody_are_the_model_asked_for(
    teacher: Teacher, door: Pack, tmp_path: Path, named: str | None
):
    teacher.answers = [by_model(named, said("Doors only."))]
    with endpoint(teacher, tmp_path) as asked:
        assert asked.step([{"role": "user", "content": "hi"}], door.tools)["content"] == "Doors only."


def test_a_server_where_another_model_answers_stops_the_run_and_names_both(
    teacher: Teacher, door: Pack, tmp_path: Path
):
    teacher.answers = [by_model("small", said("Doors only."))] * 9
    shelf = shelf_of(tmp_path / "home" / "teacher", door)
    with endpoint(teacher, tmp_path) as asked:
        with pytest.raises(
            FlywheelError, match="in a row: other_model: asked for big, and small answered .*--model small"
        ):
            teach(door, tasks(door, tmp_path, *(ask(number) for number in range(9))), asked, shelf)
    assert len(teacher.asked) == 3 and shelf.rows() == [], "nothing is kept under a name that did not say it"


def test_a_verifier_that_the_pack_names_accepts_and_no_other_does(teacher: Teacher, door: Pack, tmp_path: Path):
    gold = [{"name": "open_door", "arguments": {"door": "red"}}]
    wanted = tasks(door, tmp_path, ask(1, actions=gold), ask(2, actions=gold), ask(3))
    named = Pack(**{**vars(door), "settings": door.settings.model_copy(update={"verifiers": ["gold_actions"]})})
    shelf = shelf_of(tmp_path / "home" / "teacher", door)
    teacher.answers = [
        called("open_door", door="red"),
        called("open_door", door="blue"),
        called("open_door", door="red"),
    ]
    with endpoint(teacher, tmp_path) as asked:
        made = teach(named, wanted, asked, shelf)
    assert (made.accepted, made.waiting) == (1, 2)
    (row,) = read_demonstrations(door.folder / "demonstrations")
    (step,) = steps_of_demonstration(row)
    assert (
        step.verified_by == "verifier_gold_actions"
        and step.annotator == "big at 127.0.0.1"
        and step.annotator_kind == "model"
    )
    assert row["source"] == "teacher" and json.loads(row["teacher"])["temperature"] == 0.0


def test_a_given_history_stays_history_even_where_the_model_went_wrong(
    teacher: Teacher, door: Pack, tmp_path: Path, lake: Lake
):
    wrong = called("open_door", door="pink")
    history = [
        {"role": "user", "content": "open it"},
        wrong,
        {"role": "tool", "tool_call_id": "call_0", "content": '{"error": "NO"}'},
    ]
    teacher.answers = [called("open_door", door="red")]
    shelf = shelf_of(tmp_path / "home" / "teacher", door)
    with endpoint(teacher, tmp_path) as asked:
        teach(door, tasks(door, tmp_path, {"id": "h", "messages": history}), asked, shelf)
    typed = CliRunner(env={"FLYWHEEL_HOME": str(tmp_path / "home")})
    assert typed.invoke(app, ["demonstration", "review", "door", "--by", "Dana"], input="l\n").exit_code == 0
    shown = typed.invoke(app, ["demonstration", "review", "door", "--by", "Dana"], input="a\n")
    assert shown.exit_code == 0 and "> assistant" in shown.output and "1 accepted, 0 still wait" in shown.output
    rows = read_demonstrations(door.folder / "demonstrations")
    lake.replace_partition("demonstrations", rows, workflow="door")
    (row,) = lake.read_partition("demonstrations", workflow="door").iter_rows(named=True)
    (step,) = steps_of_demonstration(row)
    assert step.message_index == 4 and (row["reviewer"], row["qa_mode"]) == ("Dana", "two"), (
        "two passes, and it says so"
    )


def test_a_refused_row_is_not_asked_for_again(teacher: Teacher, door: Pack, tmp_path: Path):
    teacher.answers = [said("Doors only.")]
    wanted, shelf = tasks(door, tmp_path, ask(1)), shelf_of(tmp_path / "home" / "teacher", door)
    with endpoint(teacher, tmp_path) as asked:
        teach(door, wanted, asked, shelf)
        typed = CliRunner(env={"FLYWHEEL_HOME": str(tmp_path / "home")})
        assert typed.invoke(app, ["demonstration", "review", "door", "--by", "Dana"], input="r\n").exit_code == 0
        assert teach(door, wanted, asked, shelf).done_before == 1
    assert read_demonstrations(door.folder / "demonstrations") == []


def test_the_command_sends_a_key_it_never_writes_and_a_dry_run_sends_nothing(
    teacher: Teacher, door: Pack, tmp_path: Path
):
    (door.folder / "tasks.jsonl").write_text(json.dumps(ask(1)) + "\n")
    typed = CliRunner(env={"FLYWHEEL_HOME": str(tmp_path / "home"), "FLYWHEEL_TEACHER_KEY": "hush"})
    words = ["demonstration", "teach", "door", "--endpoint", teacher.url, "--model", "big"]
    dry = typed.invoke(app, [*words, "--dry-run"])
    assert (
        dry.exit_code == 0
        and "open the red door" in dry.output
        and "nothing was sent" in dry.output
        and not teacher.asked
    )
    teacher.answers = [said("Doors only.")]
    done = typed.invoke(app, words)
    assert "1 shown and waiting" in done.output and teacher.keys == ["Bearer hush"]
    assert not [file for file in (tmp_path / "home").rglob("*") if file.is_file() and b"hush" in file.read_bytes()]


@pytest.mark.parametrize(
    ("line", "said_"),
    [
        ("{", "the line"), ('{"id": "a"}', "messages"), ('{"id": "a", "messages": [{"role": "assistant", "content": "x"}]}', "nobody waits"),
        ('{"id": "a", "messages": [{"role": "user", "content": "x"}], "colour": 1}', "colour"),
    ],
)  # fmt: skip
def test_a_wrong_task_is_named_by_its_line(door: Pack, tmp_path: Path, line: str, said_: str):
    (tmp_path / "tasks.jsonl").write_text(f"\n{line}\n")
    with pytest.raises(FlywheelError, match=said_) as caught:
        read_tasks(tmp_path / "tasks.jsonl", door)
    assert ":2" in str(caught.value)
    with pytest.raises(FlywheelError, match="no tasks"):
        read_tasks(tmp_path / "absent.jsonl", door)


def test_a_line_that_was_cut_off_is_written_again_not_read(tmp_path: Path):
    file = tmp_path / "rows.jsonl"
    file.write_text('{"a":1}\n{"b":')
    assert read_rows(file) == [{"a": 1}]
    add_row(file, {"c": 3})
    assert read_rows(file) == [{"a": 1}, {"c": 3}]
