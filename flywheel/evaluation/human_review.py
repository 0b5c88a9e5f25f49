"""People check the program: a blind sample of evaluated outputs, what was said of it, and how far both agree.

An output is known by a hash of case, epoch and what the model wrote. The hash says nothing of the arm, two arms that wrote the same
share one rating, and an output that changes loses it. The sample is a function of the week's results alone: it can be drawn again at
any time and holds the same outputs. What nobody judged is missing, never passed; a disagreement is listed and overrides no score.
Source: inspect_ai's precomputed scores, joined by id and epoch.
"""

import math
from typing import Any, NamedTuple

import polars as pl

from flywheel.statistics.agreement import Alpha, Kappa, alpha, cohen_kappa
from flywheel.statistics.paired import Interval, clustered_rate, rate, wilson
from flywheel.toolcalls.arguments import sha256_of
from flywheel.workflows.evaluation_settings import Review

JUDGED_ARMS = ("candidate", "incumbent")
DOUBLE_RATED_MINIMUM = 0.1
_IN_EACH_STRATUM = 2


class ReviewState(NamedTuple):
    """How far a week's review is, and what it says.

    Attributes:
        sampled, decided: outputs drawn, and those on which people gave a verdict.
        undecided: rated, but unsure or split.
        double_rated: sampled outputs with a verdict of two people, and how many there have to be at least.
        agreement: share of the decided outputs on which people and the program agree, clustered by case cluster; None without any.
        kappa, between_raters: chance-corrected agreement with the program, and of the two people with each other.
        false_passes, false_failures: (people say otherwise, of so many) among what the program passed and failed.
    """

    sampled: int
    decided: int
    undecided: int
    double_rated: int
    double_wanted: int
    agreement: Interval | None
    kappa: Kappa
    between_raters: Alpha
    false_passes: tuple[int, int]
    false_failures: tuple[int, int]

    def sentence(self) -> str:
        """The state as people read it."""
        said = f"{self.decided} of {self.sampled} sampled outputs reviewed"
        if self.agreement is None:
            return said
        agree = round(self.agreement.estimate * self.agreement.n)
        bounds = f"{self.agreement.low:.1%} to {self.agreement.high:.1%}"
        return f"{said}; people and program agree on {agree} of {self.agreement.n} = {self.agreement.estimate:.1%} ({bounds})"


def outputs_of(results: pl.DataFrame) -> pl.DataFrame:
    """The distinct scored outputs of both judged arms in EVAL_RESULTS rows, by `output_id`; errors of the server are left out."""
    scored = results.filter(pl.col("arm").is_in(JUDGED_ARMS), pl.col("success").is_not_null())
    wrote = scored.select("case_id", "epoch", "transcript").rows()
    ids = pl.Series("output_id", [sha256_of(list(row))[:16] for row in wrote], dtype=pl.String)
    wanted = ("output_id", "case_id", "epoch", "case_cluster", "category", "success", "failure_reason", "transcript")
    return scored.with_columns(ids).unique("output_id", keep="first", maintain_order=True).select(wanted)


def draw(outputs: pl.DataFrame, review: Review, *, workflow: str, week: str) -> pl.DataFrame:
    """The week's sample: rows of `outputs` with `double` (goes to two people), in the order in which they are judged.

    Strata are category and the program's verdict: shares in proportion, two of each stratum at least. The draw is a hash of week and
    output, so it is the same whenever it is made.
    """
    if not outputs.height:
        return outputs.with_columns(double=pl.lit(False))
    lots = [sha256_of([workflow, week, one]) for one in outputs["output_id"]]
    shuffled = outputs.with_columns(lot=pl.Series(lots)).sort("lot")
    strata = [part for _, part in sorted(shuffled.group_by("category", "success"), key=lambda found: str(found[0]))]
    wanted = min(outputs.height, max(review.at_least, math.ceil(review.share * outputs.height)))
    quotas = _quotas([part.height for part in strata], wanted)
    taken = pl.concat([part.sort("lot").head(quota) for part, quota in zip(strata, quotas, strict=True)])
    twice = sorted(taken["output_id"], key=lambda one: sha256_of(["double", week, one]))
    twice = twice[: math.ceil(max(review.double_rated, DOUBLE_RATED_MINIMUM) * taken.height)]
    return taken.sort("lot").drop("lot").with_columns(double=pl.col("output_id").is_in(twice))


def _quotas(sizes: list[int], wanted: int) -> list[int]:
    """How many of each stratum: two at least, the rest in proportion by largest remainder; never more than there are."""
    first = [min(_IN_EACH_STRATUM, size) for size in sizes]
    left, spare = wanted - sum(first), sum(sizes) - sum(first)
    if left <= 0 or not spare:
        return first
    exact = [left * (size - base) / spare for size, base in zip(sizes, first, strict=True)]
    quotas = [base + math.floor(part) for base, part in zip(first, exact, strict=True)]
    by_remainder = sorted(range(len(sizes)), key=lambda stratum: (math.floor(exact[stratum]) - exact[stratum], stratum))
    for stratum in by_remainder[: wanted - sum(quotas)]:
        quotas[stratum] += 1
    return quotas


def sheets_of(sample: pl.DataFrame, people: int) -> list[pl.DataFrame]:
    """The sample dealt to so many people (two or more); what is rated double lies on two sheets."""
    numbered, place = sample.with_row_index("number"), pl.col("number")
    dealt = []
    for person in range(people):
        mine = (place % people == person) | (pl.col("double") & ((place + 1) % people == person))
        dealt.append(numbered.filter(mine).drop("number"))
    return dealt


