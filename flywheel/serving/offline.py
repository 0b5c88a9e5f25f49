"""The two yardsticks of served evaluation: `python -m flywheel.serving.offline vllm|transformers REQUEST.json`.

Heavy imports live here, in a child. It loads the model, prints `ready`, and then answers each line of its input (a JSON list of prompts,
each a list of token ids) with one line: {"seconds": wall seconds, "completion_tokens": number generated}. Greedy, the same limit for all.

* `vllm`: vLLM's own offline engine with the arguments of the server.
* `transformers`: `generate` on left-padded batches, with the key-value cache, in the model's bfloat16.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

Prompts = list[list[int]]


def vllm_engine(request: dict[str, Any]) -> Callable[[Prompts], int]:
    """vLLM's offline engine as the server is set up."""
    from vllm import LLM, SamplingParams

    engine = LLM(
        model=request["model"], dtype="bfloat16", enforce_eager=True, max_model_len=request["max_model_len"], seed=0,
        max_num_seqs=request["concurrency"], kv_cache_memory_bytes=request["kv_cache_memory_bytes"], generation_config="vllm",
        distributed_executor_backend="uni",
    )  # fmt: skip
    greedy = SamplingParams(temperature=0, max_tokens=request["max_tokens"], seed=0)

    def generate(prompts: Prompts) -> int:
        given: list[Any] = [{"prompt_token_ids": prompt} for prompt in prompts]
        outputs = engine.generate(given, greedy, use_tqdm=False)
        return sum(len(output.outputs[0].token_ids) for output in outputs)

    return generate


def transformers_model(request: dict[str, Any]) -> Callable[[Prompts], int]:
    """`generate` of transformers in batches as large as the server's concurrency."""
    import torch
    from transformers import AutoModelForCausalLM, GenerationConfig

    torch.set_num_threads(request["threads"])
    model: Any = AutoModelForCausalLM.from_pretrained(
        request["model"], use_safetensors=True, dtype=torch.bfloat16
    ).eval()
    pad = request["pad_token_id"]
    greedy = GenerationConfig(do_sample=False, max_new_tokens=request["max_tokens"], pad_token_id=pad,
                              eos_token_id=request["eos_token_id"])  # fmt: skip

    @torch.no_grad()
    def generate(prompts: Prompts) -> int:
        made = 0
        for start in range(0, len(prompts), request["concurrency"]):
            batch = prompts[start : start + request["concurrency"]]
            longest = max(map(len, batch))
            ids = torch.tensor([[pad] * (longest - len(prompt)) + prompt for prompt in batch])
            mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in batch])
            output = model.generate(input_ids=ids, attention_mask=mask, generation_config=greedy)
            made += sum(_length(row, request["eos_token_id"]) for row in output[:, longest:].tolist())
        return made

    return generate


def _length(row: list[int], end: int) -> int:
    """Tokens generated up to and with the end token; what follows is padding."""
    return row.index(end) + 1 if end in row else len(row)


def main() -> None:
    """Command line."""
    request = json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    # What the libraries print must not stand between the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    generate = {"vllm": vllm_engine, "transformers": transformers_model}[sys.argv[1]](request)
    print("ready", file=answers)
    for line in sys.stdin:
        started = time.perf_counter()
        tokens = generate(json.loads(line))
        print(json.dumps({"seconds": time.perf_counter() - started, "completion_tokens": tokens}), file=answers)


if __name__ == "__main__":
    main()
