"""The matrix-product peak of this machine's CPU: `python -m flywheel.training.peak THREADS`; prints TFLOP/s in bfloat16."""

import sys
import time

import torch

_SIZE = 2048


def measure(threads: int, repeats: int = 5) -> float:
    """TFLOP/s of the fastest of a few products of two 2048 x 2048 matrices."""
    torch.set_num_threads(threads)
    one, other = (torch.randn(_SIZE, _SIZE, dtype=torch.bfloat16) for _ in range(2))
    seconds = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        torch.mm(one, other)
        seconds.append(time.perf_counter() - started)
    return 2 * _SIZE**3 / min(seconds[1:]) / 1e12


if __name__ == "__main__":
    print(measure(int(sys.argv[1])))
