"""Trace/1: every row is a record that its published schema accepts, with arguments parsed and raw."""

import json
from pathlib import Path

import jsonschema
import pytest

from flywheel.lake import Lake
from flywheel.traces.interchange import SCHEMAS, to_record
from flywheel_tests.traces.adapters.samples import FORMATS
from flywheel_tests.traces.test_inbox import WEEK, line, read, write


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_records_that_the_schema_accepts(name: str, tmp_path: Path, lake: Lake):
    write(tmp_path / "in", *FORMATS[name]())
    (row,) = read(tmp_path / "in", lake).traces[WEEK]
    (offered,) = lake.read_weeks("toolsets", workflow="desk")["tools"]
    record = json.loads(json.dumps(to_record(row, offered)))
    validator = jsonschema.Draft202012Validator(SCHEMAS["trace"]())
    assert not [error.message for error in validator.iter_errors(record)]
    assert record["messages"][-1]["content"] and list(validator.iter_errors({**record, "surprise": 1}))


def test_arguments_are_kept_parsed_and_raw(tmp_path: Path, lake: Lake):
    calls = [
        {"id": "a", "type": "function", "function": {"name": "t", "arguments": text}}
        for text in ('{"n":  2.50}', '{"n": ')
    ]
    calls[1]["id"] = "b"
    write(
        tmp_path / "in",
        line(
            1, messages=[{"role": "user", "content": "x"}, {"role": "assistant", "content": None, "tool_calls": calls}]
        ),
    )
    (row,) = read(tmp_path / "in", lake).traces[WEEK]
    first, second = to_record(row, "[]")["messages"][1]["tool_calls"]
    assert (first["arguments_raw"], first["function"]["arguments"], first["parse_error"]) == (
        '{"n":  2.50}',
        {"n": 2.5},
        None,
    )
    assert (
        second["arguments_raw"] == '{"n": '
        and second["function"]["arguments"] is None
        and "not valid JSON" in second["parse_error"]
    )


def test_signals_have_a_schema_too():
    jsonschema.Draft202012Validator.check_schema(SCHEMAS["signal"]())
    jsonschema.validate({"name": "helpful", "label": "yes", "annotator_kind": "LLM"}, SCHEMAS["signal"]())
