"""Stands in for `python -m vllm.entrypoints.openai.api_server`: the endpoints that evaluation and the demo's traffic ask."""

import argparse
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from flywheel.chat.families import FAMILIES
from flywheel.chat.render import Renderer
from flywheel_tests.stand_ins.model import log_probabilities, next_message


def application(renderer: Renderer, served: set[str]) -> Starlette:
    """The server as an ASGI application; `served` are the names it answers to."""

    async def health(request: Request) -> JSONResponse:
        return JSONResponse({})

    async def chat(body: dict[str, Any]) -> dict[str, Any]:
        messages, tools = body["messages"], body.get("tools") or []
        message = next_message(body["model"], messages)
        ids = renderer.step(messages, message, tools).target_ids
        reason = "tool_calls" if message.get("tool_calls") else "stop"
        if len(ids) > body["max_tokens"]:
            ids, reason = ids[: body["max_tokens"]], "length"
        return {
            "choices": [{"message": message, "finish_reason": reason, "token_ids": ids}],
            "prompt_token_ids": renderer.prompt_ids(messages, tools),
            "usage": {"completion_tokens": len(ids)},
        }

    async def tokenize(body: dict[str, Any]) -> dict[str, Any]:
        return {"tokens": renderer.prompt_ids(body["messages"], body["tools"])}

    async def completions(body: dict[str, Any]) -> dict[str, Any]:
        return {"choices": [{"prompt_logprobs": _prompt_logprobs(body["model"], body["prompt"])}]}

    def posted(
        answer: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]],
    ) -> Callable[[Request], Awaitable[JSONResponse]]:
        async def endpoint(request: Request) -> JSONResponse:
            body = await request.json()
            if body["model"] not in served:
                return JSONResponse({"error": f"{body['model']} is not served"}, status_code=404)
            return JSONResponse(await answer(body))

        return endpoint

    return Starlette(
        routes=[
            Route("/health", health),
            Route("/v1/chat/completions", posted(chat), methods=["POST"]),
            Route("/v1/completions", posted(completions), methods=["POST"]),
            Route("/tokenize", posted(tokenize), methods=["POST"]),
        ]
    )


def _prompt_logprobs(served: str, ids: list[int]) -> list[dict[str, dict[str, float]] | None]:
    """Log-probabilities as vLLM lists them: nothing for the first token, then one entry a token."""
    nats = log_probabilities(served, ids)
    return [None, *({str(token): {"logprob": value}} for token, value in zip(ids[1:], nats[1:], strict=True))]


def main() -> None:
    """Command line: of vLLM's arguments those that decide what is answered; the others are accepted and mean nothing here."""
    parser = argparse.ArgumentParser()
    for name in ("--model", "--chat-template", "--uds"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--lora-modules", nargs="*", default=[])
    known, _ = parser.parse_known_args()
    adapters = dict(module.split("=", 1) for module in known.lora_modules)
    for folder in map(Path, adapters.values()):
        if not (folder / "adapter_model.safetensors").is_file():
            raise SystemExit(f"ValueError: there is no adapter in {folder}")
    family = next(family for family in FAMILIES.values() if family.template_file == known.chat_template)
    print("stand-in for vLLM API server version 0.0.0", flush=True)
    renderer = Renderer(known.model / "tokenizer.json", family.name)
    uvicorn.run(application(renderer, {"base", *adapters}), uds=str(known.uds), log_level="warning")


if __name__ == "__main__":
    main()
