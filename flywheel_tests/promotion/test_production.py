"""Traces that carry what nobody evaluated: other prompts, tools and adapters are counted, and dates are not another prompt."""

import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flywheel.operations.watching import unevaluated_configuration
from flywheel.promotion.pointer import entry
from flywheel.promotion.production import NAME, unevaluated
from flywheel.promotion.releases import Releases
from flywheel.serving.configuration import Configuration
from flywheel_tests.promotion.house import WEEKS, blank, make_house


@pytest.fixture
def acts(tmp_path: Path) -> Releases:
    return make_house(tmp_path)


def ran(acts: Releases, *runs: dict[str, Any]) -> None:
    """A week's traces: each run's prompt, tools and adapter; by default the pack's own."""
    offered = {"own": json.dumps(acts.pack.tools), "other": json.dumps(acts.pack.tools[:1])}
    acts.lake.append_new(
        "toolsets", [{"tools_sha256": name, "tools": text} for name, text in offered.items()], workflow="door"
    )
    made = []
    for number, run in enumerate(runs):
        said = {"system": acts.pack.system, "tools": "own", "adapter": "base", **run}
        first = [] if said["system"] is None else [{"role": "system", "content": said["system"]}]
        messages = [*first, {"role": "user", "content": "open it"}, {"role": "assistant", "content": "no"}]
        made.append(blank("production_traces", shard=0, trace_id=f"t{number}", messages=json.dumps(messages), tools_sha256=said["tools"],
                          adapter_id=said["adapter"]))  # fmt: skip
    acts.lake.replace_partition("production_traces", made, workflow="door", week=WEEKS[1])


def decided(acts: Releases, **changes: Any) -> None:
    """A decision that ran with the pack, or with it changed."""
    parts = Configuration("pack", dataclasses.replace(acts.pack, **changes), acts.base, "").parts()
    at = datetime(2026, 1, 12, tzinfo=UTC)
    row = entry(WEEKS[0], "d", "PROMOTE", "base", "new", at, candidate="new", configuration=json.dumps(parts))
    acts.lake.append_new("promotion_log", [row], workflow="door")


def test_before_anything_was_evaluated_nothing_is_raised(acts: Releases):
    ran(acts, {"system": "anything"})
    assert unevaluated(acts.lake, acts.pack, WEEKS[1]) == []
    assert unevaluated_configuration(acts.lake, acts.pack, datetime.now(UTC)) is None


def test_what_was_evaluated_raises_nothing_and_what_a_log_does_not_show_neither(acts: Releases):
    decided(acts)
    ran(acts, {}, {"adapter": "new"}, {"system": None}, {"tools": ""}, {"system": acts.pack.system + "\n"})
    assert unevaluated(acts.lake, acts.pack, WEEKS[1]) == []


def test_each_part_is_counted_with_an_example_and_told_with_what_to_do(acts: Releases):
    decided(acts)
    ran(
        acts,
        {"system": "Be nice."},
        {},
        {"system": "Be nice.", "tools": "other"},
        {"adapter": "stranger"},
        {"system": None, "tools": ""},
    )
    found = {one.part: (one.runs, one.of, one.example) for one in unevaluated(acts.lake, acts.pack, WEEKS[1])}
    assert found == {"a system prompt": (2, 4, "t0"), "tools": (1, 4, "t2"), "an adapter": (1, 5, "t3")}
    concern = unevaluated_configuration(acts.lake, acts.pack, datetime.now(UTC))
    assert (
        concern
        and concern.week == WEEKS[1]
        and concern.what.startswith(NAME)
        and "flywheel evaluate --gate pack" in concern.remedy
    )


def test_an_edited_pack_does_not_excuse_what_it_says_and_dates_are_no_edit(acts: Releases):
    decided(acts, system="Doors. Today is 2026-01-05. At most 3.")
    ran(
        acts,
        {"system": "Doors. Today is 2026-01-13. At most 3."},
        {"system": "Doors. Today is 2026-01-13. At most 9."},
        {},
    )
    (found,) = unevaluated(acts.lake, acts.pack, WEEKS[1])
    assert (found.part, found.runs, found.of, found.example) == ("a system prompt", 2, 3, "t1"), (
        "the pack's own was never evaluated either"
    )
    personal = dataclasses.replace(acts.pack, system="Write to help@example.com")
    assert unevaluated(acts.lake, personal, WEEKS[1]) == [], (
        "redaction rewrote such prompts: nothing can be said of them"
    )
