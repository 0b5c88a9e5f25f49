"""A configuration: over the pack's own values, paths beside its file, and every way in which the file can be wrong."""

import json
import sys
from pathlib import Path

import pytest
import yaml

from flywheel.errors import FlywheelError
from flywheel.serving.configuration import (
    Configuration,
    configuration_of,
    configuration_sha256,
    differing,
    without_dates,
)
from flywheel.workflows.base_model import write_manifest
from flywheel.workflows.loader import load_pack
from flywheel.workflows.pack import Pack
from flywheel_tests.conftest import HOME


@pytest.fixture
def door() -> Pack:
    return load_pack(HOME / "workflows" / "door")


@pytest.fixture
def models(tmp_path: Path) -> Path:
    for name, digest in (("tiny-random", "0" * 64), ("quantised", "1" * 64)):
        folder = tmp_path / "models" / f"{name}-{digest[:12]}"
        folder.mkdir(parents=True)
        config = {"quantization_config": {"quant_method": "awq"}} if name == "quantised" else {}
        (folder / "config.json").write_text(json.dumps(config))
        write_manifest(folder, sha256=digest, source="a test")
    return tmp_path / "models"


@pytest.fixture
def read(door: Pack, models: Path, tmp_path: Path):
    def work(values: object = None, *, name: str = "mine.yaml", serving: str = "adapter-1") -> Configuration:
        file = tmp_path / name
        file.write_text(values if isinstance(values, str) else yaml.safe_dump(values or {}))
        return configuration_of(file, door, models, serving=serving, base_model="tiny-random")

    return work


def test_an_empty_file_is_the_pack_and_what_serves(read, door: Pack, models: Path):
    own = configuration_of("pack", door, models, serving="adapter-1", base_model="tiny-random")
    assert (own.name, own.adapter_id, read().name) == ("pack", "adapter-1", "mine")
    assert differing(own.parts(), read().parts()) == [] and own.asked_alike(read())
    assert configuration_sha256(own.parts()) == configuration_sha256(read().parts())


def test_what_the_file_says_takes_the_packs_place_and_is_the_only_difference(read, tmp_path: Path, door: Pack):
    (tmp_path / "short.md").write_text("Doors only.")
    (tmp_path / "other.jinja").write_text("{{ messages }}")
    (tmp_path / "tools.json").write_text(json.dumps(door.tools[:1]))
    (tmp_path / "shots.jsonl").write_text(
        '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}'
    )
    plain = read()
    for values, parts in (
        ({"system": "short.md"}, ["system_sha256", "system_without_dates_sha256"]),
        ({"template": "other.jinja"}, ["chat_template_sha256"]),
        ({"tools": "tools.json"}, ["tools_sha256"]),
        ({"decoding": {"mode": "sampled_auto", "temperature": 0.7}}, ["decoding"]),
        ({"quantization": "fp8"}, ["quantization"]),
        ({"vllm_python": sys.executable}, ["vllm"]),
        ({"adapter": "base"}, ["adapter_id"]),
        ({"base_model": "quantised"}, ["base_model_sha256", "adapter_id"]),
        ({"constrained": True}, ["constrained"]),
        ({"examples": "shots.jsonl"}, ["examples_sha256"]),
        (
            {"endpoint": {"url": "https://api.example.org/v1", "model": "big"}},
            ["base_model_sha256", "adapter_id", "model_family", "chat_template_sha256", "vllm", "endpoint"],
        ),
    ):
        other = read(values, name="other.json")
        assert differing(plain.parts(), other.parts()) == parts
        assert plain.asked_alike(other) == (parts == ["adapter_id"])
    assert read({"base_model": "quantised"}).adapter_id == "base", "what serves belongs to the other base model"


def test_the_server_gets_what_it_must_be_started_with(read, tmp_path: Path):
    (tmp_path / "other.jinja").write_text("x")
    made = read({"template": "other.jinja", "quantization": "fp8", "vllm_python": sys.executable, "max_model_len": 512})
    spec = made.server(tmp_path, threads=1, others=("adapter-2",))
    arguments = spec.arguments()
    assert (
        arguments[arguments.index("--chat-template") + 1] == str(tmp_path / "other.jinja")
        and made.renderer.template_file == tmp_path / "other.jinja"
    )
    assert (
        arguments[arguments.index("--quantization") + 1] == "fp8"
        and arguments[arguments.index("--max-model-len") + 1] == "512"
    )
    assert set(spec.adapters) == {"adapter-1", "adapter-2"} and spec.python == Path(sys.executable) and spec.quantised
    assert (
        read({"base_model": "quantised"}).server(tmp_path, threads=1).quantised
        and not read().server(tmp_path, threads=1).quantised
    )


