"""People grade evaluation outputs without knowing which arm wrote them: a sample, shuffled for each grader.

An output's name on the page is a hash with the workbench's key, so that neither the page nor its address tells the arm.
Grades lie beside the event log; the lead sees them by arm.
"""

import json
import random
from collections import Counter
from typing import Any, NamedTuple

from starlette.responses import Response

from flywheel.corrections.workbench.call import Call
from flywheel.corrections.workbench.rules import Refusal
from flywheel.corrections.workbench.timeline import shown_steps
from flywheel.toolcalls.arguments import sha256_of

GRADES = ("good", "acceptable", "wrong")
CASES = 20


class Output(NamedTuple):
    """One arm's answer to one case."""

    name: str
    arm: str
    transcript: list[dict[str, Any]]


class Sample(NamedTuple):
    """The outputs of the newest evaluated week that are graded; `week` is empty where nothing was evaluated."""

    week: str
    outputs: list[Output]


def sample_of(call: Call) -> Sample:
    """Both arms of each sampled case, in an order of no meaning."""
    desk = call.desk
    rows = desk.lake.read_weeks("eval_results", workflow=desk.pack.name)
    if not rows.height:
        return Sample("", [])
    week = str(rows["week"].max())
    newest = rows.filter(week=rows["week"].max(), epoch=0).iter_rows(named=True)
    kept = [row for row in newest if row["arm"] in ("candidate", "incumbent") and not row["infra_error"]]
    cases = sorted({row["case_id"] for row in kept})
    sampled = set(random.Random(sha256_of([week, cases])).sample(cases, min(CASES, len(cases))))
    secret = call.bench.sessions.secret("grading")
    found = [Output(sha256_of([secret, row["case_id"], row["arm"]])[:16], row["arm"], json.loads(row["transcript"]))
             for row in kept if row["case_id"] in sampled]  # fmt: skip
    return Sample(week, sorted(found, key=lambda output: output.name))


def page(call: Call) -> Response:
    """The next output that this person has not graded."""
    sample = sample_of(call)
    graded = {output for output, grader, _ in call.desk.grades.of_week(sample.week) if grader == call.name}
    left = [output for output in sample.outputs if output.name not in graded]
    random.Random(sha256_of([call.name, sample.week])).shuffle(left)
    steps = shown_steps(left[0].transcript, call.desk.pack.tools) if left else []
    return call.page("grade.html", output=left[0].name if left else "", steps=steps, left=len(left),
                     total=len(sample.outputs), grades=GRADES, told="")  # fmt: skip


def grade(call: Call) -> Response:
    """Keep a grade, once."""
    name, said = call.form.get("output", ""), call.form.get("grade", "")
    sample = sample_of(call)
    if said not in GRADES or name not in {output.name for output in sample.outputs}:
        raise Refusal("W19", "there is no such output or grade")
    if not call.desk.grades.grade(sample.week, name, call.name, said, call.form.get("note", "")[:500]):
        raise Refusal("W03", "you graded this output already")
    return page(call) if call.swaps else call.go("/grade")


def by_arm(call: Call) -> dict[str, Counter[str]]:
    """Arm -> grade -> how often: for the lead alone."""
    sample = sample_of(call)
    arms = {output.name: output.arm for output in sample.outputs}
    counted: dict[str, Counter[str]] = {}
    for name, _, said in call.desk.grades.of_week(sample.week):
        if name in arms:
            counted.setdefault(arms[name], Counter())[said] += 1
    return counted
