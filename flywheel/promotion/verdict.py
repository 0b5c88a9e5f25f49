"""From numbers to a verdict: the order of judgement, as one function that the gate and its simulation both call.

What goes here: which number decides. What does not: how numbers come about (the neighbours), and their words (`gate.py`).
"""

from typing import Literal, NamedTuple

Verdict = Literal["PROMOTE", "REJECT", "INCONCLUSIVE", "INVALID"]
Path = Literal[
    "floor", "worse", "bucket", "better", "targeted", "alone", "margin unresolved", "no targeted gain", "undecided",
    "below the best",
]  # fmt: skip


class Numbers(NamedTuple):
    """What decides, all differences -1 to 1.

    Attributes:
        lower, upper: one-sided 97.5 % bounds of candidate minus incumbent.
        lower_alone: one-sided 99 % lower bound, for non-inferiority without a targeted gain.
        margin: non-inferiority margin; None where the cases cannot resolve it.
        targeted: did the targeted cases gain, or are they excused.
        floor_broken, bucket_worse: whether an absolute limit is broken, a part of the benchmark got worse.
        below_best: whether the candidate may be worse than the best adapter ever promoted.
    """

    lower: float
    upper: float
    lower_alone: float
    margin: float | None
    targeted: Literal["gained", "no gain", "excused"]
    floor_broken: bool = False
    bucket_worse: bool = False
    below_best: bool = False


def verdict_of(numbers: Numbers) -> tuple[Verdict, Path]:
    """The verdict and the path that led to it.

    REJECT for a broken limit, a loss overall, or a part that got worse. PROMOTE for what is better overall, or not inferior
    with a targeted gain (without one where it is excused); never for what may be worse than the best ever promoted.
    """
    if numbers.floor_broken:
        return "REJECT", "floor"
    if numbers.upper < 0:
        return "REJECT", "worse"
    if numbers.bucket_worse:
        return "REJECT", "bucket"
    path = _evidence_for(numbers)
    if path not in ("better", "targeted", "alone"):
        return "INCONCLUSIVE", path
    return ("INCONCLUSIVE", "below the best") if numbers.below_best else ("PROMOTE", path)


def _evidence_for(numbers: Numbers) -> Path:
    if numbers.lower > 0:
        return "better"
    excused = numbers.targeted == "excused"
    if numbers.margin is None:
        return "margin unresolved" if excused or numbers.targeted == "gained" else "no targeted gain"
    lower = numbers.lower_alone if excused else numbers.lower
    if lower <= -numbers.margin:
        return "undecided"
    if numbers.targeted == "no gain":
        return "no targeted gain"
    return "alone" if excused else "targeted"
