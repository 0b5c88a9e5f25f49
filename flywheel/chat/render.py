"""Messages to tokens, the same for training and for serving.

The template file is handed to vLLM as `--chat-template` and rendered here with the same rules, so the ids a model is
trained on are the ids it is served with. A test and a check before every evaluation compare the two (design.md,
contract 6). No torch: jinja2 and tokenizers only.
"""

import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jinja2.ext
import jinja2.nodes
import jinja2.parser
import jinja2.sandbox

from flywheel.chat.families import find_family
from flywheel.errors import FlywheelError
from flywheel.toolcalls.arguments import parse_arguments

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Message = dict[str, Any]


class RenderedStep(NamedTuple):
    """One assistant step as token ids: what the model reads, and what it must write (end of turn included)."""

    prompt_ids: list[int]
    target_ids: list[int]


class GenerationTag(jinja2.ext.Extension):
    """`{% generation %}`: what the model writes itself. Trainers read it as their loss mask; here it renders its content."""

    tags = {"generation"}

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        """The block's statements, in a scope of their own as transformers gives them."""
        line = next(parser.stream).lineno
        return [jinja2.nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True)).set_lineno(line)]


class Renderer:
    """The chat template of one model family over one tokenizer.

    Args:
        tokenizer_file: the model's `tokenizer.json`.
        family: name of the family, e.g. `chatml_hermes`; see `flywheel.chat.families`.
        template: file that stands for the family's template.
    """

    def __init__(self, tokenizer_file: Path, family: str = "chatml_hermes", template: Path | None = None) -> None:
        self.family = find_family(family)
        self.template_file = template or self.family.template_file
        self.tokenizer_file = tokenizer_file
        # transformers (and so vLLM) renders with these two flags and a tojson that keeps non-ASCII and key order.
        environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTag]
        )
        environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
        self._template = environment.from_string(self.template_file.read_text(encoding="utf-8"))

    @cached_property
    def _tokenizer(self) -> "Tokenizer":
        from tokenizers import Tokenizer  # a partner's bench shows messages and counts no tokens

        try:
            return Tokenizer.from_file(str(self.tokenizer_file))
        except Exception as error:  # the library raises nothing narrower
            raise FlywheelError(f"the tokenizer cannot be read: {str(error)[:200]}", where=str(self.tokenizer_file),
                                remedy="take tokenizer.json as the model's publisher wrote it: delete the folder and add the model again, flywheel model add") from None  # fmt: skip

    @property
    def template_sha256(self) -> str:
        """Hash of the template file."""
        return hashlib.sha256(self.template_file.read_bytes()).hexdigest()

    def text(self, messages: list[Message], tools: list[dict[str, Any]], *, add_generation_prompt: bool) -> str:
        """The conversation as the template writes it."""
        return self._template.render(
            messages=[for_template(message) for message in messages],
            tools=canonical_tools(tools),
            add_generation_prompt=add_generation_prompt,
        )

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, special tokens recognised, none added."""
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, ids: list[int]) -> str:
        """Text of token ids, special tokens kept."""
        return self._tokenizer.decode(ids, skip_special_tokens=False)

    def prompt_ids(self, messages: list[Message], tools: list[dict[str, Any]]) -> list[int]:
        """Ids of a history and the generation prompt: what vLLM feeds the model for these messages."""
        return self.encode(self.text(messages, tools, add_generation_prompt=True))

    def step(self, messages: list[Message], target: Message, tools: list[dict[str, Any]]) -> RenderedStep:
        """Ids of one assistant step: `messages` is the history, `target` the assistant message that follows.

        Raises FlywheelError when the prompt is no prefix of the whole, in text or in tokens: a model trained on such a
        row would see another context than it is served with.
        """
        prompt = self.text(messages, tools, add_generation_prompt=True)
        whole = self.text([*messages, target], tools, add_generation_prompt=False)
        # The last of the family's end tokens: whatever the template writes after it belongs to the next message.
        end = max(whole.rfind(token) + len(token) for token in self.family.end_of_turn if token in whole)
        if not whole.startswith(prompt) or end <= len(prompt):
            raise self._not_a_prefix(messages)
        prompt_ids = self.encode(prompt)
        target_ids = self.encode(whole[len(prompt) : end])
        if self.encode(whole[:end]) != [*prompt_ids, *target_ids]:
            raise self._not_a_prefix(messages)
        return RenderedStep(prompt_ids, target_ids)

    def _not_a_prefix(self, messages: list[Message]) -> FlywheelError:
        return FlywheelError(
            f"the generation prompt is no prefix of the rendered step ({len(messages)} messages of history)",
            where=str(self.template_file),
            remedy="the template must render history the same with and without the next assistant message",
        )


def canonical_tools(tools: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Tools as vLLM re-writes them before rendering: name, description, parameters, in this order and nothing else."""
    return [
        {
            "type": "function",
            "function": {
                "name": tool["function"]["name"],
                "description": tool["function"].get("description", ""),
                "parameters": tool["function"].get("parameters", {}),
            },
        }
        for tool in tools
    ]


def for_template(message: Message) -> Message:
    """A message as vLLM hands it to the template: arguments as an object, `{}` where they are none."""
    calls = message.get("tool_calls")
    if not calls:
        return {**message, "content": message.get("content") or ""}
    parsed = [
        {
            **call,
            "function": {**call["function"], "arguments": parse_arguments(call["function"]["arguments"]).value or {}},
        }
        for call in calls
    ]
    return {**message, "content": message.get("content") or "", "tool_calls": parsed}
