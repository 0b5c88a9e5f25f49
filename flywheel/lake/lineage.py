"""What the store knows of a partition: a row of the `lineage` table."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Lineage:
    """What the store knows of one partition: see the columns of the `lineage` table."""

    table_name: str
    workflow: str
    week: str
    version: int
    fingerprint: str
    content_sha256: str
    rows: int
    inputs: str
    code_version: str
    run_id: str
    seconds: float
    written_at: datetime
