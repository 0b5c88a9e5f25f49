"""Adapters: the same run out of every format, the traps of each, and the account of ten thousand broken records."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from flywheel.lake import Lake
from flywheel.traces.adapters import ADAPTERS, sniff
from flywheel_tests.traces.adapters import samples
from flywheel_tests.traces.adapters.samples import FORMATS
from flywheel_tests.traces.test_inbox import WEEK, Read, account, read


def lay(folder: Path, records: list, name: str = "a.jsonl") -> Path:
    folder.mkdir(exist_ok=True, parents=True)
    (folder / name).write_bytes("".join(json.dumps(record) + "\n" for record in records).encode())
    return folder


def rows(reading: Read) -> list[dict]:
    return reading.traces[WEEK]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_run(name: str, tmp_path: Path, lake: Lake):
    reading = read(lay(tmp_path / "in", FORMATS[name]()), lake)
    total, accepted, duplicate, quarantined = account(reading)
    assert (duplicate, quarantined) == (0, 0) and total == accepted >= len(FORMATS[name]())
    (row,) = rows(reading)
    messages = json.loads(row["messages"])
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "assistant"]
    assert messages[0]["content"] == "where is A1?" and messages[3]["content"] == "It is shipped."
    call = messages[1]["tool_calls"][0]
    assert call["function"]["name"] == "get_order" and json.loads(call["function"]["arguments"]) == {"order_id": "A1"}
    assert messages[2] == {"role": "tool", "content": samples.RESULT, "tool_call_id": call["id"]}
    assert (row["assistant_steps"], row["tool_calls"]) == (2, 1)
    if name not in ("otel second", "otel first", "tau"):
        tools = {
            t["tools_sha256"]: json.loads(t["tools"]) for t in lake.read_weeks("toolsets", workflow="desk").to_dicts()
        }
        assert tools[row["tools_sha256"]] == samples.TOOLS


def test_sniffing_tells_them_apart():
    assert {name: sniff(make()) for name, make in FORMATS.items()} == {
        "chat_completions": "chat_completions", "nvidia_flywheel": "nvidia_flywheel", "otel third": "otel_genai", "otel second": "otel_genai",
        "otel first": "otel_genai", "openinference": "openinference", "langfuse": "langfuse", "messages": "messages", "tau": "messages",
    }  # fmt: skip
    assert sniff([{"what": 1}]) == "messages"


def test_what_a_source_says_of_a_run_is_kept(tmp_path: Path, lake: Lake):
    (row,) = rows(read(lay(tmp_path / "langfuse", samples.langfuse()), lake))
    assert (row["feedback_score"], row["feedback_comment"], row["conversation_id"]) == (-1.0, "no", "conv")
    assert row["principal_ref"] and "person-9" not in json.dumps(row, default=str)
    (row,) = rows(read(lay(tmp_path / "inference", samples.openinference()), Lake(tmp_path / "2")))
    assert json.loads(row["signals"])[0] == {
        "name": "correct",
        "score": 1.0,
        "annotator_kind": "HUMAN",
        "source": "opentelemetry",
    }
    (row,) = rows(read(lay(tmp_path / "tau", samples.tau()), Lake(tmp_path / "3")))
    assert (row["reward"], row["outcome_status"], row["conversation_id"]) == (0.0, "failure", "task-0")
    assert json.loads(row["expected_actions"]) == [{"name": "get_order", "arguments": {"order_id": "A1"}}]
    (row,) = rows(read(lay(tmp_path / "chat", samples.chat()), Lake(tmp_path / "4")))
    assert (row["input_tokens"], row["output_tokens"], row["response_model"]) == (20, 4, "m-1")


def test_requests_in_two_files_are_one_run_and_a_run_that_goes_on_keeps_its_id(tmp_path: Path, lake: Lake):
    first, second = samples.chat()
    lay(tmp_path / "in", [first], "a.jsonl")
    (before,) = rows(read(tmp_path / "in", lake))
    lay(tmp_path / "in", [second, first], "b.jsonl")
    reading = read(tmp_path / "in", lake)
    (after,) = rows(reading)
    assert account(reading) == (3, 2, 1, 0)
    assert after["trace_id"] == before["trace_id"] and after["content_sha256"] != before["content_sha256"]


def test_two_conversations_that_begin_alike_stay_two(tmp_path: Path, lake: Lake):
    one, other = samples.chat(1), samples.chat(2, started=samples.START + 60)
    reading = read(lay(tmp_path / "in", [one[0], other[0], other[1], one[1]]), lake)
    assert account(reading) == (4, 4, 0, 0) and len(rows(reading)) == 2


def test_streamed_chunks_are_put_together(tmp_path: Path, lake: Lake):
    parts = ['{"order', '_id": "A1"}']
    chunks = [
        {
            "id": "x",
            "choices": [
                {
                    "delta": {
                        "tool_calls": [{"index": 0, "id": "c1", "function": {"name": "get_order", "arguments": ""}}]
                    }
                }
            ],
        }
    ]
    chunks += [
        {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": part}}]}}]} for part in parts
    ]
    record = {**samples.chat()[0], "response": chunks}
    (row,) = rows(read(lay(tmp_path / "in", [record]), lake))
    assert json.loads(row["messages"])[1]["tool_calls"][0]["function"]["arguments"] == '{"order_id": "A1"}'


def test_parallel_results_out_of_order_and_missing_ids_are_paired(tmp_path: Path, lake: Lake):
    calls = [
        {"id": f"c{n}", "type": "function", "function": {"name": "get_order", "arguments": "{}"}} for n in range(2)
    ]
    told = [
        {"role": "tool", "tool_call_id": "c1", "content": "one"},
        {"role": "tool", "tool_call_id": "c0", "content": "zero"},
    ]
    without = [
        {"function": {"name": "get_order", "arguments": {}}},
        {"function": {"name": "get_order", "arguments": None}},
    ]
    records = [
        {"id": "a", "messages": [samples.ASK, {"role": "assistant", "tool_calls": calls}, *told, samples.SAID]},
        {"id": "b", "messages": [samples.ASK, {"role": "assistant", "tool_calls": without}, {"role": "tool", "content": "1"}, {"role": "tool", "content": "2"}]},
    ]  # fmt: skip
    found = {row["source_id"]: json.loads(row["messages"]) for row in rows(read(lay(tmp_path / "in", records), lake))}
    assert [message["tool_call_id"] for message in found["a"] if message["role"] == "tool"] == ["c1", "c0"]
    assert [message["tool_call_id"] for message in found["b"] if message["role"] == "tool"] == ["call_1_0", "call_1_1"]


def test_a_span_without_content_names_the_switch(tmp_path: Path, lake: Lake):
    record = samples._otlp({"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"})
    reading = read(lay(tmp_path / "in", [record]), lake)
    (row,) = reading.quarantined[WEEK]
    assert row["reason_code"] == "content_not_captured" and "CAPTURE_MESSAGE_CONTENT" in row["remedy"]


def test_a_tau2_file_holds_many_runs(tmp_path: Path, lake: Lake):
    runs = [
        {"id": f"r{n}", "task_id": "7", "messages": samples.MESSAGES, "reward_info": {"reward": n}} for n in range(2)
    ]
    tasks = [{"id": "7", "evaluation_criteria": {"actions": [{"name": "get_order", "arguments": {"order_id": "A1"}}]}}]
    lay(tmp_path / "in", []).joinpath("results.json").write_text(
        json.dumps({"tasks": tasks, "simulations": runs, "pad": "x" * 2000}, indent=1)
    )
    reading = read(tmp_path / "in", lake)
    assert account(reading) == (2, 2, 0, 0)
    assert {row["outcome_status"] for row in rows(reading)} == {"success", "failure"}


def test_gzip_and_zstd_and_arrays_are_read_as_lines_are(tmp_path: Path, lake: Lake):
    plain = lay(tmp_path / "in", [record for n in range(5) for record in samples.messages(n)]) / "a.jsonl"
    text = plain.read_bytes()
    expected = rows(read(tmp_path / "in", lake))
    for number, (name, data) in enumerate({
        "a.jsonl.gz": gzip.compress(text), "a.jsonl.zst": pa.Codec("zstd").compress(text, asbytes=True),
        "a.json": json.dumps([json.loads(line) for line in text.splitlines()], indent=1).encode(),
    }.items()):  # fmt: skip
        folder = tmp_path / f"in{number}"
        folder.mkdir()
        (folder / name).write_bytes(data)
        found = rows(read(folder, Lake(tmp_path / f"lake{number}")))
        assert [row["content_sha256"] for row in found] == [row["content_sha256"] for row in expected], name


def test_an_object_store_is_an_inbox(lake: Lake):
    import fsspec

    store = fsspec.filesystem("memory")
    store.pipe("/bucket/logs/a.jsonl", json.dumps(samples.messages()[0]).encode())
    assert len(rows(read("memory://bucket/logs", lake))) == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | st.sampled_from(["role", "content", "id", "type"]), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
PER_EXAMPLE = 60


def places(value: object, path: tuple = ()) -> list[tuple]:
    inner = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    return [path, *(place for key, one in inner for place in places(one, (*path, key)))]


@st.composite
def broken(draw: st.DrawFn, name: str) -> bytes:
    """A record of the format with one to three places replaced by anything, taken out or cut off."""
    record = json.loads(json.dumps(draw(st.sampled_from(FORMATS[name]()))))
    for _ in range(draw(st.integers(0, 3))):
        path = draw(st.sampled_from(places(record)))
        if not path:
            continue
        holder = record
        for key in path[:-1]:
            holder = holder[key]
        if draw(st.booleans()):
            holder[path[-1]] = draw(JSON)
        elif isinstance(holder, dict):
            holder.pop(path[-1], None)
    data = json.dumps(record).encode("utf-8", "surrogatepass")
    cut = draw(st.integers(0, 40))
    return data[:-cut] if 0 < cut < 8 else data


@pytest.mark.parametrize("name", FORMATS)
def test_ten_thousand_broken_records_are_accounted_for(name: str, tmp_path_factory: pytest.TempPathFactory):
    """22 examples of 60 records for each of nine shapes: 11,880 records, every one in the account."""
    seen = 0

    @settings(
        max_examples=22,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(broken(name), min_size=PER_EXAMPLE, max_size=PER_EXAMPLE))
    def feed(lines: list[bytes]) -> None:
        nonlocal seen
        root = tmp_path_factory.mktemp("fuzz")
        (root / "in").mkdir()
        (root / "in" / "a.jsonl").write_bytes(b"\n".join(lines) + b"\n")
        options = {"trace_format": sniff([json.loads(json.dumps(FORMATS[name]()[0]))])}
        reading = read(root / "in", Lake(root / "lake"), **options)
        total, accepted, duplicate, quarantined = account(reading)
        whole = total == accepted + duplicate + quarantined and total >= sum(bool(line.strip()) for line in lines)
        assert whole, (total, accepted, duplicate, quarantined)
        assert all(row["remedy"] and row["reason_code"] for row in reading.quarantined[WEEK])
        seen += total

    feed()
    assert seen >= 1_200


def test_every_adapter_is_one_of_the_two_kinds():
    for module in ADAPTERS.values():
        assert hasattr(module, "read") != hasattr(module, "exchanges") and module.__doc__
