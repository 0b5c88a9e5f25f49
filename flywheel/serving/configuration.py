"""A configuration: all that decides what a model is asked and how it answers, besides the cases and the code.

A person writes what differs from the pack into a small YAML or JSON file; everything else is the pack's. What goes here: the file,
what it comes to, and its hash. What does not: running it (`flywheel.evaluation`), judging it (`flywheel.promotion`).
"""

import hashlib
import json
import re
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flywheel.chat.families import FamilyName, find_family
from flywheel.chat.render import Message, Renderer, canonical_tools
from flywheel.errors import FlywheelError
from flywheel.serving.adapters import largest_rank
from flywheel.serving.vllm_server import BASE, PINNED_VLLM, ServerSpec
from flywheel.toolcalls.arguments import sha256_of
from flywheel.workflows.base_model import BaseModel as Base
from flywheel.workflows.base_model import find_base_model
from flywheel.workflows.evaluation_settings import Decoding
from flywheel.workflows.loader import load_tools
from flywheel.workflows.pack import Pack
from flywheel.workflows.serving_settings import EndpointSettings

PACK = "pack"
# Parsers of vLLM 0.32 with a grammar of their calls.
CONSTRAINED_PARSERS = ("hermes", "qwen3_xml")
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_DATES = re.compile(
    rf"\b(?:\d{{4}}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?(?:\.\d+)?Z?)?|\d{{1,2}}:\d\d(?::\d\d)?|\d{{1,2}}\.? {_MONTH} \d{{4}}|"
    rf"{_MONTH} \d{{1,2}},? \d{{4}}|\d{{1,2}}[./]\d{{1,2}}[./]\d{{4}}|(?:mon|tues|wednes|thurs|fri|satur|sun)day)\b",
    re.IGNORECASE,
)


class ConfigurationFile(BaseModel):
    """What a person writes; paths are relative to the file, and what is left out is the pack's.

    Attributes:
        base_model: name of a model in the cache (`flywheel model list`).
        model_family: its template and parser, where they are not the pack's.
        adapter: `base` for none, or an adapter's id; by default what serves, and `base` on another base model.
        quantization: vLLM's `--quantization`; a checkpoint that says so itself needs none.
        system, tools, template: files that stand for the pack's system prompt and tools, and for the family's template.
        decoding, max_model_len: as in workflow.yaml.
        vllm_python: interpreter of an environment with another vLLM.
        examples: JSONL of conversations ({"messages"} a line) shown before every case: few-shot.
        constrained: calls can only be written as their tools' schemas allow.
        endpoint: an OpenAI-compatible server that is asked instead of one of ours.
    """

    model_config = ConfigDict(extra="forbid")

    base_model: str | None = None
    model_family: FamilyName | None = None
    adapter: str | None = None
    quantization: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_-]+$")
    system: str | None = None
    tools: str | None = None
    template: str | None = None
    decoding: Decoding | None = None
    max_model_len: int | None = Field(default=None, ge=128)
    vllm_python: str | None = None
    examples: str | None = None
    constrained: bool = False
    endpoint: EndpointSettings | None = None


