"""Versions of tables: written with the table, a newer one refused, an older one read on and renewed with its next rows."""

from dataclasses import replace

import pytest
from deltalake import DeltaTable

from flywheel.errors import FlywheelError
from flywheel.lake import TABLES, Lake, Table
from flywheel.lake.schema_version import stamped_version
from flywheel_tests.report.synthetic import row

WEEK = "2026-01-05"


def write(lake: Lake, name: str, **values: object) -> None:
    """One row, by whichever way the table is written."""
    written = row(name, **{TABLES[name].key[0]: "one", **values})
    if "week" in TABLES[name].partitions:
        lake.replace_partition(name, [written], workflow="door", week=WEEK)
    else:
        lake.append_new(name, [written], workflow="door")


def raise_version(monkeypatch: pytest.MonkeyPatch, name: str, version: int) -> Table:
    newer = replace(TABLES[name], schema_version=version)
    monkeypatch.setitem(TABLES, name, newer)
    return newer


def test_every_declared_table_has_a_version_and_is_written_with_it(lake: Lake):
    assert all(table.schema_version >= 1 for table in TABLES.values())
    for name in ("sft_dataset", "promotion_log", "lineage"):
        if name != "lineage":
            write(lake, name)
        assert DeltaTable(lake.uri(name)).metadata().name == f"{name}/{TABLES[name].schema_version}"


@pytest.mark.parametrize("name", ["sft_dataset", "promotion_log"])
def test_a_newer_table_is_refused_for_reading_and_writing(lake: Lake, monkeypatch: pytest.MonkeyPatch, name: str):
    newer = raise_version(monkeypatch, name, 2)
    write(lake, name)
    monkeypatch.setitem(TABLES, name, replace(newer, schema_version=1))
    week = WEEK if "week" in newer.partitions else None
    for old in (lake, Lake(lake.root)):  # one that has the table open already, and one that opens it
        before = DeltaTable(old.uri(name)).version()
        for deed in (lambda old=old: old.read_weeks(name, workflow="door"), lambda old=old: write(old, name),
                     lambda old=old: old.read_partition(name, workflow="door", week=week)):  # fmt: skip
            with pytest.raises(FlywheelError, match="schema version 2, and this flywheel knows 1"):
                deed()
        assert DeltaTable(old.uri(name)).version() == before


def test_an_older_table_is_read_on_and_carries_the_new_version_with_its_next_rows(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
):
    for name in ("sft_dataset", "promotion_log"):
        write(lake, name)
        raise_version(monkeypatch, name, 2)
        assert lake.read_weeks(name, workflow="door").height == 1
        assert stamped_version(DeltaTable(lake.uri(name))) == 1
    write(lake, "sft_dataset")
    write(lake, "promotion_log", entry_id="another")
    for name, rows in (("sft_dataset", 1), ("promotion_log", 2)):
        assert stamped_version(DeltaTable(lake.uri(name))) == 2
        assert Lake(lake.root).read_weeks(name, workflow="door").height == rows


def test_a_table_without_a_version_is_of_the_first_one(lake: Lake):
    write(lake, "sft_dataset")
    DeltaTable(lake.uri("sft_dataset")).alter.set_table_name("somebody's own name")
    assert stamped_version(DeltaTable(lake.uri("sft_dataset"))) == 1
    assert lake.read_weeks("sft_dataset", workflow="door").height == 1
