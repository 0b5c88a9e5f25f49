"""Fix receipts: what became of somebody's corrections, from the adapter that learned them to the failures that came back.

Who corrects must not learn the frozen benchmark, or it would leak into what trains. So of frozen cases a receipt only counts: so many about
this bucket and tool, solved before and after; never a word of one. The before and after in words is a *sibling*: a production step of the
same failure cluster in the week after, which the adapter had never seen when it was asked (`prequential_results`). Text of a sibling is
shown only to people who worked on that very step later: to them it is nothing new, and no planted item is given away to anybody else.
Of several the first by id is shown, whatever came of it. Names of others are never shown.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import date, timedelta
from typing import Any, NamedTuple

import polars as pl

from flywheel.lake import Lake

WROTE, JUDGED = ("annotator", "editor"), ("reviewer", "adjudicator", "auditor")
SHOWN_WEEKS = 8
_LATER = timedelta(days=14)


class Who(NamedTuple):
    """Whose receipts: a person by name, or everybody of a partner."""

    name: str
    partner: bool = False

    def did(self, columns: Sequence[str]) -> pl.Expr:
        """Rows in which they stand in one of the columns."""
        mine = [
            pl.col(one).str.starts_with(f"{self.name}/") if self.partner else pl.col(one) == self.name
            for one in columns
        ]
        return pl.any_horizontal([one.fill_null(False) for one in mine])


class Sibling(NamedTuple):
    """One later step of the same cluster: what was asked, and what was written before and after, right or wrong."""

    week: str
    asked: str
    before: str
    before_right: bool
    after: str
    after_right: bool


class ClusterReceipt(NamedTuple):
    """What became of one failure cluster.

    Attributes:
        corrections: theirs, written or judged.
        then, later: the agent's failures and opportunities in the week, and two weeks later; None where not counted, or not over.
        cases: frozen cases about its bucket and tool: how many, solved before, solved after.
        steps: later steps of the cluster, asked before they trained: how many, right before, right after.
    """

    cluster: str
    corrections: int
    then: tuple[int, int] | None
    later: tuple[int, int] | None
    cases: tuple[int, int, int]
    steps: tuple[int, int, int]
    sibling: Sibling | None

    def lines(self) -> list[str]:
        """What is known of it, a line each."""
        told = [f"{self.corrections} of the corrections"]
        if self.then:
            later = (
                "two weeks later is not over"
                if self.later is None
                else f"two weeks later {self.later[0]} of {self.later[1]}"
            )
            told.append(f"came {self.then[0]} times in {self.then[1]} opportunities; {later}")
        if self.cases[0]:
            told.append(
                f"of {self.cases[0]} frozen cases about it, solved before {self.cases[1]}, after {self.cases[2]}"
            )
        if self.steps[0]:
            told.append(
                f"of {self.steps[0]} new steps the week after, right before {self.steps[1]}, after {self.steps[2]}"
            )
        if one := self.sibling:
            told.append(f"one of them, answered here later: {one.asked}")
            told += [f"{name}, {'right' if right else 'wrong'}: {text}"
                     for name, right, text in (("before", one.before_right, one.before), ("after", one.after_right, one.after))]  # fmt: skip
        return told


class Receipt(NamedTuple):
    """One week: corrections written and judged, of which so many trained which adapter, how it was judged, from which week on it served, and
    whether it still does."""

    week: str
    wrote: int
    judged: int
    trained: int
    adapter_id: str | None
    verdict: str | None
    served_since: str | None
    serves: bool
    clusters: list[ClusterReceipt]

    def headline(self) -> str:
        """The receipt in one sentence."""
        did = " and ".join(
            [f"{self.wrote} correction{'s' * (self.wrote != 1)}"] * bool(self.wrote)
            + [f"{self.judged} judged"] * bool(self.judged)
        )
        if self.adapter_id is None:
            end = "nothing was trained since"
        else:
            served = (
                f"{'serves since' if self.serves else 'served from'} week {self.served_since}"
                if self.served_since
                else "has not served"
            )
            served += "" if self.serves or not self.served_since else " on and no longer does"
            end = f"{self.trained} trained {self.adapter_id} ({self.verdict or 'not judged'}), which {served}"
        count = len(self.clusters)
        return f"{did} → {count} {'cluster' if count == 1 else 'clusters'} → {end}"


def receipts(lake: Lake, workflow: str, who: Who, *, week: str | None = None) -> list[Receipt]:
    """Their newest weeks, newest first; empty for somebody without an accepted correction.

    Args:
        week: only this one.
    """
    columns = ("week", "correction_id", "item_id", "failure_cluster", "bucket", *WROTE, *JUDGED)
    corrected = lake.read_columns("corrected_traces", columns, workflow=workflow)
    theirs = corrected.filter(who.did([*WROTE, *JUDGED])).with_columns(wrote=who.did(WROTE))
    weeks = [one for one in sorted(set(theirs["week"]), reverse=True) if week in (None, one)][:SHOWN_WEEKS]
    return [_receipt(lake, workflow, one, theirs.filter(week=one), set(theirs["item_id"])) for one in weeks]


def _receipt(lake: Lake, workflow: str, week: str, theirs: pl.DataFrame, known: Collection[str]) -> Receipt:
    checkpoints = (
        lake.read_columns("checkpoint", ("week", "adapter_id"), workflow=workflow)
        .filter(pl.col("week") >= week)
        .sort("week")
    )
    made = checkpoints.row(0, named=True) if checkpoints.height else None
    trained, verdict, since, serves = 0, None, None, False
    if made:
        of_week = pl.col("week") == made["week"]
        rows = lake.read_columns("sft_dataset", ("week", "row_id", "source_id"), workflow=workflow, where=of_week)
        trained = len(set(rows["source_id"]) & set(theirs["correction_id"]))
        judged = lake.read_columns(
            "promotion", ("week", "candidate_adapter_id", "verdict"), workflow=workflow, where=of_week
        )
        verdict = next(iter(judged.filter(candidate_adapter_id=made["adapter_id"])["verdict"]), None)
        log = lake.read_weeks("promotion_log", workflow=workflow).sort("week", "decided_at")
        since = min(log.filter(served_adapter_id=made["adapter_id"])["week"], default=None)
        serves = log["served_adapter_id"][-1] == made["adapter_id"] if log.height else False
    wrote = int(theirs["wrote"].sum())
    clusters = _clusters(lake, workflow, week, made, theirs, known)
    return Receipt(
        week,
        wrote,
        theirs.height - wrote,
        trained,
        made["adapter_id"] if made else None,
        verdict,
        since,
        serves,
        clusters,
    )


def _clusters(
    lake: Lake, workflow: str, week: str, made: Mapping[str, Any] | None, theirs: pl.DataFrame, known: Collection[str]
) -> list[ClusterReceipt]:  # fmt: skip
    """The week's clusters they worked on, the largest share of their work first."""
    later = (date.fromisoformat(week) + _LATER).isoformat()
    columns = ("week", "failure_cluster", "tool", "agent_failures", "opportunities")
    counted = lake.read_columns(
        "failure_clusters", columns, workflow=workflow, where=pl.col("week").is_in([week, later])
    )
    seen = {(row["week"], row["failure_cluster"]): row for row in counted.iter_rows(named=True)}
    solved = _frozen(lake, workflow, made["week"]) if made else []
    asked = _asked(lake, workflow, made) if made else []
    found = []
    work = (
        theirs.group_by("failure_cluster")
        .agg(pl.len(), pl.col("bucket").first())
        .sort("len", "failure_cluster", descending=[True, False])
    )
    for cluster, count, bucket in work.select("failure_cluster", "len", "bucket").iter_rows():
        tool = (seen.get((week, cluster)) or seen.get((later, cluster)) or {}).get("tool")
        cases = [both for exercises, both in solved if _about(exercises, bucket, tool)]
        steps = [row for row in asked if row["failure_cluster"] == cluster]
        mine = next((row for row in steps if row["item_id"] in known), None)
        found.append(
            ClusterReceipt(
                cluster, count, _counts(seen.get((week, cluster))), _counts(seen.get((later, cluster))),
                (len(cases), sum(before for before, _ in cases), sum(after for _, after in cases)),
                (len(steps), sum(row["before_right"] for row in steps), sum(row["after_right"] for row in steps)),
                _sibling(mine) if mine else None,
            )
        )  # fmt: skip
    return found


