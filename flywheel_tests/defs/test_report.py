"""The stage `weekly_report`: the page is written, and what the verdict asks for stands beside it."""

from pathlib import Path

import dagster as dg

from flywheel.defs.report import weekly_report
from flywheel.defs.resources import House
from flywheel.lake import Lake
from flywheel.partitions import partition_key
from flywheel_tests.report.synthetic import ask, decide, evaluate, freeze, production

WEEK = "2026-01-05"


def test_the_page_and_its_metadata_say_what_to_do_next(tmp_path: Path):
    lake = Lake(tmp_path / "lake")
    freeze(lake, 8)
    production(lake, WEEK, "base", {"wrong_arguments": 3}, runs=20)
    evaluate(lake, WEEK, "base", "a1", (0.5, 0.25), cases=8)
    decide(lake, WEEK, "REJECT", "base", "a1", "base", cases=8)
    ask(lake, WEEK, "a1")
    with dg.build_asset_context(partition_key=partition_key(WEEK, "door")) as context:
        result = weekly_report(context, House(home=str(tmp_path)))
    assert isinstance(result, dg.MaterializeResult) and result.metadata
    shown = str(result.metadata["look_at_next"])
    assert "case-004" in shown and "wrong arguments with pay" in shown
    assert "correct 21 runs like it" in (tmp_path / "reports" / "door" / f"{WEEK}.html").read_text()
