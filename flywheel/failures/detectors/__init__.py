"""Detectors: one small function each, a run in, findings out. `ALL` is the order they run in."""

from flywheel.failures.detectors.outcomes import abandoned, bad_feedback
from flywheel.failures.detectors.policies import forbidden_without
from flywheel.failures.detectors.schemas import invalid_calls, unparsed_calls
from flywheel.failures.detectors.tool_errors import claimed_success_after_error, repeated_call, unresolved_error
from flywheel.failures.detectors.user_corrections import user_objects

ALL = (
    invalid_calls,
    unparsed_calls,
    repeated_call,
    claimed_success_after_error,
    unresolved_error,
    forbidden_without,
    user_objects,
    bad_feedback,
    abandoned,
)
