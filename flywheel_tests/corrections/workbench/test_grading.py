"""Grading is blind: nothing on the page tells whose output it is, and each person grades each output once."""

import json
import re
from collections.abc import Callable

from flywheel.corrections.workbench.call import Workbench
from flywheel.lake import TABLES
from flywheel_tests.corrections.workbench.browser import Visitor
from flywheel_tests.corrections.workbench.house import WEEK, says, user


def evaluated(bench: Workbench, cases: int = 3) -> None:
    """A week of results of both arms and the A/A run, with an output that failed for another reason than the model."""
    empty = dict.fromkeys(name for name in TABLES["eval_results"].polars_schema() if name not in ("week", "workflow"))
    rows = [
        {**empty, "case_id": f"case{n}", "arm": arm, "epoch": epoch, "infra_error": "server died" if n == 99 else None,
         "transcript": json.dumps([user(f"question {n}"), says(f"answer {n} of {arm[:4][::-1]}")])}
        for n in [*range(cases), 99] for arm in ("candidate", "incumbent", "incumbent_again") for epoch in (0, 1)
    ]  # fmt: skip
    bench.desk.lake.replace_partition("eval_results", rows, workflow="support_desk", week=WEEK)


def test_outputs_are_shuffled_hidden_and_graded_once(visitor: Callable[..., Visitor], bench: Workbench):
    evaluated(bench)
    orders = []
    for name in ("ann", "bob"):
        person, order = visitor(name), []
        while found := re.search(r'name="output" value="(\w+)"', page := person.http.get("/grade").text):
            assert not any(word in page for word in ("candidate", "incumbent", "epoch")), "the arm is hidden"
            order.append(found[1])
            data = {"csrf": person.csrf, "output": found[1], "grade": "good"}
            assert person.http.post("/grade", data=data).status_code == 303
            again = person.http.post("/grade", data=data)
            assert again.status_code == 409 and "W03" in again.text
        orders.append(order)
        assert "Everything is graded" in page
    assert len(orders[0]) == 6 and sorted(orders[0]) == sorted(orders[1]) and orders[0] != orders[1]
    lead = visitor("lea").http.get("/lead").text
    assert "candidate" in lead and "incumbent" in lead
    refused = visitor("ann").http.post(
        "/grade", data={"csrf": visitor("ann").csrf, "output": "made-up", "grade": "good"}
    )
    assert refused.status_code in (403, 422)


def test_without_an_evaluation_there_is_nothing_to_grade(visitor: Callable[..., Visitor]):
    assert "nothing to grade" in visitor("ann").http.get("/grade").text
