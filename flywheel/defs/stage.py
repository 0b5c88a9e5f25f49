"""One stage of one week at work: what it read, whether anything changed, and the one partition it writes.

Every asset follows the same five lines: begin, read, return early when unchanged, compute, write. This file holds them
so that the assets stay thin and every materialization records the same things.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
import polars as pl

from flywheel.defs.metadata import markdown_table
from flywheel.defs.resources import House
from flywheel.errors import FlywheelError
from flywheel.lake import TABLES, Lake
from flywheel.lake.content import content_sha256
from flywheel.lake.missing import missing_partition
from flywheel.lake.retention import refuse_pruned
from flywheel.lake.store import Lineage, Rows
from flywheel.toolcalls.arguments import sha256_of


@dataclass
class Stage:
    """The run of one asset for one week (or none) of one workflow.

    Attributes:
        context: Dagster's.
        lake: the Delta tables.
        table: table and asset this run writes.
        workflow, week: the partition; week is None for assets by workflow only.
        code_version: of the asset; part of the fingerprint.
        versions: input partition -> Delta version read, filled by the read methods.
    """

    context: dg.AssetExecutionContext
    lake: Lake
    table: str
    workflow: str
    week: str | None
    code_version: str
    versions: dict[str, int] = field(default_factory=dict)
    contents: dict[str, str] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    @classmethod
    def begin(cls, context: dg.AssetExecutionContext, house: House, table: str, code_version: str) -> "Stage":
        """Open the stage for the run's partition; raises FlywheelError when retention took its rows away."""
        workflow, week = partition_of(context.partition_key)
        lake = house.lake()
        known = lake.lineage(table, workflow=workflow, week=week)
        refuse_pruned(known.code_version if known else "", table, workflow, week)
        return cls(context, lake, table, workflow, week, code_version)

    @property
    def weekly(self) -> str:
        """The week, for stages that have one."""
        if self.week is None:
            raise FlywheelError(f"{self.table} was started without a week", remedy="start it with a week partition")
        return self.week

    def read(self, table: str, *, by_workflow: bool = False) -> pl.DataFrame:
        """One input partition of this week (or of the workflow); raises MissingPartition when it was never written."""
        week = None if by_workflow else self.week
        frame = self.lake.read_partition(table, workflow=self.workflow, week=week)
        lineage = self.lake.lineage(table, workflow=self.workflow, week=week)
        if lineage is not None:
            refuse_pruned(lineage.code_version, table, self.workflow, week)
            self.versions[f"{table}/{lineage.week}"] = lineage.version
            self.contents[f"{table}/{lineage.week}"] = lineage.content_sha256
        return frame

    def note(self, table: str) -> Lineage:
        """Record one input partition of this week without reading it, for a stage that streams it; what the lake knows of it."""
        lineage = self.lake.lineage(table, workflow=self.workflow, week=self.week)
        if lineage is None:
            raise missing_partition(table, self.workflow, self.week)
        refuse_pruned(lineage.code_version, table, self.workflow, self.week)
        self.versions[f"{table}/{lineage.week}"] = lineage.version
        self.contents[f"{table}/{lineage.week}"] = lineage.content_sha256
        return lineage

    def read_or_empty(self, table: str, *, by_workflow: bool = False) -> pl.DataFrame:
        """The same, empty when it was never written."""
        week = None if by_workflow else self.week
        if self.lake.has_partition(table, workflow=self.workflow, week=week):
            return self.read(table, by_workflow=by_workflow)
        return self.lake.empty(table)

    def read_weeks(self, table: str) -> pl.DataFrame:
        """All weeks of a table up to and including this one."""
        frame = self.lake.read_weeks(table, workflow=self.workflow, until=self.weekly)
        self.contents[f"{table}/..{self.week}"] = content_sha256(frame)
        version = self.lake.version(table)
        if version is not None:
            self.versions[f"{table}/..{self.week}"] = version
        return frame

    def note_weeks(self, table: str) -> None:
        """Record all weeks of a table up to this one as input, by their content, without reading a row."""
        known = self.lake.all_lineage(workflow=self.workflow, tables=[table]).filter(pl.col("week") <= self.weekly)
        self.contents[f"{table}/..{self.week}"] = sha256_of(sorted(known.select("week", "content_sha256").rows()))
        version = self.lake.version(table)
        if version is not None:
            self.versions[f"{table}/..{self.week}"] = version

    def note_everything(self) -> None:
        """Record as input whatever the lake holds of the workflow, but for this table: by partition and version, without reading a row."""
        rows = self.lake.all_lineage(workflow=self.workflow).filter(pl.col("table_name") != self.table)
        self.contents["lake"] = sha256_of(sorted(rows.select("table_name", "week", "version", "content_sha256").rows()))

    def fingerprint(self, settings: Mapping[str, Any]) -> str:
        """Hash of everything that decides the output: code version, settings and the content of all inputs read."""
        return sha256_of([self.table, self.code_version, dict(settings), dict(sorted(self.contents.items()))])

    def unchanged(self, settings: Mapping[str, Any]) -> dg.MaterializeResult | None:
        """The finished result when inputs, settings and code are those of the last write; else None.

        None also when a file of what was written is damaged: then the stage writes it anew.
        """
        lineage = self.lake.lineage(self.table, workflow=self.workflow, week=self.week)
        if lineage is None or lineage.fingerprint != self.fingerprint(settings) or not self._intact(lineage):
            return None
        self.context.log.info(
            f"{self.table}: inputs, settings and code unchanged since version {lineage.version}; no work"
        )
        metadata = {**self._facts(lineage.rows, lineage.version, lineage.fingerprint), "unchanged": True}
        return dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(lineage.content_sha256))

    def _intact(self, last: Lineage) -> bool:
        """Whether the files of the last write are whole, those of the companion tables written with it too."""
        together = self.lake.all_lineage(workflow=self.workflow).filter(week=last.week, fingerprint=last.fingerprint)[
            "table_name"
        ]
        damaged = [name for name in together if not self.lake.intact(name, workflow=self.workflow, week=self.week)]
        if damaged:
            self.context.log.warning(f"{self.table}: files of {', '.join(damaged)} are damaged: written anew")
        return not damaged

    def write(
        self,
        rows: Rows,
        settings: Mapping[str, Any],
        *,
        preview: Sequence[Mapping[str, Any]] | None = None,
        metadata: Mapping[str, Any] | None = None,
        also: Mapping[str, Rows] | None = None,
    ) -> dg.MaterializeResult:
        """Write the partition in one commit and describe it; `also` holds companion tables, written before it."""
        for table, companion in (also or {}).items():
            self._replace(table, companion, settings)
        version = self._replace(self.table, rows, settings)
        lineage = self.lake.lineage(self.table, workflow=self.workflow, week=self.week)
        assert lineage is not None  # just written
        described = {**self._facts(lineage.rows, version, lineage.fingerprint), "unchanged": False, **(metadata or {})}
        if preview is not None:
            described["preview"] = markdown_table(preview)
        return dg.MaterializeResult(metadata=described, data_version=dg.DataVersion(lineage.content_sha256))

    def _replace(self, table: str, rows: Rows, settings: Mapping[str, Any]) -> int:
        week = self.week if "week" in TABLES[table].partitions else None
        return self.lake.replace_partition(
            table, rows, workflow=self.workflow, week=week, inputs=self.versions,
            fingerprint=self.fingerprint(settings), code_version=self.code_version, run_id=self.context.run_id,
            seconds=time.monotonic() - self.started,
        )  # fmt: skip

    def facts(self) -> dict[str, Any]:
        """The partition as last written, for assets that append instead of replacing."""
        lineage = self.lake.lineage(self.table, workflow=self.workflow, week=self.week)
        return self._facts(lineage.rows, lineage.version, lineage.fingerprint) if lineage else {}

    def _facts(self, rows: int, version: int, fingerprint: str) -> dict[str, Any]:
        return {
            "dagster/partition_row_count": rows,
            "dagster/uri": self.lake.uri(self.table),
            "delta_version": version,
            "input_versions": dg.MetadataValue.json(self.versions),
            "fingerprint": fingerprint,
            "seconds": round(time.monotonic() - self.started, 3),
        }


def partition_of(key: str) -> tuple[str, str | None]:
    """Workflow and week of a partition key; week is None for keys by workflow only."""
    if isinstance(key, dg.MultiPartitionKey):
        return key.keys_by_dimension["workflow"], key.keys_by_dimension["week"]
    return key, None


def passed(
    ok: bool, sentence: str, *, severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR
) -> dg.AssetCheckResult:
    """A check's result with the sentence an analyst reads."""
    return dg.AssetCheckResult(passed=ok, severity=severity, description=sentence)
