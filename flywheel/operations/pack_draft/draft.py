"""`flywheel init NAME --from LOGS`: a pack whose every line comes from the runs, each guess marked for a person."""

from pathlib import Path
from typing import Any, NamedTuple

from flywheel.errors import FlywheelError
from flywheel.operations.pack_draft.access import draft_access
from flywheel.operations.pack_draft.evidence import Evidence
from flywheel.operations.pack_draft.lengths import draft_lengths
from flywheel.operations.pack_draft.personal import draft_personal
from flywheel.operations.pack_draft.policies import draft_policies
from flywheel.operations.pack_draft.prompt import families, varying
from flywheel.operations.pack_draft.results import draft_results
from flywheel.operations.pack_draft.routes import choose, split
from flywheel.operations.pack_draft.tools import draft_tools
from flywheel.privacy.redaction import kinds_in
from flywheel.traces.routing import system_prompt
from flywheel.traces.sample import Sample
from flywheel.traces.trace import Trace
from flywheel.workflows.guesses import Guess, digest_of
from flywheel.workflows.starter import refuse_existing, write_pack


class Draft(NamedTuple):
    """A pack that was written: its tools, guesses, remarks for the person who started it, and the runs it was drafted from."""

    tools: list[dict[str, Any]]
    guesses: list[Guess]
    remarks: list[str]
    runs: list[Trace]


def draft_pack(
    folder: Path, sample: Sample, *, tools: list[dict[str, Any]] | None = None, system: str | None = None,
    workflow: str | None = None,
) -> Draft:  # fmt: skip
    """Write a pack drafted from a sample of runs, and check that it loads; where it does not, nothing of it stays.

    Args:
        tools, system: what somebody knows already; only the rest is guessed.
        workflow: which of several workflows in the log, by its name in `routes.split`; default: the pack's name, else the largest.

    Raises FlywheelError where no run calls or logs a tool: there is then nothing this loop could teach.
    """
    refuse_existing(folder)
    routing = choose(split(sample.runs), folder.name, workflow)
    runs = routing.runs
    evidence = Evidence(runs)
    drafted = draft_tools(evidence, tools)
    if not drafted.tools:
        raise FlywheelError(f"none of {len(runs)} runs logs a tool or calls one", where=folder.name,
                            remedy="log the tools the model is offered, or name them: --tools tools.json")  # fmt: skip
    access, guessed_access = draft_access(evidence, drafted.tools)
    personal = draft_personal(evidence, drafted.tools)
    made = [{**tool, "x-access": access[name]} for name, tool in drafted.tools.items()]
    text, guessed_prompt, remarks = (system, [], []) if system is not None else _prompt(runs)
    hidden = {guess.place[:-1] for guess in personal}  # values of personal fields are listed nowhere
    shapes = [guess for guess in drafted.guesses if guess.place[:-1] not in hidden]
    failures, counted = draft_results(evidence)
    habits = draft_policies(evidence, access)
    guesses = [*shapes, *guessed_access, *personal, *guessed_prompt, *routing.guesses, *habits, *failures]
    lengths = draft_lengths(runs, made, text)
    more = routing.yaml + (f"training:\n  max_prompt_tokens: {lengths.prompt}\n" if lengths.remark else "")
    write_pack(folder, tools=made, system=text, guesses=guesses, more=more, model_len=lengths.model)
    return Draft(
        made, guesses, [*routing.remarks, *drafted.remarks, *remarks, *counted, *filter(None, [lengths.remark])], runs
    )


def _prompt(all_runs: list[Trace]) -> tuple[str, list[Guess], list[str]]:
    """The system prompt of most runs, its guess, and what else was seen."""
    groups, _ = families([system_prompt(run) for run in all_runs])
    most = groups[0]
    text, runs = most.usual, len(all_runs)
    because = f"{most.counts[text]} of {runs} runs carry it word for word"
    remarks = []
    if not text:
        remarks.append("most runs log no system prompt: write it into system.md as production sends it")
    if held := kinds_in(text):
        remarks.append(
            f"the system prompt written down holds personal data ({', '.join(held)}): put what every run sends into system.md"
        )
    if len(most.counts) > 1:
        parts = "; ".join(varying(most))
        remarks.append(
            f"the system prompt varies: {len(most.counts)} wordings in {most.counts.total()} runs; what differs: {parts}"
        )
        because += f"; one of {len(most.counts)} wordings"
    if len(groups) > 1:
        others = ", ".join(str(group.counts.total()) for group in groups[1:6])
        remarks.append(f"{len(groups) - 1} quite different system prompts are in the log, too (runs: {others})")
    return text, [Guess("system.md", "system.md", (), digest_of(text), True, because)], remarks
