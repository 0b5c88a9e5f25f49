"""A batch handed out to a partner, and their bench on it; also run as a program of its own, where nothing of the house can be imported."""

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from flywheel.corrections.handoff.verify import correction
from flywheel.corrections.partner.opened import Opened, open_batch
from flywheel.corrections.partner.server import partner_routes, partner_workbench
from flywheel.corrections.workbench.server import make_app
from flywheel_tests.corrections.workbench.browser import Visitor

# Of dagster, torch and the lake nothing may be needed; and nothing else that is large.
NOT_THERE = (
    "dagster", "torch", "deltalake", "polars", "pyarrow", "numpy", "scipy", "tokenizers", "transformers", "vllm", "sqlalchemy", "ray",
    "matplotlib", "fsspec", "xxhash",
)  # fmt: skip
RIGHT = {"s:/reason": "given", "v:/reason": "1"}


def visitors(opened: Opened, *names: str) -> list[Visitor]:
    """People signed in at the bench of an opened batch."""
    app = make_app(partner_workbench(opened), routes=partner_routes)
    return [Visitor(app, name) for name in names]


def correct(visitor: Visitor) -> str:
    """Take the next item, which calls cancel_order with a wrong reason, and correct it; returns its id."""
    item = visitor.take()
    visitor.edit("mark:2")
    assert visitor.submit(**RIGHT).status_code == 303
    return item


def accept(visitor: Visitor) -> None:
    assert visitor.take("review") and visitor.decide("review", "accept").status_code == 303


def hand_back(visitor: Visitor, **fields: str) -> Any:
    return visitor.http.post("/hand-back", data={"csrf": visitor.csrf, **fields})


class _Refuse:
    """Says no to every import of what a partner does not have."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name.split(".")[0] in NOT_THERE:
            raise ImportError(f"{name} is not installed here")


def alone(folder: Path) -> None:
    """Correct two items, review one, hand back, and say which modules of the house were loaded."""
    correction.SHORTEST = timedelta(0)  # nobody here takes five seconds
    ann, rob = visitors(open_batch(folder), "ann", "rob")
    correct(ann)
    correct(ann)
    accept(rob)
    page = hand_back(rob).text
    assert "part-001: 1 corrections" in page, page
    print(sorted({name.split(".")[0] for name in sys.modules} & set(NOT_THERE)))


if __name__ == "__main__":
    sys.meta_path.insert(0, _Refuse())  # type: ignore[arg-type]
    alone(Path(sys.argv[1]))