@pytest.mark.parametrize(
    ("values", "said"),
    [({"sytem": "x"}, "sytem: Extra inputs"), ({"system": "gone.md"}, "names gone.md, which is not there"), ("a: [", "cannot be read"),
     ({"decoding": {"mode": "sampled_auto"}}, "sampled_auto needs a temperature"), ("- 1", "valid dictionary"),
     ({"base_model": "unknown"}, "no base model 'unknown'"), ({"max_model_len": 3}, "max_model_len")],
)  # fmt: skip
def test_a_file_that_is_wrong_is_told_what_and_where(read, values: object, said: str):
    with pytest.raises(FlywheelError, match=said):
        read(values)


def test_a_file_that_is_not_there_is_told(door: Pack, models: Path, tmp_path: Path):
    with pytest.raises(FlywheelError, match="no such configuration"):
        configuration_of(tmp_path / "none.yaml", door, models, serving="base", base_model="tiny-random")


@pytest.mark.parametrize(
    "day", ["2026-01-05", "Monday, 5 January 2026", "January 5, 2026 14:30", "05.01.2026", "2026-01-05T09:30:00Z"]
)
def test_a_prompt_that_says_the_date_is_one_prompt_and_other_numbers_are_not(day: str):
    assert "2026" not in without_dates(f"Today is {day}. Refund at most 3 times.")
    assert without_dates("Refund at most 3 times.") != without_dates("Refund at most 5 times.")


def test_constrained_calls_are_asked_of_a_parser_that_has_a_grammar(read, tmp_path: Path):
    arguments = read({"constrained": True}).server(tmp_path, threads=1).arguments()
    assert arguments[arguments.index("--tool-strict-level") + 1] == "parameter"
    assert "--tool-strict-level" not in read().server(tmp_path, threads=1).arguments()
    with pytest.raises(FlywheelError, match="no grammar for the calls of phi4_mini"):
        read({"constrained": True, "model_family": "phi4_mini"}).server(tmp_path, threads=1)


def test_examples_are_one_history_with_ids_of_their_own_and_no_open_call(read, tmp_path: Path):
    call = {"id": "c1", "type": "function", "function": {"name": "open_door", "arguments": "{}"}, "extra": 1}
    told = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "a"},
        {"role": "assistant", "tool_calls": [call]},
    ]
    whole = [*told, {"role": "tool", "content": "open", "tool_call_id": "c1"}, {"role": "assistant", "content": "done"}]
    (tmp_path / "shots.jsonl").write_text(
        json.dumps({"messages": told}) + "\n\n" + json.dumps({"messages": whole}) + "\n"
    )
    shown = read({"examples": "shots.jsonl"}).examples
    assert [message["role"] for message in shown] == [
        "user",
        "assistant",
        "tool",
        "user",
        "assistant",
        "tool",
        "assistant",
    ]
    ids = [call["id"] for message in shown for call in message.get("tool_calls", [])]
    assert (
        ids
        == ["example_1_0", "example_3_0"]
        == [message["tool_call_id"] for message in shown if message["role"] == "tool"]
    )
    assert shown[2]["content"] == "done" and "extra" not in shown[1]["tool_calls"][0]


@pytest.mark.parametrize("line", ["{", '{"messages": []}', '{"messages": [{"role": "assistant", "content": "a"}]}', '{"messages": [{"role": "user", "content": "a"}]}',
                                  '{"messages": [{"role": "user"}, {"role": "tool", "content": "x", "tool_call_id": "?"}, {"role": "assistant"}]}', "[1]"])  # fmt: skip
def test_a_broken_example_is_told_with_its_line(read, tmp_path: Path, line: str):
    (tmp_path / "shots.jsonl").write_text(line)
    with pytest.raises(FlywheelError, match=r"not an example.*") as told:
        read({"examples": "shots.jsonl"})
    assert "shots.jsonl:1" in str(told.value)


@pytest.mark.parametrize("part", ["examples", "system"])
def test_a_file_that_is_no_text_is_told_by_its_name(read, tmp_path: Path, part: str):
    (tmp_path / "latin").write_bytes("Z\u00fcrich".encode("latin-1"))
    with pytest.raises(FlywheelError, match="cannot be read") as told:
        read({part: "latin"})
    assert "latin" in str(told.value) and "save it as UTF-8" in str(told.value)
