"""Agreement between two annotators who corrected the same run without knowing of each other: Krippendorff's alpha.

Four layers: first wrong step, kind of fix and tool (nominal), arguments (JSON-path distance). Alpha itself lies in
`statistics/agreement.py`; the distances follow Braylan, Alonso and Lease (2022).
"""

from collections.abc import Sequence

from flywheel.corrections.answers import Answer, first_answers
from flywheel.corrections.events import EventStore
from flywheel.statistics.agreement import Alpha, alpha
from flywheel.toolcalls.distance import distance


def overlap_pairs(store: EventStore, batch: str) -> list[tuple[Answer, Answer]]:
    """First answers to an item and to its overlap twin, by different people; pairs that are not complete are left out."""
    history = store.history(batch)
    twins = [
        (event.payload["source"], event.item_id)
        for _, _, event in history
        if event.kind == "plant" and event.payload.get("kind") == "overlap"
    ]
    answers = first_answers(history)
    return [(answers[one], answers[other]) for one, other in twins if one in answers and other in answers]


def agreement(pairs: Sequence[tuple[Answer, Answer]]) -> dict[str, Alpha]:
    """Alpha of each layer: step, kind, tool, and arguments (where both made a call of the same tool)."""
    called = [(one, other) for one, other in pairs if one.tool is not None and one.tool == other.tool]
    return {
        "step": alpha([(one.step, other.step) for one, other in pairs]),
        "kind": alpha([(one.kind, other.kind) for one, other in pairs]),
        "tool": alpha([(one.tool, other.tool) for one, other in pairs]),
        "arguments": alpha([(one.arguments, other.arguments) for one, other in called], distance),
    }
