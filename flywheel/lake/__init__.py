"""The lake: declared schemas and the only code that writes Delta tables."""

from flywheel.lake.schemas import TABLES
from flywheel.lake.store import Lake, Lineage
from flywheel.lake.table import Column, Table

__all__ = ["TABLES", "Column", "Lake", "Lineage", "Table"]