@dataclass(frozen=True)
class Configuration:
    """A whole configuration.

    Attributes:
        name: of its file, without the ending; `pack` for the pack as it is.
        pack: the pack with this configuration's system prompt, tools and settings.
        base: the base model.
        adapter_id: `base`, or the adapter.
        template: file that stands for the family's template; None for the family's own.
        quantization: vLLM's; None where the checkpoint says it, or nothing is quantised.
        python: interpreter of another vLLM; None for this environment's.
        examples: messages shown between the system prompt and every case.
        constrained: calls can only be written as their tools' schemas allow.
        endpoint: the server that is asked instead; template, adapter and vLLM are then its own affair, `adapter_id` is its model's name.
    """

    name: str
    pack: Pack
    base: Base
    adapter_id: str
    template: Path | None = None
    quantization: str | None = None
    python: Path | None = None
    examples: tuple[Message, ...] = ()
    constrained: bool = False
    endpoint: EndpointSettings | None = None

    @cached_property
    def renderer(self) -> Renderer:
        """Renders as its server does."""
        return Renderer(self.base.tokenizer_file, self.pack.settings.model_family, self.template)

    def server(self, checkpoints: Path, *, threads: int, others: tuple[str, ...] = ()) -> ServerSpec:
        """What is served for it; `others` are adapters of another configuration on the same server.

        Args:
            checkpoints: folder of the workflow's adapters.
        """
        own = self.pack.settings
        if self.constrained and find_family(own.model_family).tool_parser not in CONSTRAINED_PARSERS:
            raise FlywheelError(
                f"vLLM {PINNED_VLLM} has no grammar for the calls of {own.model_family}", where=f"configuration {self.name}: constrained",
                remedy=f"leave it out, or take a family whose parser is one of: {', '.join(CONSTRAINED_PARSERS)}",
            )  # fmt: skip
        adapters = {one: checkpoints / one for one in sorted({self.adapter_id, *others} - {BASE})}
        return ServerSpec(
            model=self.base.folder, family=find_family(own.model_family), adapters=adapters,
            max_model_len=own.max_model_len, max_num_seqs=own.evaluation.concurrency,
            max_lora_rank=largest_rank(adapters.values(), least=max(8, own.lora_rank)), threads=threads, template=self.template, quantization=self.quantization, python=self.python,
            constrained=self.constrained,
        )  # fmt: skip

    def parts(self, vllm: str | None = None) -> dict[str, Any]:
        """Everything by name, hashes for what is long; `vllm` is the version its server named, else the pinned one."""
        own = self.pack.settings
        parts = {
            "base_model_sha256": self.base.sha256, "adapter_id": self.adapter_id, "quantization": self.quantization,
            "model_family": own.model_family, "chat_template_sha256": self.renderer.template_sha256,
            "system_sha256": text_sha256(self.pack.system),
            "system_without_dates_sha256": text_sha256(without_dates(self.pack.system)), "tools_sha256": tools_sha256(self.pack.tools),
            "decoding": own.decoding.model_dump(), "max_model_len": own.max_model_len,
            "vllm": (vllm or (str(self.python) if self.python else PINNED_VLLM)).split("+")[0],
            "examples_sha256": sha256_of(list(self.examples)) if self.examples else None, "constrained": self.constrained, "endpoint": None,
        }  # fmt: skip
        return parts if self.endpoint is None else parts_of_endpoint(parts, self.endpoint.asked())

    def asked_alike(self, other: "Configuration") -> bool:
        """Whether one server can answer for both at once: they differ in nothing but the adapter."""
        return {**self.parts(), "adapter_id": ""} == {**other.parts(), "adapter_id": ""}


