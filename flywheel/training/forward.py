"""Log-probabilities of a pack's target tokens: one forward pass, logits at the predicting positions only.

The vocabulary projection is the widest matrix of a small model; projecting a pack's few hundred target positions instead
of all its thousands saves most of it, and the memory of the full logits.
"""

from collections.abc import Mapping
from typing import Any

import torch

from flywheel.training.collate import Pack


def target_log_probabilities(model: Any, pack: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """(T,) natural log-probability of each target token under `model` (a causal LM, PEFT-wrapped or not).

    The model must have been loaded with the attention implementation `shared_prefix`.
    """
    causal = model.get_base_model() if hasattr(model, "get_base_model") else model
    hidden = causal.model(
        input_ids=pack["input_ids"],
        position_ids=pack["position_ids"],
        bounds=tuple(pack["bounds"].tolist()),
        use_cache=False,
    ).last_hidden_state
    logits = causal.lm_head(hidden[0, pack["predictors"]]).float()
    return -torch.nn.functional.cross_entropy(logits, pack["targets"], reduction="none")


def as_inputs(packed: Pack) -> dict[str, torch.Tensor]:
    """A pack as the dictionary a `transformers` trainer hands to `compute_loss`."""
    return packed._asdict()
