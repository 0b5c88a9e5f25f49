"""Every record of a file becomes a case or is refused with its reason; a file of another format is refused as a whole."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flywheel.benchmark.cases import load_cases
from flywheel.benchmark.importers.bfcl import json_schema
from flywheel.benchmark.importers.run import import_file
from flywheel.benchmark.lint.run import lint
from flywheel.benchmark.matchers import Call, match_calls
from flywheel.cli import app
from flywheel.errors import FlywheelError
from flywheel.toolcalls.schema_check import schema_problem
from flywheel.workflows.pack import Pack
from flywheel.workflows.starter import make_pack

AIRLINE = Path(__file__).parents[3] / "shared" / "data" / "tau-airline"
TASK = {"user_id": "u", "instruction": "You want to cancel order R1.", "outputs": [], "actions": [
    {"name": "cancel_order", "kwargs": {"order_id": "R1", "reason": "other"}}]}  # fmt: skip


def lines(file: Path, *values: object) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join((value if isinstance(value, str) else json.dumps(value)) + "\n" for value in values))
    return file


AREA = {"name": "shapes.area", "description": "Area of a shape.", "parameters": {"type": "dict", "required": ["sides", "unit"], "properties": {
    "sides": {"type": "tuple", "items": {"type": "float"}}, "unit": {"type": "string"}, "options": {"type": "dict", "properties": {"round": {"type": "integer"}}},
    "note": {"type": "any"}}}}  # fmt: skip


def question(own_id: str, text: str, *, function: object = AREA, turns: int = 1, role: str = "user") -> dict:
    return {"id": own_id, "question": [[{"role": role, "content": text}]] * turns, "function": [function]}


def test_bfcl_questions_become_cases_with_their_own_functions(mine: Pack, tmp_path: Path):
    truth = {
        "shapes.area": {
            "sides": [[2, 3.5]],
            "unit": ["m", "metre"],
            "note": ["", 1],
            "options": ["", {"round": [1, 2]}],
        }
    }
    questions = [
        question("simple_python_0", "area of 2 by 3.5 m"), question("simple_python_1", "unanswered"), question("irrelevance_0", "what is the time"),
        question("multi_turn_base_0", "x"), question("simple_javascript_0", "x"), question("simple_python_2", "x", role="system"),
        question("simple_python_3", "x", turns=2), question("simple_python_4", "y", function={**AREA, "parameters": {"type": "matrix"}}),
        question("simple_python_5", "z"), question("parallel_0", "both, please"), "{broken",
    ]  # fmt: skip
    file = lines(tmp_path / "BFCL_v4_mixed.json", *questions)
    lines(tmp_path / "possible_answer" / "BFCL_v4_mixed.json", {"id": "simple_python_0", "ground_truth": [truth]}, {"id": "simple_python_4", "ground_truth": [truth]},
          {"id": "simple_python_5", "ground_truth": [{"shapes.area": {"sides": ["two"], "unit": ["m"]}}]},
          {"id": "parallel_0", "ground_truth": [truth, {"shapes.area": {"sides": [[1]], "unit": ["m"]}}]})  # fmt: skip
    found = import_file(mine, file, "bfcl")
    assert found.read == len(questions) == len(found.cases) + len(found.refused)
    cases = {case.id: case for case in found.cases}
    assert set(cases) == {"bfcl-simple_python_0", "bfcl-irrelevance_0", "bfcl-parallel_0"}
    assert len({case.cluster for case in found.cases}) == 1, "one function document is one cluster"
    simple, irrelevant = cases["bfcl-simple_python_0"], cases["bfcl-irrelevance_0"]
    assert (
        irrelevant.expectation.kind == "reply"
        and irrelevant.category == "refusal"
        and simple.expectation.kind == "call"
    )
    expected = [(call.name, call.arguments) for call in simple.expectation.calls]
    for arguments, right in (
        ({"sides": [2.0, 3.5], "unit": "metre"}, True), ({"sides": [2, 3.5], "unit": "m", "note": 1, "options": {"round": 2}}, True),
        ({"sides": [2, 3.5], "unit": "M"}, False), ({"sides": [2, 35], "unit": "m"}, False), ({"sides": [2, 3.5], "unit": "m", "x": 1}, False),
        ({"sides": [2, 3.5]}, False), ({"sides": [2, 3.5], "unit": "m", "options": {"round": 3}}, False),
    ):  # fmt: skip
        assert match_calls(expected, [Call("shapes.area", arguments)]).arguments is right, arguments
    said = " ".join(reason for _, reason in found.refused)
    for reason in (
        "no possible answer",
        "multi_turn",
        "another language",
        "system prompt",
        "one turn",
        "matrix",
        "unsatisfiable_call",
        "no valid JSON",
    ):
        assert reason in said
    before = found.file.read_bytes() if found.file else b""
    assert import_file(mine, file, "bfcl").cases == found.cases and found.file and found.file.read_bytes() == before
    cases_now, findings = lint(mine)
    assert len(cases_now) == 5 and not [one for one in findings if one.level == "error"]


def test_bfcls_types_become_json_schema():
    made = json_schema(AREA["parameters"])
    assert schema_problem(made) is None and made["properties"]["note"] == {}
    assert made["properties"]["sides"] == {"type": "array", "items": {"type": "number"}}
    named = json_schema({"type": "dict", "properties": {"type": {"type": "float"}, "items": {"type": "string"}}})
    assert named["properties"] == {"type": {"type": "number"}, "items": {"type": "string"}}, (
        "parameters may be called so"
    )


def test_plain_lines_in_both_forms(mine: Pack, tmp_path: Path):
    whole = {
        "category": "refusal",
        "messages": [{"role": "user", "content": "sing"}],
        "expectation": {"kind": "reply", "includes": [["only"]]},
    }
    file = lines(tmp_path / "My Cases.jsonl", {"prompt": "cancel R1, it is slow", "calls": [{"name": "cancel_order", "arguments": {"order_id": "R1", "reason": "too_slow"}}]},
                 {"prompt": "dance", "reply": ["only help"], "id": "dance", "tags": ["adversarial"]}, whole, {"prompt": "x"}, {"prompt": "x", "calls": [], "reply": []},
                 {"prompt": "x", "calls": [{"name": "cancel_order"}]}, {"prompt": "x", "calls": 5}, {**whole, "surprise": 1}, {"prompt": "x", "calls": []})  # fmt: skip
    found = import_file(mine, file, "jsonl")
    assert [case.id for case in found.cases] == ["my-cases-1", "dance", "my-cases-3"] and found.read == 9 == len(
        found.refused
    ) + 3
    assert found.cases[1].tags == ["adversarial"]
    assert len(load_cases(mine.folder / "benchmark", mine.tools)) == 5


@pytest.mark.parametrize(
    ("content", "kind", "said"),
    [
        (json.dumps({"id": "x", "question": [], "function": []}), "tau", "format bfcl"), (json.dumps(TASK), "bfcl", "format tau"),
        (json.dumps(TASK), "tau2", "format tau"), (json.dumps({"id": "x", "ground_truth": []}), "bfcl", "possible answers"), ("hello", "jsonl", "no record"),
        ("", "tau", "empty"), ("[1, 2", "tau", "no valid JSON"), ('{"a": 1}', "jsonl", "no format known"),
    ],
)  # fmt: skip
def test_a_file_of_another_format_is_refused_as_a_whole(mine: Pack, tmp_path: Path, content: str, kind, said: str):
    (tmp_path / "f.json").write_text(content)
    with pytest.raises(FlywheelError, match=said) as caught:
        import_file(mine, tmp_path / "f.json", kind)
    assert caught.value.remedy and not list((mine.folder / "benchmark").glob("imported-*"))


def test_missing_and_binary_files_and_answers_that_are_none(mine: Pack, tmp_path: Path):
    (tmp_path / "b.json").write_bytes(b"\xff\xfe\x00")
    for file in (tmp_path / "none.json", tmp_path / "b.json", tmp_path):
        with pytest.raises(FlywheelError):
            import_file(mine, file, "jsonl")
    file = lines(tmp_path / "q.json", question("simple_python_0", "x"))
    with pytest.raises(FlywheelError, match="no file of BFCL's possible answers"):
        import_file(mine, file, "bfcl", answers=file)


def test_the_command_prints_the_account(mine: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FLYWHEEL_HOME", str(tmp_path))
    file = lines(tmp_path / "c.jsonl", {"prompt": "dance", "reply": ["only"]}, {"prompt": "x"})
    done = CliRunner().invoke(app, ["benchmark", "import", str(file), "--format", "jsonl", "--workflow", "mine"])
    assert done.exit_code == 0 and "2 read = 1 imported + 1 refused" in done.stdout and "line 2" in done.stdout
    assert isinstance(
        CliRunner().invoke(app, ["benchmark", "import", str(file), "--format", "xml", "--workflow", "mine"]).exception,
        FlywheelError,
    )


@pytest.mark.skipif(not AIRLINE.is_dir(), reason=f"the 200 airline runs are not at {AIRLINE}")
def test_fifty_airline_tasks_of_200_real_runs_are_accounted_for(tmp_path: Path):
    from flywheel.workflows.loader import load_pack

    make_pack(tmp_path / "airline", tools_file=AIRLINE / "tools.json", system_file=None)
    pack = load_pack(tmp_path / "airline")
    found = import_file(pack, AIRLINE / "trajectories.json", "tau")
    assert found.read == 200 == len(found.cases) + len(found.refused)
    assert len({case.cluster for case in found.cases}) == len(found.cases) > 5
    trials = sum("another trial" in reason for _, reason in found.refused)
    assert trials >= 3 * len(found.cases)


@pytest.mark.slow
def test_the_real_bfcl_v4_is_read_and_its_own_answers_are_right(mine: Pack, tmp_path: Path):
    """Downloads the wheel of bfcl-eval (Apache-2.0) without its dependencies; skipped where no index has it."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--quiet",
        "--dest",
        str(tmp_path),
        "bfcl-eval==2026.3.23",
    ]
    loaded = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    wheels = list(tmp_path.glob("bfcl_eval-*.whl"))
    if not wheels:
        pytest.skip(f"bfcl-eval cannot be downloaded here: {loaded.stderr.strip()[-200:]}")
    zipfile.ZipFile(wheels[0]).extractall(tmp_path)
    counts = {}
    for name in (
        "simple_python",
        "multiple",
        "parallel",
        "parallel_multiple",
        "irrelevance",
        "live_simple",
        "multi_turn_base",
        "simple_java",
    ):
        file = tmp_path / "bfcl_eval" / "data" / f"BFCL_v4_{name}.json"
        found = import_file(mine, file, "bfcl")
        assert found.read == len(found.cases) + len(found.refused) == len(file.read_text().splitlines())
        counts[name] = (len(found.cases), found.read)
        for case in found.cases:
            if case.expectation.kind == "call":
                expected = [(call.name, call.arguments) for call in case.expectation.calls]
                made = [Call(name, {key: rule["one_of"][0] for key, rule in rules.items()}) for name, rules in expected]
                assert match_calls(expected, made[::-1]).arguments and not match_calls(expected, made[1:]).selection
    assert counts["irrelevance"] == (240, 240) and counts["multi_turn_base"][0] == counts["simple_java"][0] == 0
    assert all(
        counts[name][0] >= 0.9 * counts[name][1]
        for name in ("simple_python", "multiple", "parallel", "parallel_multiple", "live_simple")
    )
