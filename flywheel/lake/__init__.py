"""The lake: declared schemas and the only code that writes Delta tables."""

from flywheel.lake.schemas import TABLES, Column, Table
from flywheel.lake.store import Lake, Lineage

__all__ = ["TABLES", "Column", "Lake", "Lineage", "Table"]
