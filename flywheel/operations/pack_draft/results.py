"""How do tools say that they failed? What triage knows is counted; what only looks like a failure is proposed.

Triage knows `{"error": …}`, `{"ok": false}` and its like, and text that begins with "Error" (`toolcalls/results.py`). A tool that says
"no such booking" is known to fail once a person has confirmed its `x-error-results`.
"""

import re
from collections import Counter

from flywheel.operations.pack_draft.evidence import Evidence
from flywheel.workflows.guesses import Guess

_SIGNS = re.compile(r"not found|no such|does not exist|doesn't exist|invalid|denied|unauthori[sz]ed|forbidden|not allowed|not permitted|failed|failure"
                    r"|unable to|could not|cannot|insufficient|expired|timed out|unavailable|exception", re.I)  # fmt: skip
_SHORT = 300  # a longer result is data that may speak of anything
_USUAL = 0.6  # what most results of a tool say is no failure


def draft_results(evidence: Evidence) -> tuple[list[Guess], list[str]]:
    """Proposed `x-error-results`, and one remark with the counts of what triage knows already."""
    answered = [call for call in evidence.calls if call.result is not None]
    failed = [call for call in answered if call.error is not None]
    bodies = sum((call.result or "").lstrip().startswith("{") for call in failed)
    remark = f"{len(failed)} of {len(answered)} tool results report a failure: {len(failed) - bodies} in text, {bodies} in a JSON body"
    guesses = []
    for name, calls in sorted(evidence.by_tool.items()):
        results = [call.result for call in calls if call.result and call.error is None]
        found = [
            match.group().lower() for result in results if len(result) < _SHORT and (match := _SIGNS.search(result))
        ]
        phrases = Counter(found)
        if found and len(found) < _USUAL * len(results):
            because = f"{len(found)} of {len(results)} results that report no failure say so: {', '.join(f'{p} ({n})' for p, n in phrases.most_common())}"
            guesses.append(
                Guess(
                    f"{name}.x-error-results", "tools.json", (name, "x-error-results"), sorted(phrases), False, because
                )
            )
    return guesses, [remark] if answered else []
