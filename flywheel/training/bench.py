"""The measurements that need torch: `python -m flywheel.training.bench BASE_MODEL [AIRLINE_FOLDER]`; prints a JSON list of rows.

Ours and theirs take turns in one process on the same rows; medians of three. A step is forward and backward, as
`Trainer.training_step` runs it, without the optimizer: on a LoRA that is the same few milliseconds for both.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch  # noqa: E402

from flywheel.bench_row import row  # noqa: E402
from flywheel.serving.cpu_lora import Adapters, by_adapter  # noqa: E402


def seconds(work: Callable[[], Any]) -> float:
    """Wall seconds of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def interleaved(*works: Callable[[], Any], rounds: int = 3) -> list[float]:
    """Median seconds of each, measured in turn after one warm-up each."""
    for work in works:
        work()
    turns = [[seconds(work) for work in works] for _ in range(rounds)]
    return [statistics.median(turn[index] for turn in turns) for index in range(len(works))]


def adapter_kernel() -> dict[str, Any]:
    """Decoding batches a second through one layer's adapter (three slices, 16 tokens), against vLLM's own fallback for the CPU."""
    from vllm.lora.ops.torch_ops.lora_ops import bgmv_expand_slice, bgmv_shrink

    inputs, indices = torch.randn(16, 576).bfloat16(), torch.zeros(16, dtype=torch.long)
    down = [torch.randn(1, 1, 16, 576).bfloat16() for _ in range(3)]
    widths = (576, 192, 192)
    up = [torch.randn(1, 1, width, 16).bfloat16() for width in widths]
    output = torch.zeros(16, sum(widths)).bfloat16()
    adapters = Adapters([1])

    def fallback() -> None:
        start = 0
        for one, other, width in zip(down, up, widths, strict=True):
            between = torch.zeros(16, 16)
            bgmv_shrink(inputs, one, between, indices, 1.0)
            bgmv_expand_slice(between, other, output, indices, start, width, True)
            start += width

    def ours() -> None:
        adapters.add(output, inputs, down, up, 1.0, widths)

    def many(work: Callable[[], None]) -> Callable[[], None]:
        def turns() -> None:
            for _ in range(300):
                work()

        return turns

    adapters.groups = by_adapter(indices)  # once a step
    with torch.inference_mode():
        mine, theirs = interleaved(many(ours), many(fallback), rounds=5)
    return row("adapter_kernel", 300 / mine, "batches/s", baseline=300 / theirs, target=2.0)


def main(base: Path, runs: Path | None) -> list[dict[str, Any]]:
    """All rows; without the folder of real runs, those of `bench_tree` are left out."""
    from flywheel.training import bench_sharing, bench_tree

    return [
        *bench_sharing.supervised(base),
        *bench_sharing.preference(base),
        *(bench_tree.rows(base, runs) if runs and runs.is_dir() else []),
        adapter_kernel(),
    ]


if __name__ == "__main__":
    torch.set_num_threads(2)
    print(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)))
