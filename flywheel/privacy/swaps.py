r"""Swaps: values that are known to be personal, replaced in texts that are plain, JSON or JSON inside JSON.

Whole words only: a name of two letters must not change the words that contain it. A value is found however JSON spells it (`Zo\u00eb`,
a line break as `\n`, a quote as `\"`), and what takes its place is spelt as deep, so that JSON stays JSON.
"""

import json
import re
from collections.abc import Callable
from typing import Any

import msgspec

from flywheel.chat.messages import Message, messages_to_json
from flywheel.privacy.escapes import Read, read, spelt_like

# The keys of our own records (`Signal/1`, expected actions), which stay whatever a person was called.
_OWN_KEYS = re.compile(
    r'("(?:name|score|label|explanation|annotator_kind|message_index|source|observed_at|arguments)"\s*:)'
)


class Swapper:
    """Puts surrogates in the place of values, in any text of one run.

    Args:
        swaps: value -> what stands in its place: plain ASCII, but for what it has of the value. Values hold a letter or a digit.
    """

    def __init__(self, swaps: dict[str, str]) -> None:
        self._swaps = {read(value).text: instead for value, instead in swaps.items()}
        longest = sorted(self._swaps, key=len, reverse=True)
        self._pattern = re.compile("|".join(rf"(?<![^\W_]){re.escape(one)}(?![^\W_])" for one in longest))

    def text(self, text: str) -> str:
        """The text, swapped. What was JSON is JSON, and the same byte for byte around the values wherever that can be."""
        return self._still_json(text, self._swapped(text), keys=True)

    def record(self, text: str) -> str:
        """JSON text of signals or expected actions, swapped; their own keys stay."""
        parts = _OWN_KEYS.split(text)
        done = "".join(part if place % 2 else self._swapped(part) for place, part in enumerate(parts))
        return self._still_json(text, done, keys=False)

    def messages(self, messages: list[Message]) -> str:
        """Messages as JSON text, swapped in what was said and in the arguments of calls."""
        for message in messages:
            if message.content:
                message.content = self.text(message.content)
            for call in message.tool_calls or []:
                call.function.arguments = self.text(call.function.arguments)
        return messages_to_json(messages).decode()

    def _swapped(self, text: str) -> str:
        said = read(text) if "\\" in text else Read(text, [], [0])
        if not any(value in said.text for value in self._swaps):  # much faster than the pattern
            return text
        parts: list[str] = []
        done = 0
        for match in self._pattern.finditer(said.text):
            start, end = said.came_from(*match.span())
            parts += text[done:start], spelt_like(self._swaps[match.group()], text[start:end])
            done = end
        return "".join([*parts, text[done:]])

    def _still_json(self, text: str, done: str, *, keys: bool) -> str:
        """`done`, or where a swap broke JSON (a value `null`, or one with quotes around it) the same written anew."""
        if done == text or text.lstrip()[:1] not in ("{", "[") or _is_json(done):
            return done
        try:
            return json.dumps(self._rewritten(json.loads(text), keys))
        except (ValueError, RecursionError):
            return done  # it was no JSON before

    def _rewritten(self, value: Any, keys: bool) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self._rewritten(one, keys) for one in value]
        if isinstance(value, dict):
            return {self.text(key) if keys else key: self._rewritten(one, keys) for key, one in value.items()}
        if isinstance(value, int | float) and (instead := self._swaps.get(str(value))) is not None:
            return int(instead) if instead.isdecimal() else instead
        return value


def _is_json(text: str) -> bool:
    for decode in _DECODERS:
        try:
            decode(text)
        except (ValueError, RecursionError):
            continue
        return True
    return False


# The first is much faster; the second also takes half of a surrogate pair.
_DECODERS: tuple[Callable[[str], Any], ...] = (msgspec.json.decode, json.loads)
