"""Parquet files that workers wrote, on their way into a Delta table: moved to their partition and described for the log."""

import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import polars as pl
from deltalake.transaction import AddAction

from flywheel.errors import FlywheelError
from flywheel.lake.place import is_remote, put
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


def write_data_file(frame: pl.DataFrame, path: Path) -> None:
    """Write rows as a Parquet file that `adopted` may take, and see that it is whole: a full disk cuts a file without a word.

    Raises FlywheelError when it is not.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # Level 1 writes as fast as snappy and a third smaller; minima and maxima of text would leak it.
        frame.write_parquet(path, compression="zstd", compression_level=1, statistics=False)
        whole = pq.read_metadata(path).num_rows == frame.height
    except (OSError, pl.exceptions.ComputeError, pa.ArrowException):
        whole = False
    if not whole:
        raise FlywheelError("a file of rows was not written whole: the disk is full, or it breaks", where=str(path),
                            remedy="free some space (flywheel doctor shows how much there is), then run the stage again: it counts for nothing")  # fmt: skip


def adopted(file: DataFile, table: str, partition: Mapping[str, str]) -> AddAction:
    """Move a file to the table's address; the log entry that makes it part of the partition.

    The entry says only how many rows the file has: minima and maxima of text would leak it into the log.
    """
    values = {**partition, **file.layout}
    folder = "/".join(f"{column}={value}" for column, value in values.items())
    name, about = f"{folder}/part-{uuid.uuid4()}.parquet", file.path.stat()
    if is_remote(table):
        put(file.path, table, name)
    else:
        (Path(table) / folder).mkdir(parents=True, exist_ok=True)
        shutil.move(file.path, Path(table) / name)
    counted = canonical_json({"numRecords": file.rows})
    return AddAction(name, about.st_size, values, int(about.st_mtime * 1000), True, counted)
