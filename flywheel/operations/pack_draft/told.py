"""What `flywheel init --from` tells the person: what was read, what was guessed, and the next command."""

from collections import Counter
from datetime import UTC, datetime

from flywheel.operations.pack_draft.draft import Draft
from flywheel.partitions import week_of
from flywheel.settings import Settings
from flywheel.traces.sample import Sample
from flywheel.traces.trace import Trace


def told(settings: Settings, name: str, sample: Sample, draft: Draft) -> list[str]:
    """Lines for the terminal; no text of a run is quoted but what differs between system prompts."""
    records = sum(sample.files.values())
    formats = ", ".join(f"{files} {name}" for name, files in sorted(sample.formats.items()))
    lines = [
        f"read {records:,} records of {len(sample.files)} files ({formats}): {len(sample.runs):,} runs"
        + ("" if sample.whole else "; a sample, the rest is read by flywheel run")
    ]
    lines += [
        f"  {count} refused, {reason}\n     -> {remedy}" for (reason, remedy), count in sample.refused.most_common(5)
    ]
    lines += [f"  {name} looks like a list of tools: give it as --tools" for name in sorted(sample.tool_lists)]
    if sample.foreign:
        lines.append(
            f"  passed over, no logs: {', '.join(f'{n} {ending}' for ending, n in sample.foreign.most_common(5))}"
        )
    writing = [tool["function"]["name"] for tool in draft.tools if tool["x-access"] == "write"]
    waiting = Counter("in force" if guess.in_force else "proposed" for guess in draft.guesses)
    lines += [
        f"{len(draft.tools)} tools; taken to write: {', '.join(writing) or 'none'}",
        *(f"note: {remark}" for remark in draft.remarks),
        f"guessed: {waiting['in force']} things that stand in the pack, {waiting['proposed']} proposals; see them: flywheel pack check {name}",
    ]
    return [*lines, *_next(settings, name, draft.runs)]


def _next(settings: Settings, name: str, runs: list[Trace]) -> list[str]:
    """The command for the newest week of the runs that has ended; undated runs belong to whichever week reads them."""
    weeks = Counter(week_of(run.started_at, settings.time_zone) for run in runs if run.started_at)
    undated = sum(run.started_at is None for run in runs)
    lines = [f"weeks: {', '.join(f'{week} ({runs})' for week, runs in sorted(weeks.items())[-8:])}"] if weeks else []
    if undated:
        lines.append(f"{undated} runs say no time: they belong to the week that reads them first")
    today = week_of(datetime.now(UTC), settings.time_zone)
    ended = [week for week in weeks if week < today]
    week = max(ended or weeks, default=settings.first_week)
    if weeks and not ended:
        lines.append(f"week {week} has not ended: it can be run from the Monday after it on")
    if weeks and week < settings.first_week:
        lines.append(
            f"older than this installation's first week, {settings.first_week}: export FLYWHEEL_FIRST_WEEK={min(weeks)}, for good"
        )
    return [*lines, f"next: flywheel run --workflow {name} --week {week} --stage collect"]
