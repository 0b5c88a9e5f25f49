"""Stands in for `python -m flywheel.serving.reference REQUEST.json`: the same log-probabilities as the stand-in server's."""

import json
import sys
from pathlib import Path

from flywheel_tests.stand_ins.model import BASE, log_probabilities


def main() -> None:
    """Answer every probe for the base model and each adapter; the answer appears whole or not at all."""
    file = Path(sys.argv[1])
    request = json.loads(file.read_text(encoding="utf-8"))
    found = {
        served: [log_probabilities(served, [*prompt, *target])[len(prompt) :] for prompt, target in request["probes"]]
        for served in (BASE, *request["adapters"])
    }
    partial = file.with_name("answer.json.partial")
    partial.write_text(json.dumps(found), encoding="utf-8")
    partial.replace(file.with_name("answer.json"))


if __name__ == "__main__":
    main()
