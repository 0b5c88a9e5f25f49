"""Does a pack fit its model family, and is its model served as it is trained? What `flywheel doctor` asks."""

import asyncio
from pathlib import Path
from typing import Any

from flywheel.chat import Renderer
from flywheel.chat.golden import GOLDEN, GOLDEN_TOOLS, steps
from flywheel.errors import FlywheelError
from flywheel.serving.client import ChatClient
from flywheel.serving.parity import check_prompt_parity
from flywheel.serving.parse import Parsing, parsing
from flywheel.serving.vllm_server import ServerSpec, vllm_server
from flywheel.settings import Settings
from flywheel.toolcalls.arguments import parse_arguments
from flywheel.workflows.base_model import BaseModel, read_json
from flywheel.workflows.pack import Pack


def check_template(pack: Pack) -> str:
    """The pin of the family's template, and that it shows every tool; raises FlywheelError where it does not."""
    renderer = Renderer(Path(), pack.settings.model_family)
    renderer.family.check_template()
    history = [{"role": "system", "content": pack.system}, {"role": "user", "content": "?"}]
    text = renderer.text(history, pack.tools, add_generation_prompt=True)
    hidden = [tool["function"]["name"] for tool in pack.tools if tool["function"]["name"] not in text]
    if hidden:
        raise FlywheelError(f"the template does not show the tools {', '.join(hidden)}", where=str(renderer.template_file),
                            remedy="the model would never call them: mend the template, or name another model_family")  # fmt: skip
    return f"{renderer.family.name}, template as pinned, {len(pack.tools)} tools shown; at full size: {renderer.family.full_size_runs}"


def check_model_fits(pack: Pack, base: BaseModel) -> str:
    """That the base model takes prompts as long as the pack has them, knows the tokens of its family and stops where its turns end.

    Raises FlywheelError where it does not; see `check_tokens`.
    """
    said = check_tokens(pack.settings.model_family, base)
    config = _read(base.folder / "config.json")
    text = config.get("text_config")
    context = (text if isinstance(text, dict) else config).get("max_position_embeddings")
    if isinstance(context, int) and pack.settings.max_model_len > context:
        raise FlywheelError(
            f"{base.name} takes {context:,} tokens, the pack's max_model_len is {pack.settings.max_model_len:,}", where=str(base.folder / "config.json"),
            remedy="lower max_model_len and training.max_prompt_tokens in workflow.yaml (datasets.context_policy says how your agent shortens "
            "its history), or take a base model with a longer context",
        )  # fmt: skip
    return said


def check_tokens(family_name: str, base: BaseModel) -> str:
    """That a base model knows a family's tokens and stops where its turns end; raises FlywheelError where it does not."""
    renderer = Renderer(base.tokenizer_file, family_name)
    family = renderer.family
    unknown = [token for token in family.special_tokens if len(renderer.encode(token)) != 1]
    if unknown:
        raise FlywheelError(f"{base.name} does not know {', '.join(unknown)} as one token each", where=str(base.tokenizer_file),
                            remedy=f"it is no {family.name} model: set model_family in workflow.yaml to its own")  # fmt: skip
    missing = [token for token in family.end_of_turn if renderer.encode(token)[0] not in _ends(base.folder, renderer)]
    if missing:
        raise FlywheelError(f"the server would not stop {base.name} at {', '.join(missing)}", where=str(base.folder / "generation_config.json"),
                            remedy="list the token's id under eos_token_id there: turns end with it")  # fmt: skip
    return f"{len(family.special_tokens)} tokens of {family.name} known, stops at {' and '.join(family.end_of_turn)}"


def _ends(folder: Path, renderer: Renderer) -> set[int]:
    """Ids vLLM stops at: those of generation_config.json (else config.json), and the tokenizer's end of sequence."""
    named = next((name for name in ("generation_config.json", "config.json") if (folder / name).is_file()), "")
    ids = _read(folder / named).get("eos_token_id") if named else None
    token = _read(folder / "tokenizer_config.json").get("eos_token")
    token = token.get("content") if isinstance(token, dict) else token
    own = renderer.encode(token) if isinstance(token, str) else []
    return {*(one for one in (ids if isinstance(ids, list) else [ids]) if isinstance(one, int)), *own}


def _read(file: Path) -> dict[str, Any]:
    return read_json(file) if file.is_file() else {}


def check_served(settings: Settings, pack: Pack, base: BaseModel) -> str:
    """Start vLLM on the base model: its prompt ids are ours, and it reads back the calls we train. About half a minute.

    Raises FlywheelError at the first difference, or where vLLM cannot serve the family on this machine.
    """
    renderer = Renderer(base.tokenizer_file, pack.settings.model_family)
    log = settings.home / "scratch" / "doctor" / f"{pack.name}.log"
    spec = ServerSpec(base.folder, renderer.family, max_model_len=pack.settings.max_model_len, threads=settings.threads)
    asked = [{"role": "system", "content": pack.system}, {"role": "user", "content": "Hello"}]

    async def compare() -> int:
        async with ChatClient(server.socket, renderer) as client:
            compared = await check_prompt_parity(client, renderer, GOLDEN, GOLDEN_TOOLS)
            return compared + await check_prompt_parity(client, renderer, [asked], pack.tools)

    with vllm_server(spec, log=log, start_seconds=settings.serve_start_seconds) as server:
        compared = asyncio.run(compare())
    with parsing() as child:
        read = sum(reads_back(child, renderer, *step) for conversation in GOLDEN for step in steps(conversation))
    return f"{compared} prompts have the ids they are trained with, {read} assistant turns are read back as written"


def reads_back(child: Parsing, renderer: Renderer, history: list[dict[str, Any]], target: dict[str, Any]) -> int:
    """1 when vLLM's parser reads an assistant turn back as the calls it was written from; raises FlywheelError when not."""
    ids = renderer.step(history, target, GOLDEN_TOOLS).target_ids
    answer = child.message(renderer.family, renderer.tokenizer_file, GOLDEN_TOOLS, renderer.decode(ids[:-1]))
    meant = [_call(call["function"]) for call in target.get("tool_calls", [])]
    if [_call(call) for call in answer["tool_calls"]] != meant:
        raise FlywheelError(f"vLLM's parser {renderer.family.tool_parser} reads {answer['tool_calls']} where {meant} was written",
                            where=str(renderer.template_file), remedy="template and parser disagree about the call format")  # fmt: skip
    return 1


def _call(function: dict[str, Any]) -> tuple[str, dict[str, Any] | None]:
    return function["name"], parse_arguments(function["arguments"]).value
