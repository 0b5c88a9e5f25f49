"""Log-probabilities of a pack's target tokens: one forward pass, logits at the predicting positions only.

The vocabulary projection is the widest matrix of a small model; projecting a pack's few hundred target positions instead
of all its thousands saves most of it, and the memory of the full logits.
"""

from typing import Any

import torch

from flywheel.training import attention
from flywheel.training.collate import Pack


def target_log_probabilities(model: Any, pack: Pack) -> torch.Tensor:
    """(T,) natural log-probability of each row's target tokens under `model` (a causal LM, PEFT-wrapped or not).

    A model loaded with the attention implementation `token_tree` computes the whole tree at once, any other one row
    after the other.
    """
    if model.config._attn_implementation != attention.NAME:
        return torch.cat([_of_one_row(model, pack, row) for row in range(len(pack.paths))])
    logits = model(
        input_ids=pack.input_ids,
        position_ids=pack.position_ids,
        nodes=pack.nodes,
        logits_to_keep=pack.predictors,
        use_cache=False,
    ).logits[0]
    return _log_probabilities(logits, pack.targets)[pack.scored]


def _of_one_row(model: Any, pack: Pack, row: int) -> torch.Tensor:
    targets = pack.targets[pack.scored[pack.owners == row]]
    ids = pack.input_ids[:, pack.paths[row]]
    places = torch.arange(ids.shape[1] - len(targets) - 1, ids.shape[1] - 1, device=ids.device)
    return _log_probabilities(model(input_ids=ids, logits_to_keep=places, use_cache=False).logits[0], targets)


def _log_probabilities(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return -torch.nn.functional.cross_entropy(logits.float(), targets, reduction="none")
