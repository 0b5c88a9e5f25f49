"""Detectors: one small function each, a run in, findings out. `ALL` is the order they run in.

Triage looks at production's runs with them, evaluation at the failed cases of the benchmark: one vocabulary for both.
"""

from collections.abc import Callable, Iterator

from flywheel.detectors.finding import Finding, Run
from flywheel.detectors.gold_actions import off_gold
from flywheel.detectors.grounding import ungrounded_arguments
from flywheel.detectors.incomplete_results import claimed_success_over_incomplete_result
from flywheel.detectors.outcomes import abandoned, bad_outcome, conflicting_labels, model_error
from flywheel.detectors.policies import forbidden_without
from flywheel.detectors.schemas import invalid_calls, unparsed_calls
from flywheel.detectors.structured_answers import invalid_answers, ungrounded_answers
from flywheel.detectors.tool_errors import claimed_success_after_error, repeated_call, unresolved_error
from flywheel.detectors.user_corrections import user_asks_again, user_left, user_objects

Detector = Callable[[Run], Iterator[Finding]]

# A million runs a week: detectors that need something (a failed tool, a second turn, a label) run only where it is.
ON_ERRORS = (repeated_call, claimed_success_after_error, unresolved_error)
ON_DIALOGUE = (user_objects, user_asks_again, user_left)
ON_LABELS = (off_gold, conflicting_labels, bad_outcome)
ALWAYS = (
    invalid_calls, unparsed_calls, invalid_answers, ungrounded_arguments, ungrounded_answers, forbidden_without, model_error, abandoned,
    claimed_success_over_incomplete_result,
)  # fmt: skip
ALL = (*ALWAYS, *ON_ERRORS, *ON_DIALOGUE, *ON_LABELS)
