"""One server for several workflows on one base: what each would be started with, joined.

A workflow's answers must not depend on who shares its server, so base model, template and parser have to be the same. What only limits
(context length, requests at once, rank) is the larger of each; evaluation's client keeps to its own workflow's (`client.longest`).
"""

from collections.abc import Mapping
from dataclasses import replace

from flywheel.errors import FlywheelError
from flywheel.serving.vllm_server import ServerSpec

_APART = "serve them apart: one command each, on ports of their own"


def together(specs: Mapping[str, ServerSpec], *, remedy: str = _APART) -> ServerSpec:
    """One spec that serves what the specs of several workflows serve, by workflow.

    Raises FlywheelError naming the first workflow that cannot share with the first one, and what differs.
    """
    (first_name, first), *others = specs.items()
    for name, spec in others:
        for what, mine, theirs in (
            ("base model", first.model.name, spec.model.name),
            ("model family", first.family.name, spec.family.name),
            ("template", first.template, spec.template),
            ("quantisation", first.quantization, spec.quantization),
            ("constrained decoding", first.constrained, spec.constrained),
            ("environment", first.python, spec.python),
        ):
            if mine != theirs:
                raise FlywheelError(
                    f"{first_name} and {name} cannot share a server: their {what} differs ({mine} and {theirs})", where=name,
                    remedy=remedy,
                )  # fmt: skip
    every = [first, *(spec for _, spec in others)]
    return replace(
        first,
        adapters={served: folder for spec in every for served, folder in spec.adapters.items()},
        max_model_len=max(spec.max_model_len for spec in every),
        max_num_seqs=max(spec.max_num_seqs for spec in every),
        max_lora_rank=max((spec.max_lora_rank for spec in every if spec.adapters), default=first.max_lora_rank),
    )
