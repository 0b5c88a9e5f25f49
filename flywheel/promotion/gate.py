"""The gate: evaluation rows in, one decision with its reasons out. Pure; `promotion` and its check both call it.

Order of judgement (design.md 8.4): may the arms be compared at all (`validity`, `noise`), are the absolute limits kept
(`floors`), is the candidate worse, better or not inferior on the core (`margin`), did a part get worse (`buckets`), did
the targeted cases gain (`targeted`); `verdict` puts these together. A missing metric is never a pass. What the rules cost
and catch is simulated in `simulation`, and written down in docs/gate.md.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import polars as pl
import scipy

from flywheel.benchmark.cases import CORE
from flywheel.promotion.best import Best
from flywheel.promotion.buckets import SLICE, buckets
from flywheel.promotion.evidence import Evidence, Rules, compared, in_words, pairs
from flywheel.promotion.floors import Floors, floors
from flywheel.promotion.history import looks_sentence
from flywheel.promotion.margin import Margin, margin_for
from flywheel.promotion.noise import VALID_WEEKS, Noise, measured
from flywheel.promotion.targeted import ALONE_LEVEL, Targeted, targeted
from flywheel.promotion.validity import invalidity, unscored
from flywheel.promotion.verdict import Numbers, Path, Verdict, verdict_of
from flywheel.statistics.paired import (
    LEVEL,
    POWER,
    Interval,
    PairedDifference,
    cluster_bootstrap,
    clustered_rate,
    minimum_detectable_effect,
    points,
)

ADVISORY_BELOW = 100


@dataclass(frozen=True)
class Decision:
    """Verdict, reasons (the decisive one first), and the numbers behind them.

    An advisory decision comes of too few cases: it never moves the pointer, a person may.
    """

    verdict: Verdict
    reasons: list[str]
    candidate: Interval | None = None
    incumbent: Interval | None = None
    difference: PairedDifference | None = None
    minimum_detectable_effect: float | None = None
    margin: Margin | None = None
    noise: Noise | None = None
    best: Best | None = None
    advisory: bool = False
    details: dict[str, Any] = field(default_factory=dict)


class _Findings(NamedTuple):
    """What was measured, before it is put into words."""

    core: pl.DataFrame
    overall: PairedDifference
    margin: Margin
    floors: Floors
    parts: dict[str, dict[str, Any]]
    targeted: Targeted
    noise: Noise
    best: Best | None


def decide(evidence: Evidence, rules: Rules) -> Decision:
    """Judge a candidate against the incumbent on the same frozen cases; the core decides, added slices are parts and may be targeted."""
    invalid = invalidity(evidence)
    noise, past = _noise(evidence), evidence.past
    if noise is None:
        invalid.append(
            f"the incumbent's A/A run is missing or was broken by errors, and none of the last {VALID_WEEKS} weeks can stand in: how much "
            "the server differs from itself is unknown"
        )
    elif noise.verdict == "REJECT":
        invalid.append(f"the incumbent differs from itself more than chance explains. {noise.sentence()}")
    limits = floors(evidence, rules) if evidence.candidate.height else Floors({}, [], [])
    invalid += limits.missing
    every = pairs(evidence) if not invalid else pl.DataFrame()
    core = every.filter(slice=CORE) if every.height else every
    if not invalid and not core.height:
        invalid.append("no case of the benchmark's core has a score in both arms")
    if invalid or noise is None:
        return Decision("INVALID", invalid, noise=noise)
    overall = compared(core)
    share = max(noise.share(), rules.discordance)
    margin = margin_for(overall.n, share, chosen=rules.margin, fixed=past.margin if past else None)
    best = past.against_best(core, margin.value) if past and past.against_best else None
    found = _Findings(
        core, overall, margin, limits, buckets(every, evidence.tools), targeted(every, evidence.targeted), noise, best
    )
    return _decision(evidence, rules, found)


def _noise(evidence: Evidence) -> Noise | None:
    """This session's A/A run, else one that earlier weeks left. What lost its runs to errors says nothing of the few that were left."""
    here = evidence.incumbent.height and evidence.again.height and not unscored("A/A run", evidence.again)
    own = measured(evidence.incumbent, evidence.again) if here else None
    return own or (evidence.past.noise if evidence.past else None)


