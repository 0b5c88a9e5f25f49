"""Whether a batch may reach the datasets: its lot passed, its gold was met, its agreement suffices, nothing critical is left."""

from typing import NamedTuple

from flywheel.corrections.agreement import agreement, overlap_pairs
from flywheel.corrections.closing import own_states
from flywheel.corrections.events import Batch, EventStore
from flywheel.corrections.lots import lot_of, plan_text
from flywheel.corrections.probes import catches, gold_results
from flywheel.errors import FlywheelError
from flywheel.statistics.agreement import Alpha
from flywheel.workflows.pack import Quality

_GOLD_NEEDED = 5
LAYERS = ("step", "kind", "tool", "arguments")


class Figure(NamedTuple):
    """One measure: its value (None where it cannot be known), an interval where there is one, on how many, and a note."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    note: str


class Verdict(NamedTuple):
    """Whether the batch may train a model, every reason why not, and the figures behind it."""

    ok: bool
    reasons: list[str]
    figures: list[Figure]


def judge(store: EventStore, batch: Batch, quality: Quality = Quality()) -> Verdict:  # noqa: B008
    """Judge a batch from its events alone.

    A missing audit is a reason; agreement that cannot be known is none. Gold counts from five answers on.
    """
    reasons, figures = _judge_lot(store, batch)
    gold, caught = gold_results(store, batch.name), catches(store, batch.name)
    right = sum(passed for _, passed in gold)
    rate = right / len(gold) if gold else None
    figures.append(
        Figure("gold_pass_rate", rate, None, None, len(gold), "first answers that equal the settled correction")
    )
    if rate is not None and len(gold) >= _GOLD_NEEDED and rate < quality.gold_pass_rate:
        reasons.append(
            f"{right} of {len(gold)} gold answers are right ({rate:.0%}), {quality.gold_pass_rate:.0%} are asked for"
        )
    found = sum(hit for _, hit in caught)
    share = found / len(caught) if caught else None
    figures.append(
        Figure("known_bad_caught", share, None, None, len(caught), "spoiled corrections that reviewers refused")
    )
    for layer, one in agreement(overlap_pairs(store, batch.name)).items():
        figures.append(_agreement_figure(layer, one))
        floor = quality.agreement_floors.get(layer)  # type: ignore[call-overload]
        if floor is not None and one.low is not None and one.low < floor:
            reasons.append(
                f"agreement on the {layer}: {one.alpha:.2f}, its lower bound {one.low:.2f} is under {floor:.2f}"
            )
    return Verdict(not reasons, reasons, figures)


def require(store: EventStore, batch: Batch, quality: Quality) -> Verdict:
    """The verdict of a batch that may train; raises FlywheelError with the figures of one that may not."""
    verdict = judge(store, batch, quality)
    if not verdict.ok:
        raise FlywheelError(
            f"the batch does not pass its gate: {'; '.join(verdict.reasons)}", where=f"{batch.workflow}, week {batch.week}",
            remedy="its corrections train nothing; talk with the people concerned, and let what failed be corrected again next week",
        )  # fmt: skip
    return verdict


def _judge_lot(store: EventStore, batch: Batch) -> tuple[list[str], list[Figure]]:
    lot = lot_of(store, batch.name)
    states = own_states(store, batch)
    accepted = sum(state.status in ("accepted", "released") for state in states.values())
    audited = [state for state in states.values() if state.audit]
    failed, minor = sum(s.audit == "failed" for s in audited), sum(s.audit == "minor" for s in audited)
    figures = [
        Figure("items", float(len(states)), None, None, len(states), "the batch's own, nothing planted"),
        Figure("accepted", accepted / len(states) if states else None, None, None, len(states), "share of the items"),
        Figure(
            "audit_failed", failed / len(audited) if audited else None, None, None, len(audited), plan_text(lot.plan)
        ),
        Figure("audit_minor", minor / len(audited) if audited else None, None, None, len(audited), "reported only"),
        Figure("lot_attempts", float(lot.attempt), None, None, len(lot.items), f"the lot {lot.status}"),
    ]
    reasons = []
    if lot.status in ("auditing", "failed"):
        reasons.append(f"{len(lot.waiting)} of {len(lot.drawn)} drawn items of its lot were not audited")
    elif lot.status == "refused":
        classes = ", ".join(sorted(set(lot.failed.values())))
        reasons.append(
            f"its lot failed twice: {len(lot.failed)} of {len(lot.drawn)} audited items are wrong ({classes})"
        )
    elif lot.status != "passed" and accepted:
        reasons.append(f"its {accepted} accepted items were never audited: the lot is {lot.status.replace('_', ' ')}")
    critical = [key for key, defect in lot.failed.items() if defect == "critical"]
    if critical:
        reasons.append(f"{len(critical)} critical defects, e.g. item {critical[0]}")
    return reasons, figures


def _agreement_figure(layer: str, one: Alpha) -> Figure:
    if one.alpha is None:
        known = "nothing ever differed" if one.pairs >= 2 else "fewer than two pairs"
        return Figure(f"agreement_{layer}", None, None, None, one.pairs, f"cannot be known: {known}")
    note = f"Krippendorff's alpha; distance observed {one.observed:.3f}, expected by chance {one.expected:.3f}"
    return Figure(f"agreement_{layer}", one.alpha, one.low, one.high, one.pairs, note)
