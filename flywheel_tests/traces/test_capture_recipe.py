"""The capture recipe of docs/traces.md, as it stands there: what it records, the inbox reads."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import httpx

from flywheel.lake import Lake
from flywheel.partitions import week_of
from flywheel_tests.traces.adapters.samples import TOOLS
from flywheel_tests.traces.test_inbox import account, read

DOCUMENT = Path(__file__).parents[2] / "docs" / "traces.md"


def test_the_recipe_records_what_the_inbox_reads(tmp_path: Path, lake: Lake):
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.S)
    (tmp_path / "in").mkdir()

    def answer(request: httpx.Request) -> httpx.Response:
        said = {"role": "assistant", "content": f"you sent {len(json.loads(request.content)['messages'])}"}
        choice = {"index": 0, "message": said, "finish_reason": "stop"}
        body = {
            "id": f"chatcmpl-{said['content']}",
            "object": "chat.completion",
            "created": 1_767_690_000,
            "model": "m",
            "choices": [choice],
        }
        return httpx.Response(200, json=body)

    # Only the wire is replaced: the client and the hook are the recipe's.
    code = code.replace("httpx.Client(", "httpx.Client(transport=TRANSPORT, ")
    names = {
        "LOG": str(tmp_path / "in" / "calls.jsonl"),
        "URL": "http://127.0.0.1:1/v1",
        "TRANSPORT": httpx.MockTransport(answer),
    }
    exec(compile(code, str(DOCUMENT), "exec"), names)
    messages: list = [{"role": "user", "content": "hello"}]
    for _ in range(2):
        said = names["client"].chat.completions.create(model="m", messages=messages, tools=TOOLS)  # type: ignore[attr-defined]
        messages += [
            {"role": "assistant", "content": said.choices[0].message.content},
            {"role": "user", "content": "again"},
        ]
    week = week_of(datetime.now(UTC))
    found = read(tmp_path / "in", lake, week=week)
    rows = found.traces[week]
    assert account(found)[0] == 2 and len(rows) == 1, "two calls are stitched into one run"
    assert [m["content"] for m in json.loads(rows[0]["messages"])] == ["hello", "you sent 1", "again", "you sent 3"]
    assert rows[0]["principal_ref"] and rows[0]["tools_sha256"]
