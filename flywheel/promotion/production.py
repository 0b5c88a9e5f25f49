"""What production's traces show of their configuration, against what was evaluated: `unevaluated_configuration_in_production`.

A trace shows the adapter, the system prompt and the tools. Decoding, template, quantisation and the server's version stand in no log
that is read here, so nothing is said of them. Until a first decision noted its configuration, nothing is known and nothing is raised.
"""

import json
from collections import Counter
from typing import NamedTuple

from flywheel.lake import Lake
from flywheel.privacy.redaction import kinds_in
from flywheel.promotion.comparison import evaluated_parts
from flywheel.promotion.pointer import BASE
from flywheel.serving.configuration import text_sha256, tools_sha256, without_dates
from flywheel.workflows.pack import Pack

NAME = "unevaluated_configuration_in_production"


class Shown(NamedTuple):
    """Runs of a week whose configuration was never evaluated: the part, how many of the runs that show it, and one of them."""

    part: str
    runs: int
    of: int
    example: str

    def sentence(self) -> str:
        """For people."""
        return f"{self.runs} of {self.of} runs carry {self.part} that was never evaluated, e.g. trace {self.example}"


def unevaluated(lake: Lake, pack: Pack, week: str) -> list[Shown]:
    """What the runs of a week show that neither a weekly decision nor a promoted comparison ran with; empty where all is known."""
    log = lake.read_weeks("promotion_log", workflow=pack.name)
    known = [parts for parts, _ in evaluated_parts(log, lake.read_weeks("configuration_verdicts", workflow=pack.name))]
    if not known:
        return []
    toolsets = dict(lake.read_weeks("toolsets", workflow=pack.name).select("tools_sha256", "tools").iter_rows())
    offered = {digest: tools_sha256(json.loads(text)) for digest, text in toolsets.items()}
    prompts, tools = ({parts[name] for parts in known} for name in ("system_without_dates_sha256", "tools_sha256"))
    adapters = {BASE, *(parts["adapter_id"] for parts in known), *log["served_adapter_id"]}
    # Redaction replaced what it found in the prompts of the traces: they cannot be told apart from edited ones.
    comparable = not kinds_in(pack.system, pack.settings.privacy.redact)
    seen: dict[str, Counter[bool]] = {"a system prompt": Counter(), "tools": Counter(), "an adapter": Counter()}
    examples: dict[str, str] = {}
    hashes: dict[str, str] = {}
    for frame in lake.batches("production_traces", workflow=pack.name, week=week, columns=["trace_id", "adapter_id", "tools_sha256", "messages"]):  # fmt: skip
        first = {name: frame["messages"].str.json_path_match(f"$[0].{name}") for name in ("role", "content")}
        for trace, adapter, digest, role, prompt in zip(
            frame["trace_id"], frame["adapter_id"], frame["tools_sha256"], first["role"], first["content"], strict=True
        ):
            shown: list[tuple[str, bool]] = [("an adapter", adapter in adapters)]
            if digest in offered:
                shown.append(("tools", offered[digest] in tools))
            if comparable and role == "system" and prompt is not None:
                if prompt not in hashes:
                    hashes[prompt] = text_sha256(without_dates(prompt))
                shown.append(("a system prompt", hashes[prompt] in prompts))
            for part, evaluated in shown:
                seen[part][evaluated] += 1
                if not evaluated:
                    examples.setdefault(part, trace)
    return [
        Shown(part, counts[False], counts.total(), examples[part]) for part, counts in seen.items() if counts[False]
    ]
