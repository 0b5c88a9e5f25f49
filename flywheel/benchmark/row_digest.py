"""The digest of an evaluation result: a row that was changed after it was written is found.

What goes here: making and checking it, for evaluation, which writes rows, and the gate, which must not believe changed ones.
It is a plain hash: it finds damage and careless edits, not somebody who computes it anew.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import polars as pl

from flywheel.toolcalls.arguments import sha256_of

DIGEST = "row_sha256"
# Partition columns are added when a row is written; the rest of a row is covered, scores included.
_NOT_COVERED = ("week", "workflow", DIGEST)


def row_sha256(row: Mapping[str, Any]) -> str:
    """Hash of an `eval_results` row: all its columns but the partition's and the digest itself, those that are null left out.

    Leaving nulls out keeps the digest of an old row when the table gains a column.
    """
    covered = {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in row.items()
        if name not in _NOT_COVERED and value is not None
    }
    return sha256_of(covered)


def tampered(rows: pl.DataFrame) -> list[str]:
    """Why rows of `eval_results` cannot be believed, one sentence at most; empty when every row is what was written.

    A row without a digest cannot be believed either. A frame without the column was not read from the table: nothing to say.
    """
    if DIGEST not in rows.columns:
        return []
    changed = [
        f"{row['case_id']} ({row['arm']})" for row in rows.iter_rows(named=True) if row_sha256(row) != row[DIGEST]
    ]
    if not changed:
        return []
    return [f"{len(changed)} of {rows.height} result rows are not what evaluation wrote: {', '.join(changed[:5])}"]