def parts_of_endpoint(parts: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    """The parts of a configuration whose answers come from an endpoint: what is its own affair is nobody's to say.

    Args:
        asked: what it is asked, as `EndpointSettings.asked` has it.
    """
    unknown = ("base_model_sha256", "quantization", "model_family", "chat_template_sha256", "vllm")
    return {**parts, **dict.fromkeys(unknown), "endpoint": asked}


def configuration_sha256(parts: dict[str, Any]) -> str:
    """Short hash of a configuration's parts."""
    return sha256_of(parts)[:16]


def text_sha256(text: str) -> str:
    """Hash of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def without_dates(text: str) -> str:
    """A prompt without dates, times and weekdays: one that says what day it is stays the same prompt the next day."""
    return " ".join(_DATES.sub("…", text).split())


def tools_sha256(tools: list[dict[str, Any]]) -> str:
    """Hash of the tools as the model sees them, whatever else is written beside them."""
    return sha256_of(canonical_tools(tools))


def differing(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Names of the parts in which two configurations differ."""
    return [name for name in one if one[name] != other.get(name)]


def configuration_of(file: Path | str, pack: Pack, models: Path, *, serving: str, base_model: str | None = None) -> Configuration:  # fmt: skip
    """The configuration that a file comes to, or the pack's own for the word `pack`.

    Args:
        models: cache of base models.
        serving: adapter that serves now.
        base_model: the installation's choice instead of the pack's base model.

    Raises FlywheelError naming file and remedy where it cannot be read or names what is not there.
    """
    usual = base_model or pack.settings.base_model
    if str(file) == PACK:
        return Configuration(PACK, pack, find_base_model(models, usual), serving)
    file = Path(file)
    written = _read(file)
    base = find_base_model(models, written.base_model or usual)
    changes: dict[str, Any] = {
        name: value for name in ("model_family", "decoding", "max_model_len") if (value := getattr(written, name)) is not None
    }  # fmt: skip
    own = replace(pack, settings=pack.settings.model_copy(update=changes))
    if written.system is not None:
        own = replace(own, system=_text(_there(file, written.system)))
    if written.tools is not None:
        tools = load_tools(_there(file, written.tools))
        own = replace(own, tools=tools, tools_sha256=sha256_of([tool["function"] for tool in tools]))
    if written.endpoint and (served := [name for name in _OF_A_SERVER if getattr(written, name)]):
        raise FlywheelError(
            f"an endpoint decides {', '.join(served)} itself", where=str(file), remedy="remove one of the two"
        )
    otherwise = serving if written.base_model in (None, usual) else BASE
    named = written.endpoint.model if written.endpoint else written.adapter or otherwise
    return Configuration(
        file.stem, own, base, named, None if written.template is None else _there(file, written.template),
        written.quantization, None if written.vllm_python is None else _there(file, written.vllm_python),
        () if written.examples is None else _examples(_there(file, written.examples)), written.constrained, written.endpoint,
    )  # fmt: skip


def _read(file: Path) -> ConfigurationFile:
    remedy = "see docs/gate.md for its fields"
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
        return ConfigurationFile.model_validate(values if values is not None else {})
    except FileNotFoundError:
        raise FlywheelError("there is no such configuration", where=str(file), remedy="name a file, or pack") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise FlywheelError(f"the configuration cannot be read: {error}", where=str(file), remedy=remedy) from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the file"
        raise FlywheelError(f"{key}: {first['msg']}", where=str(file), remedy=remedy) from None


_OF_A_SERVER = ("base_model", "model_family", "adapter", "quantization", "template", "vllm_python", "constrained")


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FlywheelError(f"the file cannot be read: {error}", where=str(file), remedy="save it as UTF-8") from None


def _examples(file: Path) -> tuple[Message, ...]:
    """The conversations of a file as one history, system prompts left out; a call left unanswered at an end is answered by `done`."""
    shown: list[Message] = []
    for number, line in enumerate(_text(file).split("\n"), 1):
        if not line.strip():
            continue
        try:
            messages = [message for message in json.loads(line)["messages"] if message["role"] != "system"]
            if not messages or messages[0]["role"] != "user" or messages[-1]["role"] != "assistant":
                raise TypeError("an example begins with the user and ends with the assistant")
            shown += _numbered(messages, number)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise FlywheelError(f"not an example: {error}", where=f"{file}:{number}", remedy='write {"messages": [OpenAI messages]}') from None  # fmt: skip
    return tuple(shown)


def _numbered(messages: list[Message], line: int) -> list[Message]:
    """Messages whose call ids are this line's own, so that examples beside each other stay apart."""
    names: dict[str, str] = {}
    made: list[Message] = []
    for message in messages:
        calls = [
            {"id": names.setdefault(str(call["id"]), f"example_{line}_{len(names)}"), "type": "function",
             "function": {"name": call["function"]["name"], "arguments": call["function"]["arguments"]}}
            for call in message.get("tool_calls") or []
        ]  # fmt: skip
        if message["role"] == "tool":
            made.append(
                {"role": "tool", "content": message["content"], "tool_call_id": names[str(message["tool_call_id"])]}
            )
        else:
            made.append(
                {"role": message["role"], "content": message.get("content"), **({"tool_calls": calls} if calls else {})}
            )
    open_calls = [call["id"] for call in made[-1].get("tool_calls") or []]
    return [*made, *({"role": "tool", "content": "done", "tool_call_id": one} for one in open_calls)]


def _there(file: Path, named: str) -> Path:
    """A file that the configuration names, absolute; symbolic links of environments are kept."""
    path = (file.parent / named).absolute()
    if not path.is_file():
        raise FlywheelError(f"the configuration names {named}, which is not there", where=str(file),
                            remedy="paths are relative to the configuration's own file")  # fmt: skip
    return path
