"""Adapters: one module an input format, chosen by sniffing, overridable in the pack (`trace_format`).

Two kinds. A *run* adapter has `read(bytes) -> Trace`: one record, one run. An *exchange* adapter has
`exchanges(object) -> [Exchange]`, and `parts(object)` where a record holds several; runs are stitched from exchanges.
"""

from collections.abc import Iterable
from types import ModuleType
from typing import Any

from flywheel.traces.adapters import chat_completions, langfuse, messages, nvidia_flywheel, openinference, otel_genai

# The order of asking: the narrower format first.
ADAPTERS: dict[str, ModuleType] = {
    module.FORMAT: module
    for module in (nvidia_flywheel, chat_completions, langfuse, openinference, otel_genai, messages)
}


def sniff(records: Iterable[dict[str, Any]]) -> str:
    """The format of the first record that any adapter recognises; `messages` when none is, so that its errors say what is missing."""
    for record in records:
        for name, module in ADAPTERS.items():
            try:
                if module.recognises(record):
                    return name
            except (AttributeError, TypeError, KeyError, ValueError, RecursionError):
                continue  # an odd record; the next one decides
    return messages.FORMAT
