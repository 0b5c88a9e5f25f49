"""Parquet files that workers wrote, on their way into a Delta table: moved to their partition and described for the log."""

import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from deltalake.transaction import AddAction

from flywheel.toolcalls.arguments import canonical_json


class DataFile(NamedTuple):
    """One Parquet file of a partition, written where the lake asked for it: its path, rows, and values of the layout columns."""

    path: Path
    rows: int
    layout: Mapping[str, str]


@dataclass(frozen=True)
class Files:
    """Rows of one partition as Parquet files with all but the partition columns; keys are the caller's to keep unique.

    `content_sha256` stands for the rows, however they were cut into files.
    """

    files: Sequence[DataFile]
    content_sha256: str


def adopted(file: DataFile, table: Path, partition: Mapping[str, str]) -> AddAction:
    """Move a file into the table's folder; the log entry that makes it part of the partition.

    The entry says only how many rows the file has: minima and maxima of text would leak it into the log.
    """
    values = {**partition, **file.layout}
    folder = "/".join(f"{column}={value}" for column, value in values.items())
    target = table / folder / f"part-{uuid.uuid4()}.parquet"
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(file.path, target)
    about = target.stat()
    counted = canonical_json({"numRecords": file.rows})
    return AddAction(f"{folder}/{target.name}", about.st_size, values, int(about.st_mtime * 1000), True, counted)
