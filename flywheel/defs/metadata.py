"""What an analyst reads in the UI: column schemas, row counts, versions and small markdown previews.

Metadata is readable by every visitor of the UI and stays in the instance for ever: short, redacted, under 20 rows.
"""

import base64
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import dagster as dg

from flywheel.chat.visible import in_markdown
from flywheel.defs.retries import RETRY
from flywheel.lake import TABLES
from flywheel.settings import Settings

# Something of some workflow has to land on Tuesday between 06:00, when collect starts, and noon. Dagster looks at the newest
# materialization of any partition, so one workflow hides another: `decision_missed` watches each week x workflow.
COLLECTED = dg.FreshnessPolicy.cron("0 12 * * 2", timedelta(hours=6, minutes=30), timezone=Settings().time_zone)
# The UI sorts groups by name, so each carries its place in the week.
_GROUPS = (
    "benchmark",
    "traces",
    "failures",
    "corrections",
    "datasets",
    "training",
    "evaluation",
    "promotion",
    "report",
)
PREVIEW_ROWS = 12
PREVIEW_WIDTH = 90


def definition_metadata(table: str) -> dict[str, Any]:
    """Definition-time metadata of a table's asset: its name and column schema."""
    declared = TABLES[table]
    columns = [
        dg.TableColumn(name=column.name, type=str(column.dtype), description=column.description)
        for column in declared.columns
    ]
    return {"dagster/table_name": table, "dagster/column_schema": dg.TableSchema(columns=columns)}


def group_of(stage: str) -> str:
    """The asset group of a stage: `1_traces` is before `2_failures`; the benchmark, which stands before all weeks, is 0."""
    return f"{_GROUPS.index(stage)}_{stage}"


def asset_options(table: str, group: str, *kinds: str, heavy: bool = False) -> dict[str, Any]:
    """The options every asset of the week shares: group, owner, kinds, tags and column schema."""
    return {
        "group_name": group_of(group),
        "owners": ["team:ml-platform"],
        "kinds": {"deltalake", *kinds},
        "tags": {"flywheel/stage": group},
        "metadata": definition_metadata(table),
        **({"pool": "accelerator", "retry_policy": RETRY} if heavy else {}),
    }


def column_lineage(sources: Mapping[str, Mapping[str, str]], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Which columns of which asset each column comes from: upstream asset -> column here -> column there."""
    here = set(rows[0]) if rows else {name for columns in sources.values() for name in columns}
    deps: dict[str, list[dg.TableColumnDep]] = {}
    for asset, columns in sources.items():
        for name, there in columns.items():
            if name in here:
                deps.setdefault(name, []).append(dg.TableColumnDep(asset_key=dg.AssetKey(asset), column_name=there))
    return {"dagster/column_lineage": dg.TableColumnLineage(deps_by_column=deps)}


def markdown_table(rows: Sequence[Mapping[str, Any]], *, limit: int = PREVIEW_ROWS) -> dg.MetadataValue:
    """The first rows as a small markdown table; long cells are cut, and no cell holds markup."""
    if not rows:
        return dg.MetadataValue.md("_no rows_")
    header = list(rows[0])
    lines = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    lines += [f"| {' | '.join(_cell(row.get(name)) for name in header)} |" for row in rows[:limit]]
    if len(rows) > limit:
        lines.append(f"\n_{limit} of {len(rows)} rows_")
    return dg.MetadataValue.md("\n".join(lines))


def picture(svg: str) -> dg.MetadataValue:
    """A plot as the UI shows it: inline, nothing fetched."""
    return dg.MetadataValue.md(f"![plot](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})")


def _cell(value: Any) -> str:
    text = f"{value:.3f}" if isinstance(value, float) else "" if value is None else str(value)
    return in_markdown(text if len(text) <= PREVIEW_WIDTH else text[: PREVIEW_WIDTH - 1] + "…")
