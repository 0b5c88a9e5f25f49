"""Detectors: one small function each, a run in, findings out. `ALL` is the order they run in."""

from collections.abc import Callable, Iterator

from flywheel.failures.detectors.gold_actions import off_gold
from flywheel.failures.detectors.grounding import ungrounded_arguments
from flywheel.failures.detectors.outcomes import abandoned, bad_outcome, conflicting_labels, model_error
from flywheel.failures.detectors.policies import forbidden_without
from flywheel.failures.detectors.schemas import invalid_calls, unparsed_calls
from flywheel.failures.detectors.tool_errors import claimed_success_after_error, repeated_call, unresolved_error
from flywheel.failures.detectors.user_corrections import user_asks_again, user_left, user_objects
from flywheel.failures.finding import Finding, Run

Detector = Callable[[Run], Iterator[Finding]]

# A million runs a week: detectors that need something (a failed tool, a second turn, a label) run only where it is.
ON_ERRORS = (repeated_call, claimed_success_after_error, unresolved_error)
ON_DIALOGUE = (user_objects, user_asks_again, user_left)
ON_LABELS = (off_gold, conflicting_labels, bad_outcome)
ALWAYS = (invalid_calls, unparsed_calls, ungrounded_arguments, forbidden_without, model_error, abandoned)
ALL = (*ALWAYS, *ON_ERRORS, *ON_DIALOGUE, *ON_LABELS)