def opinions(ratings: pl.DataFrame) -> pl.DataFrame:
    """One row an output: `people` who decided, `human_success` by their majority (null when split or unsure), raters, comments."""
    said = ratings.sort("output_id", "rater").group_by("output_id", maintain_order=True)
    counted = said.agg(
        passes=(pl.col("verdict") == "pass").sum().cast(pl.Int64), fails=(pl.col("verdict") == "fail").sum().cast(pl.Int64),
        raters=pl.col("rater").str.join(", "), comments=pl.col("comment").filter(pl.col("comment") != "").str.join("\n"),
    )  # fmt: skip
    majority = pl.when(pl.col("passes") != pl.col("fails")).then(pl.col("passes") > pl.col("fails"))
    return counted.with_columns(people=pl.col("passes") + pl.col("fails"), human_success=majority)


def state_of(sample: pl.DataFrame, ratings: pl.DataFrame) -> ReviewState:
    """How far the review of a sample is; ratings of other outputs do not count."""
    mine = ratings.filter(pl.col("output_id").is_in(sample["output_id"].implode()))
    judged = sample.join(opinions(mine), on="output_id", how="left", maintain_order="left")
    decided = judged.filter(pl.col("human_success").is_not_null())
    people, program = decided["human_success"].to_list(), decided["success"].to_list()
    clusters = decided["case_cluster"].to_list()
    agree = [one == other for one, other in zip(people, program, strict=True)]
    passed, failed = decided.filter(pl.col("success")), decided.filter(~pl.col("success"))
    return ReviewState(
        sampled=sample.height,
        decided=decided.height,
        undecided=judged.filter(pl.col("raters").is_not_null()).height - decided.height,
        double_rated=judged.filter(pl.col("people") >= 2).height,
        double_wanted=math.ceil(DOUBLE_RATED_MINIMUM * sample.height),
        agreement=clustered_rate(agree, clusters) if agree else None,
        kappa=cohen_kappa(list(zip(people, program, strict=True)), clusters),
        between_raters=alpha(_two_people(mine)),
        false_passes=(passed.filter(~pl.col("human_success")).height, passed.height),
        false_failures=(failed.filter(pl.col("human_success")).height, failed.height),
    )


def _two_people(ratings: pl.DataFrame) -> list[tuple[str, str]]:
    """The verdicts of the first two people, by name, on every output that two decided."""
    decided = ratings.filter(pl.col("verdict") != "unsure").sort("output_id", "rater")
    by_output = decided.group_by("output_id", maintain_order=True).agg("verdict")
    return [(verdicts[0], verdicts[1]) for verdicts in by_output["verdict"] if len(verdicts) >= 2]


def reasons_to_wait(state: ReviewState, review: Review, *, command: str) -> list[str]:
    """Why a pack that requires the review cannot promote yet, the decisive one first; empty when it can.

    Args:
        command: what to type for the sheets, for the reason.
    """
    needed = math.ceil(review.min_reviewed * state.sampled)
    if not state.sampled:
        return ["human review is required, and there is no scored output to draw a sample from"]
    if state.decided < needed:
        split = f", {state.undecided} more are unsure or split" if state.undecided else ""
        return [f"waits for human review: {state.decided} of {state.sampled} sampled cases reviewed, {needed} are needed{split}: {command}"]  # fmt: skip
    if state.double_rated < state.double_wanted:
        return [f"waits for human review: {state.double_rated} of {state.sampled} sampled cases were judged by two people, "
                f"{state.double_wanted} are needed: {command}"]  # fmt: skip
    if state.agreement is None or state.agreement.estimate < review.min_agreement:
        return [f"the program check cannot be believed: {state.sentence()}, the pack asks for {review.min_agreement:.0%}; "
                "mend the cases listed by flywheel evaluation disagreements, then evaluate again"]  # fmt: skip
    return []


def disagreements(outputs: pl.DataFrame, ratings: pl.DataFrame) -> pl.DataFrame:
    """EVALUATION_DISAGREEMENTS rows without partition columns: every decided output that the program scored otherwise."""
    judged = outputs.join(opinions(ratings), on="output_id", how="inner").filter(
        pl.col("human_success").is_not_null() & (pl.col("human_success") != pl.col("success"))
    )
    return judged.select(
        "output_id", "case_id", "epoch", "category", pl.lit("grader").alias("fault"),
        pl.col("success").alias("program_success"), "failure_reason", "human_success", "raters", "comments",
    ).sort("output_id")  # fmt: skip


def figures_of(state: ReviewState) -> list[dict[str, Any]]:
    """EVALUATION_REVIEW rows without partition columns."""
    agreement, kappa, between = state.agreement, state.kappa, state.between_raters

    def figure(
        name: str, value: float | None, low: float | None, high: float | None, n: int, note: str
    ) -> dict[str, Any]:
        return {"figure": name, "value": value, "low": low, "high": high, "n": n, "note": note}

    def share(name: str, count: int, n: int, note: str) -> dict[str, Any]:
        estimate, low, high, _ = wilson(count, n)
        return figure(name, estimate, low, high, n, note) if n else figure(name, None, None, None, 0, note)

    between_note = "Krippendorff's alpha of two people who judged the same output"
    return [
        share("reviewed", state.decided, state.sampled, f"{state.undecided} more are unsure or split; what is not reviewed is missing"),
        figure("agreement", *(agreement or (None, None, None, 0)), "people and program check say the same; clustered by case"),
        figure("kappa", *kappa, "Cohen's kappa with the program check; null when nothing ever differs"),
        figure("alpha_between_raters", between.alpha, between.low, between.high, between.pairs, between_note),
        share("false_passes", *state.false_passes, f"the program passed, people failed: {rate(*state.false_passes)}"),
        share("false_failures", *state.false_failures, f"the program failed, people passed: {rate(*state.false_failures)}"),
    ]  # fmt: skip
