"""What a model wrote, read back by the very parser that vLLM serves its family with, without a server.

    python -m flywheel.serving.parse     one JSON request a line in, one JSON answer a line out

A request is `{"family", "tokenizer", "tools", "text"}`, or `{"chunks": [...]}` instead of the text for a streamed answer; the answer
is an OpenAI assistant message without ids. A child process, because vLLM takes seconds to import; `Parsing` keeps one open.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from flywheel.chat.families import Family, find_family
from flywheel.chat.render import Message, canonical_tools


class Parsing:
    """An open child; `message` asks it once."""

    def __init__(self, child: "subprocess.Popen[str]") -> None:
        self._child = child

    def message(
        self, family: Family, tokenizer: Path, tools: list[dict[str, Any]], written: str | Sequence[str]
    ) -> Message:
        """The assistant message in a generated text (end of turn left off), or in the chunks of a streamed one."""
        body = {"text": written} if isinstance(written, str) else {"chunks": list(written)}
        request = {"family": family.name, "tokenizer": str(tokenizer), "tools": canonical_tools(tools), **body}
        assert self._child.stdin is not None and self._child.stdout is not None
        self._child.stdin.write(json.dumps(request) + "\n")
        self._child.stdin.flush()
        return json.loads(self._child.stdout.readline())


@contextmanager
def parsing() -> Iterator[Parsing]:
    """One child for as long as the block lasts."""
    command = [sys.executable, "-m", "flywheel.serving.parse"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8") as child:
        try:
            yield Parsing(child)
        finally:
            child.kill()


@cache
def _parser(family_name: str, tokenizer_file: str) -> tuple[Any, Any]:
    from transformers import PreTrainedTokenizerFast
    from vllm.parser import ParserManager
    from vllm.tool_parsers import ToolParserManager

    family = find_family(family_name)
    if family.tool_parser_plugin:
        ToolParserManager.import_tool_parser(str(family.tool_parser_plugin))
    tokenizer: Any = PreTrainedTokenizerFast(tokenizer_file=tokenizer_file)
    return tokenizer, ParserManager.get_parser(family.tool_parser, enable_auto_tools=True, tokenizer=tokenizer)


def _answer(asked: dict[str, Any]) -> Message:
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest

    tokenizer, parser_class = _parser(asked["family"], asked["tokenizer"])
    history = [{"role": "user", "content": "x"}]
    request = ChatCompletionRequest(messages=history, tools=asked["tools"] or None, model="base", seed=0)  # pyright: ignore
    parser = parser_class(tokenizer, request.tools, chat_template_kwargs={})
    if "chunks" in asked:
        return _streamed(parser, tokenizer, request, asked["chunks"])
    _, content, calls = parser.parse(asked["text"], request, enable_auto_tools=True)
    return {
        "content": content,
        "tool_calls": [{"name": call.name, "arguments": call.arguments} for call in calls or []],
    }


def _streamed(parser: Any, tokenizer: Any, request: Any, chunks: list[str]) -> Message:
    content, calls = "", {}
    for number, chunk in enumerate(chunks):
        ids = tokenizer.encode(chunk, add_special_tokens=False)
        delta = parser.parse_delta(chunk, ids, request, prompt_token_ids=[], finished=number == len(chunks) - 1)
        if delta is None:
            continue
        content += delta.content or ""
        for part in delta.tool_calls:
            call = calls.setdefault(part.index, {"name": "", "arguments": ""})
            call["name"] += part.function.name or ""
            call["arguments"] += part.function.arguments or ""
    return {"content": content or None, "tool_calls": [calls[index] for index in sorted(calls)]}


def main() -> None:
    """Answer until the input ends."""
    answers = sys.stdout
    sys.stdout = sys.stderr  # vLLM logs to stdout; only answers belong there
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
