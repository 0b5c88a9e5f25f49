"""NVIDIA data-flywheel records: `{"timestamp", "workload_id", "client_id", "request", "response"}`, one a line.

Arguments are objects and tool-call ids are dropped there; calls get ids by position, results are paired in order.
"""

from typing import Any

from flywheel.traces.adapters.chat_completions import exchange_of
from flywheel.traces.exchange import Exchange

FORMAT = "nvidia_flywheel"


def recognises(record: dict[str, Any]) -> bool:
    """Whether a record is of this format: a chat exchange with a workload id."""
    return isinstance(record.get("request"), dict) and bool(record.get("workload_id")) and "client_id" in record


def exchanges(record: dict[str, Any]) -> list[Exchange]:
    """The one exchange of a record; raises Refused with the reason."""
    return [exchange_of(record, FORMAT, "nvidia-flywheel")]