def _decision(evidence: Evidence, rules: Rules, found: _Findings) -> Decision:
    overall, margin = found.overall, found.margin
    worse = [name for name, values in found.parts.items() if values["worse"]]
    numbers = Numbers(
        overall.lower, overall.upper, compared(found.core, level=ALONE_LEVEL).lower,
        margin.value if margin.resolved else None, found.targeted.state, bool(found.floors.broken), bool(worse),
        found.best is not None and found.best.below,
    )  # fmt: skip
    verdict, path = verdict_of(numbers)
    effect = _detectable(overall)
    advisory = overall.n < ADVISORY_BELOW
    differences = found.core["candidate"].to_numpy() - found.core["incumbent"].to_numpy()
    resampled = cluster_bootstrap(differences, found.core["case_cluster"].to_list())
    details = {
        "path": path, "floors": found.floors.values, "parts": found.parts, "targeted": found.targeted.details,
        "a_a": {"n": found.noise.cases, "flipped": found.noise.flipped}, "fixed": overall.fixed, "broken": overall.broken,
        "clusters": overall.clusters, "advisory": advisory, "forgetting_nats": evidence.forgetting_nats,
        "tool_regression_nats": evidence.tool_regression_nats, "bootstrap": resampled, "smallest_margin": margin.smallest,
        "looks": evidence.past.looks + 1 if evidence.past else None,
    }  # fmt: skip
    reasons = _reasons(path, found)
    reasons.append(f"{margin.sentence()}; smallest difference these cases show four times in five: {points(effect)}")
    reasons.append(found.noise.sentence())
    if found.best:
        reasons.append(found.best.sentence)
    if evidence.past:
        reasons.append(looks_sentence(evidence.past.looks + 1, rules.looks))
    reasons += _also(evidence, found, resampled)
    if advisory:
        reasons.append(f"advisory: {overall.n} cases are fewer than {ADVISORY_BELOW}; a person decides")
    clusters = found.core["case_cluster"].to_list()
    arms = [clustered_rate(found.core[name].to_list(), clusters) for name in ("candidate", "incumbent")]
    return Decision(
        verdict, reasons, arms[0], arms[1], overall, effect, margin, found.noise, found.best, advisory, details
    )


def _also(evidence: Evidence, found: _Findings, resampled: tuple[float, float] | None) -> list[str]:
    """What a careful reader wants to know besides: slices, runs that were left out, a cross-check that disagrees."""
    said = [
        f"{name}, scored apart: {100 * v['difference']:+.1f} points over {v['n']} cases (95 % interval "
        f"{100 * v['lower']:+.1f} to {100 * v['upper']:+.1f})"
        for name, v in found.parts.items() if name.startswith(SLICE)
    ]  # fmt: skip
    lost = evidence.candidate["infra_error"].count(), evidence.incumbent["infra_error"].count()
    if any(lost):
        said.append(
            f"left out after server or network errors: {lost[0]} of {evidence.candidate.height} runs of the candidate, "
            f"{lost[1]} of {evidence.incumbent.height} of the incumbent"
        )
    overall = found.overall
    if resampled and ((resampled[0] > 0) != (overall.lower > 0) or (resampled[1] < 0) != (overall.upper < 0)):
        low, high = (f"{100 * bound:+.1f}" for bound in resampled)
        said.append(f"the cluster bootstrap disagrees about zero: {low} to {high} points; read the result with care")
    return said


def _detectable(overall: PairedDifference) -> float:
    """Smallest true difference that this comparison shows at power 0.8, from its clustered standard error."""
    if not overall.standard_error:
        return minimum_detectable_effect(overall.n, (overall.fixed + overall.broken) / overall.n)
    needed = scipy.stats.t.ppf(1 - LEVEL, max(1, overall.clusters - 1)) + scipy.stats.norm.ppf(POWER)
    return float(needed) * overall.standard_error


def _reasons(path: Path, found: _Findings) -> list[str]:
    """The decisive reason first, then what else a reader needs."""
    numbers, margin, aim = in_words(found.overall), points(found.margin.value), found.targeted.reason
    worse = [
        f"{name} by {points(-v['difference'])} of {v['n']} cases ({v['broken']} broken, {v['fixed']} fixed; adjusted p = {v['p_worse_adjusted']:.2g})"
        for name, v in found.parts.items()
        if v["worse"]
    ]
    sentences: dict[Path, list[str]] = {
        "floor": [*found.floors.broken, f"overall {numbers}"],
        "worse": [f"worse than the incumbent: {numbers}"],
        "bucket": [f"got worse: {'; '.join(worse)}", f"overall {numbers}"],
        "better": [f"better than the incumbent: {numbers}", aim],
        "targeted": [f"not inferior within {margin}, and the targeted cases gained: {numbers}", aim],
        "alone": [f"not inferior within {margin}: {numbers}", aim],
        "margin unresolved": [f"not better, and {found.overall.n} cases cannot show non-inferiority within {margin}: {numbers}", aim],
        "no targeted gain": [f"not better, and no targeted gain: {numbers}", aim],
        "undecided": [f"neither better nor not inferior within {margin}: {numbers}", aim],
        "below the best": [f"better evidence is needed against the best adapter ever promoted: {numbers}", aim],
    }  # fmt: skip
    return sentences[path]
