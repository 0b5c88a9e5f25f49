"""Why a checkpoint is as it is: what it trained on, how it was judged, which failures it was meant to repair and which came back."""

import json
from collections import Counter
from typing import Any

import polars as pl

from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel.operations.lineage import Link, checkpoint_links


def why(lake: Lake, workflow: str, adapter: str) -> list[Link]:
    """The account of one checkpoint, by its adapter id or the beginning of it.

    Raises FlywheelError when there is none, or more than one.
    """
    trained = lake.read_columns("checkpoint", ("week", "adapter_id"), workflow=workflow)
    found = trained.filter(pl.col("adapter_id").str.starts_with(adapter))
    names = sorted(set(found["adapter_id"]))
    if len(names) != 1:
        known = ", ".join(sorted(set(trained["adapter_id"]))) or "none"
        raise FlywheelError(f"{len(names)} checkpoints of {workflow} are called {adapter!r}", where=f"known: {known}",
                            remedy="name one of them by enough of its id")  # fmt: skip
    week = found["week"][-1]
    return [
        *checkpoint_links(lake, workflow, week, set()),
        *_trained_on(lake, workflow, week),
        *_repaired(lake, workflow, week, names[0]),
    ]


def _trained_on(lake: Lake, workflow: str, week: str) -> list[Link]:
    """Rows by source and bucket, and the weeks, runs and people behind the corrections."""
    where = pl.col("week") == week
    rows = lake.read_columns("sft_dataset", ("row_id", "source", "source_id", "bucket", "from_week", "trace_id", "qa_mode", "annotator_kind"),
                             workflow=workflow, where=where)  # fmt: skip
    corrections = rows.filter(source="correction")
    by_source = Counter(rows["source"])
    links = [Link("rows", str(rows.height), {**dict(sorted(by_source.items())), "corrections": corrections["source_id"].n_unique(),
                                             "runs": corrections["trace_id"].n_unique(), "written by": dict(sorted(Counter(rows["annotator_kind"]).items())),
                                             "qa modes": dict(sorted(Counter(rows["qa_mode"]).items()))})]  # fmt: skip
    for (bucket,), part in sorted(corrections.group_by("bucket"), key=lambda pair: str(pair[0])):
        weeks = sorted(set(part["from_week"].drop_nulls()))
        links.append(
            Link(
                "repairs",
                str(bucket),
                {"rows": part.height, "corrections": part["source_id"].n_unique(), "weeks": ", ".join(weeks)},
            )
        )
    out = lake.read_columns(
        "dataset_left_out", ("source_id", "message_index", "reason"), workflow=workflow, where=where
    )
    if out.height:
        links.append(Link("left out", str(out.height), dict(sorted(Counter(out["reason"]).items()))))
    return links


def _repaired(lake: Lake, workflow: str, week: str, adapter: str) -> list[Link]:
    """Cases that only one arm solved, and the production clusters that stopped or came back under the adapter."""
    links: list[Link] = []
    results = lake.read_columns(
        "eval_results", ("week", "case_id", "arm", "epoch", "success"), workflow=workflow, where=pl.col("week") == week
    )
    solved: dict[str, dict[str, bool]] = {}
    for row in results.filter(pl.col("arm").is_in(["candidate", "incumbent"])).iter_rows(named=True):
        solved.setdefault(row["case_id"], {})[row["arm"]] = bool(row["success"])
    for name, candidate in (("cases fixed", True), ("cases broken", False)):
        cases = sorted(
            key
            for key, arms in solved.items()
            if len(arms) == 2 and arms["candidate"] is candidate and arms["incumbent"] is not candidate
        )
        if solved:
            links.append(Link(name, str(len(cases)), {"of": len(solved), "such as": ", ".join(cases[:5])}))
    clusters = lake.read_weeks("failure_clusters", workflow=workflow).filter(pl.col("week") > week)
    fixed = clusters.filter(fixed_by=adapter)
    for cluster in sorted(set(fixed["failure_cluster"])):
        links.append(
            Link(
                "failure cluster fixed",
                cluster,
                {"seen last": fixed.filter(failure_cluster=cluster)["last_seen_week"][0]},
            )
        )
    back = [
        row
        for row in clusters.filter(status="come_back").iter_rows(named=True)
        if adapter in _served(row["by_adapter"])
    ]
    links += [
        Link("failure cluster came back", row["failure_cluster"], {"week": row["week"], "failures": row["failures"]})
        for row in back
    ]
    return links


def _served(by_adapter: Any) -> dict[str, Any]:
    return json.loads(by_adapter or "{}")
