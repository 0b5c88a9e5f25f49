"""A server on a unix socket that answers chat completions as a function says: what a model, or a broken proxy, would."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from flywheel.chat.render import Renderer

Body = dict[str, Any]
# Status, content type and body.
Raw = tuple[int, str, str]


@asynccontextmanager
async def serving(socket: Path, answer: Callable[[Body], Raw | None]) -> AsyncIterator[None]:
    """Serve until the block ends; `answer` gets each request's JSON, None never answers it."""

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(
                    int(line.split(b":")[1])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length")
                )
                found = answer(json.loads(await reader.readexactly(length)))
                if found is None:
                    await asyncio.sleep(60)
                    return
                status, kind, text = found
                data = text.encode()
                writer.write(
                    f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(data)}\r\n\r\n".encode()
                    + data
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_unix_server(connection, str(socket))
    try:
        yield
    finally:
        server.close()


def completion(
    renderer: Renderer,
    said: str | None = None,
    calls: list[tuple[str, str]] | None = None,
    *,
    finish: str | None = None,
) -> Raw:
    """A chat completion as vLLM writes it; calls are (name, arguments as the model wrote them)."""
    message: dict[str, Any] = {"role": "assistant", "content": said}
    if calls:
        message["tool_calls"] = [{"id": f"x{n}", "type": "function", "function": {"name": name, "arguments": arguments}}
                                 for n, (name, arguments) in enumerate(calls)]  # fmt: skip
    ids = renderer.encode(said or json.dumps(calls))
    choice = {"message": message, "finish_reason": finish or ("tool_calls" if calls else "stop"), "token_ids": ids}
    answer = {"choices": [choice], "prompt_token_ids": [1, 2, 3], "usage": {"completion_tokens": len(ids)}}
    return 200, "application/json", json.dumps(answer)


def door_model(renderer: Renderer) -> Callable[[Body], Raw]:
    """A model that does everything the door pack's benchmark asks."""

    def answer(body: Body) -> Raw:
        messages = body["messages"]
        last, asked = messages[-1], next(m["content"] for m in messages if m["role"] == "user")
        if last["role"] == "tool":
            return completion(renderer, "it is jammed" if "JAMMED" in last["content"] else "it is done")
        door = next((d for d in ("red", "green", "blue", "gold") if d in asked), None)
        if door is None:
            return completion(renderer, "doors only")
        return completion(
            renderer, None, [(f"{'open' if 'open' in asked else 'close'}_door", json.dumps({"door": door}))]
        )

    return answer
