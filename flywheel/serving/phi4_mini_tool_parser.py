"""A vLLM tool parser for Phi-4-mini: `--tool-parser-plugin THIS_FILE --tool-call-parser flywheel_phi4_mini`.

vLLM's own `phi4_mini_json` (0.32) reads the list of calls up to the first `]`, so a call whose arguments hold an array is lost, and
it streams nothing at all. This one reads the list as the JSON it is. A list that was cut off is no call: it stays text. The file
imports nothing of flywheel, so a server elsewhere can load it as it is.
"""

import json
from collections.abc import Sequence
from typing import Any

import regex
from vllm.entrypoints.generate.base.protocol import (
    DeltaFunctionCall,
    DeltaMessage,
    DeltaToolCall,
    ExtractedToolCallInformation,
    FunctionCall,
    ToolCall,
)
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.tool_parsers.abstract_tool_parser import ToolParser, ToolParserManager
from vllm.tool_parsers.utils import partial_tag_overlap

# What our template trains, and what the model writes on its own account.
MARKERS = ("functools", "<|tool_call|>")
_LIST = regex.compile(r"(?:functools|<\|tool_call\|>)\s*(?=\[)")


def read_calls(text: str) -> tuple[str, list[tuple[str, str]]]:
    """Text before the calls, and each call's name and arguments as JSON; no calls where there is no whole list of them."""
    found = _LIST.search(text)
    if found is None:
        return text, []
    try:
        listed, _ = json.JSONDecoder().raw_decode(text, found.end())
        calls = [(call["name"], call.get("arguments", call.get("parameters", {}))) for call in listed]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return text, []
    if not all(isinstance(name, str) and isinstance(arguments, dict) for name, arguments in calls):
        return text, []
    return text[: found.start()].rstrip(), [(name, json.dumps(value, ensure_ascii=False)) for name, value in calls]


class Phi4MiniToolParser(ToolParser):
    """Reads `functools[{"name": …, "arguments": {…}}, …]`, whole or as it streams."""

    engine_based_streaming = True  # so that vLLM asks for what was held back when the stream ends

    def __init__(self, tokenizer: Any, tools: list[Any] | None = None) -> None:
        super().__init__(tokenizer, tools)
        self._text = ""
        self._shown = 0  # characters of the text that were sent on as content
        self._called = False

    def adjust_request(self, request: Any) -> Any:
        """Keep special tokens in the text: a marker may be one."""
        request = super().adjust_request(request)
        if request.tools and request.tool_choice != "none":
            request.skip_special_tokens = False
        return request

    def extract_tool_calls(self, model_output: str, request: ChatCompletionRequest) -> ExtractedToolCallInformation:
        """The calls of a whole answer."""
        content, calls = read_calls(model_output)
        return ExtractedToolCallInformation(
            tools_called=bool(calls),
            tool_calls=[
                ToolCall(type="function", function=FunctionCall(name=name, arguments=arguments))
                for name, arguments in calls
            ],
            content=content or None,
        )

    def extract_tool_calls_streaming(
        self, previous_text: str, current_text: str, delta_text: str, previous_token_ids: Sequence[int],
        current_token_ids: Sequence[int], delta_token_ids: Sequence[int], request: ChatCompletionRequest,
    ) -> DeltaMessage | None:  # fmt: skip
        """Text as it comes, up to where a list may begin; the calls together, once their list is whole."""
        self._text += delta_text  # vLLM keeps no text for a parser that is asked at the end
        if self._called:
            return None
        content, calls = read_calls(self._text)
        if calls:
            self._called = True
            return DeltaMessage(content=content[self._shown :] or None, tool_calls=_deltas(calls))
        starts = [position for marker in MARKERS if (position := self._text.find(marker)) >= 0]
        held = max(partial_tag_overlap(self._text, marker) for marker in MARKERS)
        safe = self._text[: min([*starts, len(self._text) - held])].rstrip()
        sent, self._shown = safe[self._shown :], max(self._shown, len(safe))
        return DeltaMessage(content=sent) if sent else None

    def finish_streaming(self) -> DeltaMessage | None:
        """What was held back in case a list would follow, and none did."""
        rest = "" if self._called else self._text[self._shown :]
        return DeltaMessage(content=rest) if rest else None


def _deltas(calls: list[tuple[str, str]]) -> list[DeltaToolCall]:
    return [
        DeltaToolCall(
            index=index,
            id=ToolCall(function=FunctionCall(name=name, arguments=arguments)).id,
            type="function",
            function=DeltaFunctionCall(name=name, arguments=arguments),
        )
        for index, (name, arguments) in enumerate(calls)
    ]


ToolParserManager.register_module("flywheel_phi4_mini", module=Phi4MiniToolParser)
