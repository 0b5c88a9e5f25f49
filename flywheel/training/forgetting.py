"""Base against candidate on texts nobody trains on: `python -m flywheel.training.forgetting SPEC.json ADAPTER RESULT.json`.

A process of its own after training: the exported adapter is measured as it will be loaded, strictly, in the type it is
served in. One forward pass a text and model; what all texts begin with is computed once.
"""

import copy
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

from flywheel.errors import FlywheelError
from flywheel.progress import report_progress
from flywheel.serving.adapters import open_adapter
from flywheel.serving.reference import load_adapter
from flywheel.training.drift import GENERAL_SHA256, drift, general_texts
from flywheel.training.spec import Drift, Forgetting, SftRow, TrainSpec, read_spec

_BATCH_TOKENS = 512


class Text(NamedTuple):
    """Token ids, and the index of the first one that is scored."""

    ids: list[int]
    first: int


def measure(spec: TrainSpec, adapter: Path) -> Forgetting:
    """Score both sets under the base model and under the adapter."""
    torch.set_num_threads(spec.threads)
    base: Any = AutoModelForCausalLM.from_pretrained(spec.base_model, use_safetensors=True, dtype=torch.bfloat16)
    model = load_adapter(base, open_adapter(adapter, base_model=spec.base_model_name)).eval()
    tokenizer = Tokenizer.from_file(str(spec.base_model / "tokenizer.json"))
    general = [Text(tokenizer.encode(text, add_special_tokens=False).ids, 1) for text in general_texts()]
    lines = spec.regression_rows.read_text(encoding="utf-8").splitlines() if spec.regression_rows else []
    rows = [SftRow.model_validate_json(line) for line in lines]
    steps = [Text([*row.prompt_ids, *row.target_ids], len(row.prompt_ids)) for row in rows]
    report_progress("forgetting", f"{len(general)} general texts", 0, 2)
    found = _compare(model, general)
    report_progress("forgetting", f"{len(steps)} steps of tools nobody corrected", 1, 2)
    tools = _compare(model, steps) if steps else None
    return Forgetting(general=found, general_sha256=GENERAL_SHA256, tools=tools, tools_source=spec.regression_source)


def _compare(model: Any, texts: Sequence[Text]) -> Drift:
    candidate = nats(model, texts)
    with model.disable_adapter():
        base = nats(model, texts)
    return drift(base, candidate, [len(text.ids) - text.first for text in texts])


@torch.no_grad()
def nats(model: Any, texts: Sequence[Text]) -> list[float]:
    """Negative log-likelihood of each text, summed over its scored tokens."""
    shared = shared_length(texts) if _may_continue(model.config) else 0
    start = None
    if shared:
        start = model(input_ids=torch.tensor([texts[0].ids[:shared]]), use_cache=True, logits_to_keep=1).past_key_values
    found = np.zeros(len(texts))
    order = sorted(range(len(texts)), key=lambda number: len(texts[number].ids))
    for batch in _batches(order, lambda number: len(texts[number].ids) - shared):
        found[batch] = _batch_nats(model, [texts[number] for number in batch], shared, start)
    return found.tolist()


def shared_length(texts: Sequence[Text]) -> int:
    """Tokens all texts begin with, short of the one that predicts the first scored token."""
    common = len(os.path.commonprefix([text.ids for text in texts]))
    return max(0, min(common, *(text.first - 1 for text in texts)))


def _may_continue(config: Any) -> bool:
    """Whether one cache can be continued by many texts: not that of a layer with a running state."""
    return set(getattr(config, "layer_types", None) or ()) <= {"full_attention", "sliding_attention"}


def _batches(order: Sequence[int], length: Callable[[int], int]) -> list[list[int]]:
    """Numbers in the given order, in batches of at most `_BATCH_TOKENS` padded tokens."""
    batches: list[list[int]] = []
    for number in order:
        if batches and (len(batches[-1]) + 1) * length(number) <= _BATCH_TOKENS:
            batches[-1].append(number)
        else:
            batches.append([number])
    return batches


def _batch_nats(model: Any, texts: Sequence[Text], shared: int, start: Any) -> list[float]:
    rests = [text.ids[shared:] for text in texts]
    width = max(map(len, rests))
    ids = torch.tensor([rest + [0] * (width - len(rest)) for rest in rests])
    mask = torch.tensor([[1] * (shared + len(rest)) + [0] * (width - len(rest)) for rest in rests])
    past = copy.deepcopy(start)
    if past is not None:
        past.batch_repeat_interleave(len(texts))
    logits = model(input_ids=ids, attention_mask=mask, past_key_values=past, use_cache=past is not None).logits
    # Flat: over a transposed vocabulary axis this is several times slower than the model itself.
    flat = torch.nn.functional.cross_entropy(
        logits[:, :-1].float().flatten(0, 1), ids[:, 1:].flatten(), reduction="none"
    )
    lost = flat.view(len(texts), width - 1)
    firsts = [text.first - shared - 1 for text in texts]
    return [row[first : len(rest) - 1].sum().item() for row, first, rest in zip(lost, firsts, rests, strict=True)]


def main() -> int:
    """Command line; exit code 2 for what a user can mend."""
    spec_file, adapter, result = (Path(argument) for argument in sys.argv[1:4])
    try:
        found = measure(read_spec(spec_file), adapter)
    except FlywheelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    result.write_text(found.model_dump_json(indent=2), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
