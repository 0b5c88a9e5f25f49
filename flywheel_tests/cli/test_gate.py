"""`flywheel evaluate --gate A B`: what CI reads, the exit code, for every way in which it can end."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from flywheel.benchmark.cases import load_cases
from flywheel.benchmark.row_digest import DIGEST, row_sha256
from flywheel.cli import app
from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel.operations import comparison
from flywheel.promotion import gate
from flywheel.workflows.loader import load_pack
from flywheel_tests.packs.door_simulation import FOLDER as DOOR
from flywheel_tests.promotion.house import blank, freeze_cases, make_house


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    acts = make_house(tmp_path / "home")
    freeze_cases(acts)
    monkeypatch.setenv("FLYWHEEL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FLYWHEEL_BASE_MODEL", "tiny-random")
    monkeypatch.setattr(comparison, "check_weights", lambda base: None)
    (tmp_path / "short.md").write_text("Doors only.")
    (tmp_path / "short.yaml").write_text("system: short.md\n")
    return tmp_path


def comparing(monkeypatch: pytest.MonkeyPatch, solves: Any) -> None:
    """Stands for the servers: `solves(arm, number)` says whether an arm solves the case of that number."""

    def compare(a: Any, b: Any, cases: Any, version: str, machine: Any) -> list[dict[str, Any]]:
        made = [
            blank("eval_results", case_id=case.id, case_cluster=case.id, category=case.category, arm=arm, epoch=0, adapter_id="base",
                  success=solves(arm, number), calls=1, schema_valid_calls=1, benchmark_version=version, scorer_version="s",
                  decoding="greedy_auto", server='{"vllm": "0.32.0+cpu"}', transcript="[]", raw_outputs="[]", step_seconds="[]",
                  failure_tags="[]", seconds=1.0, started_at=datetime(2026, 3, 2, tzinfo=UTC), expected_calls=1, compared_calls=1, matched_calls=1, model_steps=1, prompt_tokens=1, completion_tokens=1, tool_errors=0,
                  unknown_tool_calls=0, forbidden_calls=0)
            for arm in ("incumbent", "candidate", "incumbent_again") for number, case in enumerate(cases)
        ]  # fmt: skip
        return [{**row, DIGEST: row_sha256(row)} for row in made]

    monkeypatch.setattr(comparison, "compare", compare)


def typed(home: Path, *words: str) -> Result:
    return CliRunner().invoke(
        app, ["evaluate", *(words or ("--gate", "pack", str(home / "short.yaml"))), "--workflow", "door"]
    )


@pytest.mark.parametrize(
    ("solves", "code", "said"),
    [(lambda arm, n: arm == "candidate" or n % 2 == 0, 0, "PROMOTE: short against pack, which differ in system_sha256"),
     (lambda arm, n: arm != "candidate" or n % 2 == 0, 1, "REJECT: short against pack"),
     (lambda arm, n: (n + (arm == "candidate")) % 2 == 0, 2, "INCONCLUSIVE"), (lambda arm, n: None if arm == "candidate" else True, 3, "INVALID")],
)  # fmt: skip
def test_the_exit_code_is_the_verdict_and_everything_is_kept(
    home: Path, monkeypatch: pytest.MonkeyPatch, solves: Any, code: int, said: str
):
    comparing(monkeypatch, solves)
    kept = home / "ci"
    ended = typed(home, "--gate", "pack", str(home / "short.yaml"), "--out", str(kept))
    assert ended.exit_code == code and said in ended.output, ended.output
    lake = Lake(home / "home" / "lake")
    (row,) = lake.read_weeks("configuration_verdicts", workflow="door").to_dicts()
    told = json.loads((kept / "verdict.json").read_text())
    assert (
        told["verdict"] == row["verdict"]
        and told["candidate"]["vllm"] == "0.32.0"
        and (kept / "results.parquet").is_file()
    )
    assert told["reasons"] == json.loads(row["reasons"])
    assert set(lake.read_weeks("comparison_results", workflow="door")["comparison_id"]) == {row["comparison_id"]}


def test_a_promote_on_few_cases_does_not_let_ci_go_on(home: Path, monkeypatch: pytest.MonkeyPatch):
    comparing(monkeypatch, lambda arm, n: arm == "candidate" or n % 2 == 0)
    monkeypatch.setattr(gate, "ADVISORY_BELOW", 1000)
    ended = typed(home)
    assert ended.exit_code == 2 and "PROMOTE: short against pack" in ended.output and "a person decides" in ended.output


def test_a_folder_that_cannot_be_written_to_is_named_before_and_a_full_disk_takes_no_verdict_away(
    home: Path, monkeypatch: pytest.MonkeyPatch
):
    asked = ("--gate", "pack", str(home / "short.yaml"), "--out")
    monkeypatch.setattr(comparison, "compare", lambda *_: pytest.fail("nothing is run for it"))
    ended = typed(home, *asked, str(home / "short.yaml" / "ci"))
    assert ended.exit_code == 3 and "nothing can be written there" in ended.output and "--out" in ended.output
    comparing(monkeypatch, lambda arm, n: arm == "candidate" or n % 2 == 0)
    (home / "ci" / "verdict.json").mkdir(parents=True)
    ended = typed(home, *asked, str(home / "ci"))
    assert ended.exit_code == 0 and "PROMOTE" in ended.output and "could not be written" in ended.output


def test_every_row_is_kept_of_the_newest_comparisons_and_every_verdict(home: Path, monkeypatch: pytest.MonkeyPatch):
    comparing(monkeypatch, lambda arm, n: True)
    monkeypatch.setattr(comparison, "KEPT_RESULTS", 2)
    for _ in range(3):
        assert typed(home).exit_code in (0, 2)
    lake = Lake(home / "home" / "lake")
    verdicts = lake.read_weeks("configuration_verdicts", workflow="door").sort("decided_at")["comparison_id"].to_list()
    assert len(verdicts) == 3
    assert set(lake.read_weeks("comparison_results", workflow="door")["comparison_id"]) == set(verdicts[1:])


def test_whatever_kept_it_from_a_verdict_is_invalid_and_never_a_rejection(home: Path, monkeypatch: pytest.MonkeyPatch):
    def broken(*_: Any) -> Any:
        raise ValueError("a defect")

    def refused(*_: Any) -> Any:
        raise FlywheelError("vLLM ended", remedy="read the log")

    for compare, said in ((broken, "a defect of flywheel"), (refused, "vLLM ended")):
        monkeypatch.setattr(comparison, "compare", compare)
        ended = typed(home)
        assert ended.exit_code == 3 and said in ended.output
    for words, said in (
        (("--gate", "pack", "pack"), "are one configuration"), (("--gate", "pack", "gone.yaml"), "no such configuration"),
        (("--gate", "pack"), "unexpected extra argument"), (("--gates",), "No such option"),
    ):  # fmt: skip
        ended = typed(home, *words)
        assert ended.exit_code == 3 and said in ended.output, ended.output
    case = next(one for one in load_cases(DOOR / "benchmark", load_pack(DOOR).tools) if one.expectation.kind == "call")
    shown = {"messages": [*case.messages, {"role": "assistant", "content": "done"}]}
    (home / "shots.jsonl").write_text(json.dumps(shown))
    (home / "few.yaml").write_text("examples: shots.jsonl\n")
    ended = typed(home, "--gate", "pack", str(home / "few.yaml"))
    assert ended.exit_code == 3 and "examples are near cases of the benchmark" in ended.output
    Lake(home / "home" / "lake").replace_partition("benchmark", [], workflow="door")
    assert "no frozen benchmark" in typed(home).output


def test_the_word_pack_stands_for_the_endpoint_while_that_is_what_serves(home: Path, monkeypatch: pytest.MonkeyPatch):
    workflows = home / "home" / "workflows"
    kept = workflows.resolve() / "door"
    workflows.unlink()
    shutil.copytree(kept, workflows / "door")
    file = workflows / "door" / "workflow.yaml"
    file.write_text(
        f"{file.read_text()}\nfirst_incumbent: {{endpoint: {{url: 'http://127.0.0.1:9/v1', model: large-1}}}}\n"
    )
    comparing(monkeypatch, lambda arm, n: True)
    ended = typed(home)
    assert "which differ in base_model_sha256, adapter_id" in ended.output and "endpoint" in ended.output, ended.output
    (row,) = Lake(home / "home" / "lake").read_weeks("configuration_verdicts", workflow="door").to_dicts()
    baseline, candidate = json.loads(row["baseline"]), json.loads(row["candidate"])
    assert (baseline["adapter_id"], baseline["endpoint"]["model"]) == ("endpoint:large-1@127.0.0.1:9", "large-1")
    assert (candidate["adapter_id"], candidate["endpoint"]) == ("base", None), (
        "a file says nothing of it: the base model here"
    )
