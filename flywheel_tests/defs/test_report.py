"""The stage `weekly_report`: the page is written, and what the verdict asks for stands beside it."""

from pathlib import Path

import dagster as dg
import pytest

from flywheel.defs import report
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


def test_a_page_is_drawn_again_only_where_something_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    lake, drawn = Lake(tmp_path / "lake"), []
    production(lake, WEEK, "base", {"wrong_arguments": 3}, runs=20)
    monkeypatch.setattr(report, "render", lambda facts: drawn.append(facts.week) or f"{facts.stages}")

    def unchanged() -> bool:
        with dg.build_asset_context(partition_key=partition_key(WEEK, "door")) as context:
            result = weekly_report(context, House(home=str(tmp_path)))
        assert isinstance(result, dg.MaterializeResult) and result.metadata
        return bool(result.metadata["unchanged"])

    page = tmp_path / "reports" / "door" / f"{WEEK}.html"
    assert not unchanged() and unchanged() and len(drawn) == 1
    page.write_text("edited by hand")
    assert not unchanged() and "production_traces" in page.read_text() and unchanged() and len(drawn) == 2
    page.with_name("index.html").unlink()
    assert not unchanged() and page.with_name("index.html").is_file() and unchanged()
    production(lake, WEEK, "base", {"wrong_arguments": 4}, runs=20)
    assert not unchanged() and unchanged() and len(drawn) == 4
    monkeypatch.setattr(report, "code_version", lambda: "another")
    assert not unchanged() and unchanged() and len(drawn) == 5
