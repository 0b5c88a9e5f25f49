"""The measurements that need torch: `python -m flywheel.training.bench BASE_MODEL`; prints one JSON list of bench rows.

Rows like the demo's (a long shared prefix, a short rest) are trained forward and backward, packed and padded in turn in the
same process; medians of three. The adapter kernel is measured against vLLM's per-token gather on one decoding batch.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch  # noqa: E402
from peft import LoraConfig, get_peft_model  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

from flywheel.serving.cpu_lora import bgmv_shrink  # noqa: E402
from flywheel.training import attention  # noqa: E402
from flywheel.training.collate import Segment, pack  # noqa: E402
from flywheel.training.forward import as_inputs, target_log_probabilities  # noqa: E402

PREFIX, REST, TARGET, ROWS = 690, 85, 30, 8


def segments(count: int) -> list[Segment]:
    """Seeded rows with the demo's proportions, in tokens: prefix 690, rest 85, target 30."""
    torch.manual_seed(0)
    prefix = torch.randint(100, 40_000, (PREFIX,)).tolist()
    return [
        Segment(
            [*prefix, *torch.randint(100, 40_000, (REST,)).tolist()], torch.randint(100, 40_000, (TARGET,)).tolist()
        )
        for _ in range(count)
    ]


def padded_loss(model: Any, rows: list[Segment]) -> torch.Tensor:
    """One row a segment, the whole prefix each, full logits: the usual batch (no padding is even needed here)."""
    ids = torch.tensor([[*row.prompt_ids, *row.target_ids] for row in rows])
    labels = ids.clone()
    labels[:, : PREFIX + REST] = -100
    return model(input_ids=ids, labels=labels).loss


def seconds(work: Callable[[], Any]) -> float:
    """Wall seconds of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def interleaved(ours: Callable[[], Any], theirs: Callable[[], Any], rounds: int = 3) -> tuple[float, float]:
    """Median seconds of both, measured in turn after one warm-up each."""
    ours()
    theirs()
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(rounds)]
    return statistics.median(pair[0] for pair in pairs), statistics.median(pair[1] for pair in pairs)


def shared_prefix(base: str) -> dict[str, Any]:
    """Rows a second, forward and backward, packed against one row a sequence."""
    attention.register()
    lora = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16), lora)
    base_model: Any = model.get_base_model()
    rows = segments(ROWS)

    def step(loss: Callable[[], torch.Tensor], implementation: str) -> None:
        base_model.set_attn_implementation(implementation)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value = loss()
        value.backward()
        model.zero_grad()

    ours, theirs = interleaved(
        lambda: step(lambda: -target_log_probabilities(model, as_inputs(pack(rows))).mean(), attention.NAME),
        lambda: step(lambda: padded_loss(model, rows), "sdpa"),
    )
    return _row("training_shared_prefix", ROWS / ours, ROWS / theirs, "rows/s", 3.0)


def adapter_kernel() -> dict[str, Any]:
    """Decoding batches a second through one LoRA down-projection, 16 tokens, against a gathered weight a token."""
    inputs, weights, indices = (
        torch.randn(16, 576).bfloat16(),
        torch.randn(1, 1, 16, 576).bfloat16(),
        torch.zeros(16, dtype=torch.long),
    )
    output = torch.zeros(16, 16)

    def gathered() -> None:
        chosen = weights[indices].to(torch.float32).squeeze(1)
        output[:] = torch.einsum("bi,boi->bo", inputs.float(), chosen)

    def ours_many() -> None:
        for _ in range(300):
            bgmv_shrink(inputs, weights, output, indices)

    def gathered_many() -> None:
        for _ in range(300):
            gathered()

    ours, theirs = interleaved(ours_many, gathered_many, rounds=5)
    return _row("adapter_kernel", 300 / ours, 300 / theirs, "batches/s", 2.0)


def _row(name: str, value: float, baseline: float, unit: str, target: float) -> dict[str, Any]:
    ratio = value / baseline
    return {
        "name": name,
        "value": value,
        "unit": unit,
        "baseline": baseline,
        "ratio": ratio,
        "target": target,
        "ok": ratio >= target,
    }


if __name__ == "__main__":
    torch.set_num_threads(2)
    print(json.dumps([shared_prefix(sys.argv[1]), adapter_kernel()]))
