"""Which remedy works on which kind of failure: the one table, which a pack may override (`datasets.remedies`).

    steps        supervised rows: the corrected step and every step people wrote after it
    pair         a preference pair on the same prefix: chosen = the correction, rejected = what the model did
    trajectory   supervised rows from the error on, one a step, sampled and capped as a whole: half a recovery teaches none

A schema violation or a wrong argument is a matter of knowing the form: examples repair it, and near-identical pairs are the worst
case of likelihood displacement (notes/training-and-serving.md, 2). A wrong choice needs to see what not to do as well.
"""

from collections.abc import Mapping
from typing import Literal

Remedy = Literal["steps", "pair", "trajectory"]

REMEDIES: dict[str, tuple[Remedy, ...]] = {
    "schema_violation": ("steps",),
    "wrong_arguments": ("steps",),
    "wrong_tool_selection": ("steps", "pair"),  # wrong, needless and missing calls
    "refusal_error": ("steps", "pair"),  # wrong refusals, and refusals that were missing
    "bad_recovery": ("trajectory",),
    "policy_violation": ("steps", "pair"),
    "misread_tool_output": ("steps", "pair"),
    "premature_termination": ("steps", "pair"),
}
# Buckets that triage may invent later, and the random slice of unflagged runs.
ANY_OTHER: tuple[Remedy, ...] = ("steps", "pair")


def remedies_of(bucket: str | None, overrides: Mapping[str, list[Remedy]]) -> tuple[Remedy, ...]:
    """The remedies of a bucket; a bucket of no correction (None) gets supervised steps."""
    if bucket is None:
        return ("steps",)
    return tuple(overrides[bucket]) if bucket in overrides else REMEDIES.get(bucket, ANY_OTHER)


def supervised_remedy(bucket: str | None, overrides: Mapping[str, list[Remedy]]) -> Remedy:
    """steps or trajectory: how a correction of this bucket enters the supervised rows. Every accepted correction does."""
    return "trajectory" if "trajectory" in remedies_of(bucket, overrides) else "steps"
