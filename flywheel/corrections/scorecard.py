"""Each annotator against the others: how many of their first answers somebody or something found wrong, and whether that stands out.

Found wrong are: gold answers that differ from the settled correction, what a reviewer returned or rewrote, what an adjudicator
dropped, and what failed the audit. Disagreement with an overlap twin is counted apart: it does not say who was wrong.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import scipy  # scipy.stats is loaded by its first use: the code location needs none of it to load

from flywheel.corrections.agreement import overlap_pairs
from flywheel.corrections.answers import Answer, first_answers
from flywheel.corrections.events import Batch, EventStore
from flywheel.corrections.log import Recorded
from flywheel.corrections.probes import gold_results
from flywheel.corrections.verdict import Verdict
from flywheel.statistics.paired import holm
from flywheel.toolcalls.distance import distance

_STANDS_OUT = 0.05


class Score(NamedTuple):
    """One annotator of one batch.

    Attributes:
        answers: first answers that a person or a probe has judged; wrong: those found wrong.
        gold_right, gold: of the gold answers.
        returned, dropped, failed_audit: where the wrong ones were found, beside gold.
        differs, pairs: overlap pairs in which the two answers are not equivalent.
        p: Holm-adjusted one-sided Fisher test that this person is wrong more often than the others; None without others.
        stands_out: p under 0.05.
    """

    annotator: str
    answers: int
    wrong: int
    gold_right: int
    gold: int
    returned: int
    dropped: int
    failed_audit: int
    differs: int
    pairs: int
    p: float | None
    stands_out: bool


def scorecard(store: EventStore, batch: str) -> list[Score]:
    """All annotators of a batch, by name."""
    history = store.history(batch)
    judged = _judged(history)
    golden: dict[str, list[bool]] = defaultdict(list)
    for actor, right in gold_results(store, batch):
        golden[actor].append(right)
    apart: dict[str, list[bool]] = defaultdict(list)
    for one, other in overlap_pairs(store, batch):
        for answer in (one, other):
            apart[answer.actor].append(not equivalent(one, other))
    names = sorted(judged.keys() | golden.keys() | apart.keys())
    totals = {
        name: (len(judged[name]) + len(golden[name]), sum(map(bool, judged[name])) + golden[name].count(False))
        for name in names
    }
    chances = _chances(totals)
    return [
        Score(name, *totals[name], sum(golden[name]), len(golden[name]), judged[name].count("returned"),
              judged[name].count("dropped"), judged[name].count("failed_audit"), sum(apart[name]), len(apart[name]),
              chances.get(name), chances.get(name, 1.0) < _STANDS_OUT)
        for name in names
    ]  # fmt: skip


def equivalent(one: Answer, other: Answer) -> bool:
    """Whether two answers mark the same step and make the same of it, arguments compared by JSON path."""
    return one[1:4] == other[1:4] and distance(one.arguments, other.arguments) == 0


def report(batch: Batch, verdict: Verdict, scores: Iterable[Score], caught: Iterable[tuple[str, bool]] = ()) -> str:
    """The agreement and quality report of a batch as plain text.

    Args:
        caught: `probes.catches`: what each reviewer did with the spoiled corrections.
    """
    lines = [
        f"{batch.workflow}, week {batch.week}: {'may train' if verdict.ok else 'REFUSED'}",
        *(f"  because {r}" for r in verdict.reasons),
        "",
    ]
    for figure in verdict.figures:
        value = "unknown" if figure.value is None else f"{figure.value:.2f}"
        interval = "" if figure.low is None else f"[{figure.low:.2f}, {figure.high:.2f}]"
        lines.append(f"  {figure.name:<20} {value:>8} {interval:<14} n={figure.n:<5} {figure.note}")
    head = (
        "annotator",
        "wrong",
        "gold right",
        "returned",
        "dropped",
        "failed audit",
        "overlap differs",
        "p (Holm)",
        "",
    )
    lines += ["", "  {:<24}{:>10}{:>12}{:>10}{:>9}{:>14}{:>17}{:>10}  {}".format(*head)]
    for one in scores:
        chance = "-" if one.p is None else f"{one.p:.4f}"
        cells = (one.annotator, f"{one.wrong}/{one.answers}", f"{one.gold_right}/{one.gold}", one.returned, one.dropped, one.failed_audit,
                 f"{one.differs}/{one.pairs}", chance, "STANDS OUT" if one.stands_out else "")  # fmt: skip
        lines.append("  {:<24}{:>10}{:>12}{:>10}{:>9}{:>14}{:>17}{:>10}  {}".format(*cells).rstrip())
    seen: dict[str, list[bool]] = defaultdict(list)
    for reviewer, hit in caught:
        seen[reviewer].append(hit)
    lines += [
        "",
        *(f"  {name:<24} caught {sum(hits)} of {len(hits)} spoiled corrections" for name, hits in sorted(seen.items())),
    ]
    return "\n".join(lines) + "\n"


def _judged(history: list[Recorded]) -> dict[str, list[str]]:
    """Annotator -> for each own answer that a reviewer has judged: where it was found wrong, or empty."""
    answers = first_answers(history)
    found: dict[str, str] = {}
    disputed: set[str] = set()
    for _, _, event in history:
        key = event.item_id
        if key not in answers or event.kind not in ("accept", "return", "edit", "dispute", "uphold", "drop", "audit"):
            continue
        if event.kind in ("return", "edit"):
            found[key] = found.get(key) or "returned"
        elif event.kind == "dispute":
            disputed.add(key)
        elif event.kind == "drop":
            upset = key in disputed and not event.payload.get("confirmed")
            found[key] = found.get(key) or ("dropped" if upset else "")
        elif (
            event.kind == "audit"
            and event.payload.get("verdict") == "failed"
            and event.payload.get("defect") != "minor"
        ):
            found[key] = found.get(key) or "failed_audit"
        else:
            found.setdefault(key, "")
    judged: dict[str, list[str]] = defaultdict(list)
    for key, wrong in found.items():
        judged[answers[key].actor].append(wrong)
    return judged


def _chances(totals: dict[str, tuple[int, int]]) -> dict[str, float]:
    if len(totals) < 2:
        return {}
    answers, wrong = (sum(one[place] for one in totals.values()) for place in (0, 1))
    raw = []
    for mine, bad in totals.values():
        table = [[bad, mine - bad], [wrong - bad, answers - mine - (wrong - bad)]]
        raw.append(float(tuple(scipy.stats.fisher_exact(table, alternative="greater"))[1]))
    return dict(zip(totals, holm(raw), strict=True))
