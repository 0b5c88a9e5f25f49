"""The store: one write is one partition, twice is once, and nothing undeclared gets in."""

from dataclasses import replace

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.errors import FlywheelError, MissingPartition
from flywheel.lake import TABLES, Lake

WEEK, NEXT_WEEK = "2026-01-05", "2026-01-12"


def report(path: str = "a.html", week: str = WEEK) -> dict:
    return {"week_of": week, "path": path, "html_sha256": "x", "learn_ran": True, "note": ""}


def test_writing_twice_gives_the_same_rows_and_leaves_other_partitions_alone(lake: Lake):
    lake.replace_partition("weekly_report", [report(week=NEXT_WEEK)], workflow="desk", week=NEXT_WEEK)
    for _ in range(2):
        lake.replace_partition("weekly_report", [report()], workflow="desk", week=WEEK)
    assert lake.read_partition("weekly_report", workflow="desk", week=WEEK)["path"].to_list() == ["a.html"]
    assert lake.read_weeks("weekly_report", workflow="desk").height == 2
    assert lake.read_weeks("weekly_report", workflow="desk", until=WEEK).height == 1


def test_an_empty_partition_is_written_and_a_missing_one_names_the_command(lake: Lake):
    lake.replace_partition("production_failures", [], workflow="desk", week=WEEK)
    assert lake.read_partition("production_failures", workflow="desk", week=WEEK).height == 0
    with pytest.raises(MissingPartition, match="flywheel run --workflow desk --week 2026-01-12 --stage collect"):
        lake.read_partition("production_failures", workflow="desk", week=NEXT_WEEK)


def test_rows_can_be_read_as_of_an_earlier_version(lake: Lake):
    first = lake.replace_partition("weekly_report", [report("old.html")], workflow="desk", week=WEEK)
    lake.replace_partition("weekly_report", [report("new.html")], workflow="desk", week=WEEK)
    assert lake.read_partition("weekly_report", workflow="desk", week=WEEK, version=first)["path"][0] == "old.html"
    assert lake.read_partition("weekly_report", workflow="desk", week=WEEK)["path"][0] == "new.html"


def test_lineage_keeps_version_inputs_and_fingerprint(lake: Lake):
    version = lake.replace_partition(
        "weekly_report",
        [report()],
        workflow="desk",
        week=WEEK,
        inputs={"promotion/2026-01-05": 7},
        fingerprint="f",
        run_id="r",
    )
    lineage = lake.lineage("weekly_report", workflow="desk", week=WEEK)
    assert lineage is not None
    assert (lineage.version, lineage.fingerprint, lineage.rows, lineage.run_id) == (version, "f", 1, "r")
    assert '"promotion/2026-01-05": 7' in lineage.inputs


@pytest.mark.parametrize("broken", [{"surprise": 1}, {"path": ...}])
def test_undeclared_and_missing_columns_are_refused_before_anything_is_written(lake: Lake, broken: dict):
    row = {**report(), **broken}
    row = {key: value for key, value in row.items() if value is not ...}
    with pytest.raises(FlywheelError, match="declared columns of weekly_report"):
        lake.replace_partition("weekly_report", [row], workflow="desk", week=WEEK)
    assert not lake.has_partition("weekly_report", workflow="desk", week=WEEK)


def test_a_repeated_key_is_refused(lake: Lake):
    with pytest.raises(FlywheelError, match="share a key"):
        lake.replace_partition("weekly_report", [report(), report()], workflow="desk", week=WEEK)


@pytest.mark.parametrize("workflow", ["Desk", "desk'; DROP", "../desk", "", "dé"])
def test_a_workflow_that_is_no_identifier_never_reaches_a_predicate(lake: Lake, workflow: str):
    with pytest.raises(FlywheelError, match="no identifier"):
        lake.replace_partition("weekly_report", [report()], workflow=workflow, week=WEEK)


def test_append_only_tables_take_new_keys_and_keep_old_rows(lake: Lake):
    def entry(key: str, value: str) -> dict:
        return {"tools_sha256": key, "tools": value}

    assert lake.append_new("toolsets", [entry("a", "1")], workflow="desk") == 1
    assert lake.append_new("toolsets", [entry("a", "CHANGED"), entry("b", "2")], workflow="desk") == 1
    rows = lake.read_partition("toolsets", workflow="desk")
    assert rows.select("tools_sha256", "tools").rows() == [("a", "1"), ("b", "2")]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), max_size=5, unique=True))
def test_any_text_comes_back_as_it_was(tmp_path_factory, texts: list[str]):
    lake = Lake(tmp_path_factory.mktemp("lake"))
    rows = [{"tools_sha256": str(n), "tools": text} for n, text in enumerate(texts)]
    lake.replace_partition("toolsets", rows, workflow="desk")
    assert lake.read_partition("toolsets", workflow="desk")["tools"].to_list() == texts


def test_every_column_of_every_table_is_described_and_typed():
    for table in TABLES.values():
        assert table.description.endswith("."), table.name
        assert set(table.partitions) | set(table.key) <= set(table.polars_schema()), table.name
        for column in table.columns:
            assert len(column.description) >= 8, f"{table.name}.{column.name}"
            assert not isinstance(column.dtype, pl.Struct | pl.List), (
                f"{table.name}.{column.name} must be a JSON string"
            )


def test_a_column_declared_later_is_null_in_older_rows_and_written_from_then_on(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
):
    now = TABLES["weekly_report"]
    older = replace(now, columns=tuple(column for column in now.columns if column.name != "note"))
    monkeypatch.setitem(TABLES, "weekly_report", older)
    row = {name: value for name, value in report().items() if name != "note"}
    lake.replace_partition("weekly_report", [row], workflow="desk", week=WEEK)
    monkeypatch.setitem(TABLES, "weekly_report", now)
    assert lake.read_partition("weekly_report", workflow="desk", week=WEEK)["note"].to_list() == [None]
    assert lake.read_columns("weekly_report", ("path", "note"), workflow="desk").rows() == [("a.html", None)]
    lake.replace_partition("weekly_report", [report(week=NEXT_WEEK)], workflow="desk", week=NEXT_WEEK)
    assert lake.read_weeks("weekly_report", workflow="desk").sort("week")["note"].to_list() == [None, ""]
