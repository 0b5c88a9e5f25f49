"""Training that went off: found at the step where it happens, named with its step, and never exported. No torch here."""

import math
from collections.abc import Mapping

from flywheel.errors import FlywheelError


def refuse_divergence(stage: str, step: int, logs: Mapping[str, float]) -> None:
    """Raise FlywheelError when a logged loss or gradient norm is no finite number.

    transformers logs 0 in place of a NaN loss (`logging_nan_inf_filter`); the norm of its gradient tells the truth.
    """
    for name, key in (("loss", "loss"), ("gradient norm", "grad_norm")):
        if key in logs and not math.isfinite(logs[key]):
            setting = "training.sft_learning_rate" if stage == "SFT" else "training.dpo_learning_rate"
            raise FlywheelError(
                f"the {name} is {logs[key]} at step {step} of the {stage} stage: training diverged, nothing was exported",
                where=f"{stage} stage, step {step}",
                remedy=f"lower {setting} in workflow.yaml; if it stays, look at the longest and the shortest rows of the dataset",
            )
