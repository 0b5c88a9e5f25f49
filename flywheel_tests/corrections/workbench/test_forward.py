"""Rolling forward: what follows a correction is the checkpoint's, and nobody's correction."""

from typing import Any, cast

from flywheel.corrections.workbench.forward import Model
from flywheel.corrections.workbench.server import make_app, make_workbench
from flywheel.settings import Settings
from flywheel_tests.conftest import SUPPORT_DESK
from flywheel_tests.corrections.workbench.browser import Visitor
from flywheel_tests.corrections.workbench.house import (
    call,
    make_house,
    result,
    says,
    user,
)


def test_rolling_forward_with_the_checkpoint_step_by_step(settings: Settings):
    class Checkpoint:
        def next_step(self, messages: list[dict[str, Any]], tools: list[Any]) -> dict[str, Any]:
            assert messages[-1]["role"] == "tool" and tools
            return says("Your refund is on its way.")

    run = [user("The lamp from Q68024 is broken."), call("get_order", {"order_id": "Q68024"}),
           result({"order_id": "Q68024", "status": "delivered", "amount": 55.8}), call("track_shipment", {"tracking_number": "x"}, 2),
           result({"error": "PARCEL_NOT_FOUND"}, 2)]  # fmt: skip
    make_house(settings.home, SUPPORT_DESK, [(run, 3, "c", "b")] * 1, workflow="roll_desk")
    bench = make_workbench(settings, "roll_desk")._replace(model=cast(Model, Checkpoint()))
    ann = Visitor(make_app(bench), "ann")
    item = ann.take()
    ann.edit("mark:3")
    ann.edit("tool:refund_order")
    refused = ann.edit("again", **{"s:/order_id": "given", "v:/order_id": "Q68024"})
    assert "W05" in refused.text, "an invalid call is not run"
    ann.page = ann.http.get(f"/annotate/{item}").text
    assert ann.edit("again", **{"s:/reason": "given", "v:/reason": "0"}).status_code == 200 and "refunded" in ann.page
    assert ann.edit("roll").status_code == 200 and "rolled forward" in ann.page
    assert ann.submit().status_code == 303
    proposal = bench.desk.place(item).state.proposal
    assert (
        proposal
        and proposal["suffix_mode"] == "rolled_forward"
        and proposal["origins"] == ["written", "reexecuted", "model"]
    )
    assert proposal["trainable_indices"] == [3], "the model's own words are nobody's correction"
