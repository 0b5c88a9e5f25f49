"""What is drafted: accepted corrections whose failure cluster no case covers yet, then refusal and adversarial cases from the tools.

A drafted correction trains no more, nor does its near-duplicate group, so few are taken, and of each group one.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from flywheel.benchmark.adversarial import Proposal, adversarial_proposals, refusal_proposals
from flywheel.benchmark.cases import REQUIRED_CATEGORIES, Case, case_content
from flywheel.benchmark.drafts import EDIT, FOLDER, read_drafts, write_draft
from flywheel.benchmark.promote import Wanted, case_of_trace
from flywheel.benchmark.supersede import listed_cases
from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel.toolcalls.structured_answers import check_answer, response_at
from flywheel.workflows.pack import Pack

# Of the accepted corrections of a workflow, drafts and cases together take so many: the rest is there to learn from.
SHARE = 0.2


def draft_cases(lake: Lake, pack: Pack, *, corrections: int, refusals: int, adversarial: int) -> list[Path]:
    """Write drafts, at most so many of each kind; those that are drafted or frozen already are passed over."""
    taken = set(lake.read_weeks("benchmark", workflow=pack.name)["case_id"])
    taken |= {file.stem for file in (pack.folder / "benchmark" / FOLDER).glob("*.yaml")}
    written = []
    for proposals, count in (
        (correction_proposals(lake, pack), corrections),
        (refusal_proposals(pack), refusals),
        (adversarial_proposals(pack), adversarial),
    ):
        left = count
        while left > 0 and (proposal := next(proposals, None)) is not None:
            if proposal.values["id"] not in taken:
                written.append(write_draft(pack, proposal.values, proposal.about))
                taken.add(proposal.values["id"])
                left -= 1
    return written


def missing_categories(pack: Pack) -> list[str]:
    """The categories that `learn` asks for and that neither a case nor a draft has; none while a draft cannot be read: `freeze` says why."""
    listed: set[str] = {case.category for case in listed_cases(pack.folder / "benchmark")}
    try:
        drafted = {str(draft.values.get("category")) for draft in read_drafts(pack.folder / "benchmark")}
    except FlywheelError:
        return []
    return [category for category in REQUIRED_CATEGORIES if category not in listed | drafted]


def correction_proposals(lake: Lake, pack: Pack) -> Iterator[Proposal]:
    """Cases of accepted corrections, clusters without a case first, newest week first inside a cluster; one a near-duplicate group."""
    columns = ("week", "trace_id", "failure_cluster", "near_duplicate_group", "bucket")
    accepted = lake.read_columns("corrected_traces", columns, workflow=pack.name)
    frozen = lake.read_weeks("benchmark", workflow=pack.name)
    drafted = lake.read_weeks("benchmark_drafts", workflow=pack.name)
    used = {*frozen["origin_trace_id"].drop_nulls(), *drafted["origin_trace_id"].drop_nulls()}
    of_used = accepted.filter(pl.col("trace_id").is_in(sorted(used)))
    room = int(SHARE * accepted.height) - len(used)
    groups, clusters = set(of_used["near_duplicate_group"]), set(of_used["failure_cluster"])
    ordered = accepted.sort("week", "failure_cluster", "trace_id", descending=[True, False, False])
    rounds = [ordered.unique("failure_cluster", keep="first", maintain_order=True), ordered]
    for row in pl.concat(rounds).iter_rows(named=True):
        if room <= 0:
            return
        first_round = row["failure_cluster"] not in clusters
        if row["trace_id"] in used or row["near_duplicate_group"] in groups:
            continue
        clusters.add(row["failure_cluster"])
        groups.add(row["near_duplicate_group"])
        used.add(row["trace_id"])
        room -= 1
        case, wrote = _case(lake, pack, row["trace_id"])
        new = "the first case of its failure cluster" if first_round else "another case of its failure cluster"
        about = (
            f"From the accepted correction of run {row['trace_id']} ({row['bucket']}); {new}: {row['failure_cluster']}."
        )
        yield Proposal(case_content(case), about + wrote)


def _case(lake: Lake, pack: Pack, trace_id: str) -> tuple[Case, str]:
    """The case, and what the expert wrote where the correction is a reply in words: what of it must be said, a person knows."""
    columns = ("trace_id", "messages", "first_bad_message_index")
    rows = lake.read_columns("corrected_traces", columns, workflow=pack.name, where=pl.col("trace_id") == trace_id)
    row = rows.row(0, named=True)
    messages, index = json.loads(row["messages"]), row["first_bad_message_index"]
    right = messages[index]
    response = response_at(pack.responses, messages, index)
    if right.get("tool_calls") or (response and not check_answer(response, right.get("content"))):
        return case_of_trace(lake, pack.name, trace_id, Wanted(), responses=pack.responses), ""
    wanted = Wanted(includes=[f"{EDIT} a phrase that the right reply must hold"])
    return case_of_trace(lake, pack.name, trace_id, wanted), f"\nThe expert wrote: {right.get('content')}"