def _counts(row: Mapping[str, Any] | None) -> tuple[int, int] | None:
    return None if row is None else (int(row["agent_failures"] or 0), int(row["opportunities"] or 0))


def _about(exercises: Mapping[str, Any], bucket: str, tool: str | None) -> bool:
    return bucket in exercises.get("buckets", []) and (tool is None or tool in exercises.get("tools", []))


def _frozen(lake: Lake, workflow: str, week: str) -> list[tuple[Mapping[str, Any], tuple[bool, bool]]]:
    """What each frozen case is about, and whether incumbent and candidate solved it in every repetition."""
    columns = ("week", "case_id", "arm", "epoch", "success")
    rows = lake.read_columns("eval_results", columns, workflow=workflow, where=pl.col("week") == week).drop_nulls(
        "success"
    )
    solved = dict(
        ((arm, case), right)
        for arm, case, right in rows.group_by("arm", "case_id").agg(pl.col("success").all()).iter_rows()
    )
    cases = lake.read_columns("benchmark", ("case_id", "case"), workflow=workflow)
    return [
        (json.loads(case)["exercises"], (solved["incumbent", name], solved["candidate", name]))
        for name, case in cases.select("case_id", "case").iter_rows()
        if ("incumbent", name) in solved and ("candidate", name) in solved
    ]


def _asked(lake: Lake, workflow: str, made: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The next week's steps that the adapter and what it was judged against were asked, by case id."""
    after = (date.fromisoformat(made["week"]) + timedelta(days=7)).isoformat()
    columns = ("week", "case_id", "arm", "epoch", "adapter_id", "success", "transcript", "item_id", "failure_cluster")
    rows = lake.read_columns("prequential_results", columns, workflow=workflow, where=pl.col("week") == after)
    first = rows.filter(epoch=0).drop_nulls("success")
    one = first.filter(arm="checkpoint", adapter_id=made["adapter_id"])
    both = one.join(
        first.filter(arm="incumbent").select("case_id", before="transcript", before_right="success"), on="case_id"
    )
    return both.rename({"transcript": "after", "success": "after_right"}).sort("case_id").to_dicts()


def _sibling(row: Mapping[str, Any]) -> Sibling:
    before, after = json.loads(row["before"]), json.loads(row["after"])
    said = [str(message.get("content") or "") for message in after if message["role"] == "user"]
    return Sibling(
        row["week"],
        said[-1] if said else "",
        _written(before[-1]),
        row["before_right"],
        _written(after[-1]),
        row["after_right"],
    )


def _written(message: Mapping[str, Any]) -> str:
    """A step in one line: its calls, else what it said."""
    calls = [f"{call['function']['name']}({call['function']['arguments']})" for call in message.get("tool_calls") or []]
    return "; ".join(calls) or " ".join(str(message.get("content") or "").split()) or "nothing"
