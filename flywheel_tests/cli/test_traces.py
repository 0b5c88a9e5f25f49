"""A team's own traces from the command line: what was refused is listed, mended and read again; late runs join their own week."""

import json
from pathlib import Path

import jsonschema
import pytest

from flywheel_tests.cli.test_cli import flywheel

pytestmark = pytest.mark.slow  # ten interpreters with Dagster in them

TOOLS = [{"type": "function", "function": {"name": "get_order", "parameters": {"type": "object", "properties": {}}}}]


def run(number: int, day: str) -> dict:
    said = [{"role": "user", "content": f"hello {number}"}, {"role": "assistant", "content": "yes"}, {"role": "user", "content": "No, that is wrong"},
            {"role": "assistant", "content": "ok"}]  # fmt: skip
    return {"id": f"r{number}", "started_at": f"{day}T10:00:00Z", "messages": said}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "tools.json").write_text(json.dumps(TOOLS))
    said = flywheel("init", "airline", "--tools", str(tmp_path / "tools.json"), home=tmp_path)
    assert "tools taken to write" in said and "none" in said
    return tmp_path


def lay(home: Path, name: str, *lines: str) -> None:
    (home / "inbox" / "airline" / name).write_text("\n".join(lines) + "\n")


def collect(home: Path, week: str) -> str:
    return flywheel("run", "--week", week, "--workflow", "airline", home=home)


def test_refused_records_are_listed_mended_and_read_again(home: Path):
    lay(home, "a.jsonl", json.dumps(run(1, "2026-01-06")), '{"id": "r2", "\x1b[31m": ')
    collect(home, "2026-01-05")
    said = flywheel("quarantine", "--workflow", "airline", "--lines", home=home)
    assert "a.jsonl:2" in said and "invalid_json" in said and "-> " in said and "\x1b" not in said
    lay(home, "a.jsonl", json.dumps(run(1, "2026-01-06")), json.dumps(run(2, "2026-01-07")))
    assert "1 records were quarantined, 0 still are" in flywheel(
        "quarantine", "--workflow", "airline", "--retry", home=home
    )
    assert "nothing is quarantined" in flywheel("quarantine", "--workflow", "airline", home=home)
    schema = json.loads(flywheel("schema", "trace", home=home))
    records = flywheel("traces", "--week", "2026-01-05", "--workflow", "airline", home=home)
    record, _ = json.JSONDecoder().raw_decode(records)
    jsonschema.validate(record, schema)


def test_a_late_run_joins_its_own_week_and_its_failure_this_weeks_batch(home: Path):
    lay(home, "a.jsonl", json.dumps(run(1, "2026-01-06")))
    collect(home, "2026-01-05")
    lay(home, "b.jsonl", json.dumps(run(2, "2026-01-07")), json.dumps(run(3, "2026-01-13")))
    assert "late traces of week 2026-01-05" in collect(home, "2026-01-12")
    from flywheel.lake import Lake

    lake = Lake(home / "lake")
    first, second = (
        lake.read_partition("correction_batch", workflow="airline", week=week) for week in ("2026-01-05", "2026-01-12")
    )
    assert lake.read_partition("production_traces", workflow="airline", week="2026-01-05").height == 2
    assert first.filter(failure_cluster="unflagged").height + second.filter(failure_cluster="unflagged").height == 0
    assert (first.height, second.height) == (1, 2) and not set(first["trace_id"]) & set(second["trace_id"])
    assert "late traces" not in collect(home, "2026-01-12"), "a second time there is nothing late"
