"""Runs of Dagster that may go: old ones whose every materialization was followed by a later one.

A partition's newest materialization and the run that wrote what stands in the lake stay whatever their age: the UI, the sensors and the
lineage speak of them. Ticks of schedules and sensors are purged by Dagster itself (`retention` in dagster.yaml).
"""

from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import NamedTuple

import dagster as dg

_ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]

_AT_ONCE = 500


class Run(NamedTuple):
    """One run, or a number of runs that stay for one reason: id or count, workflow, bytes of events and logs, whether it goes, why."""

    run_id: str
    workflow: str
    bytes: int
    goes: bool
    why: str


def runs_to_judge(on: dg.DagsterInstance, *, before: date, wrote: set[str]) -> list[Run]:
    """Old runs that go, one each; and how many runs stay, for each reason.

    Args:
        before: runs that were made on this day or later stay.
        wrote: ids of the runs that wrote what stands in the lake.
    """
    moment = datetime(before.year, before.month, before.day, tzinfo=UTC)
    newest = _newest_materializations(on)
    goes, stays = [], {}
    for record in on.get_run_records(dg.RunsFilter(created_before=moment)):
        run = record.dagster_run
        why = (
            "not ended" if run.status not in _ENDED else "wrote what stands in the lake" if run.run_id in wrote
            else "has a newest materialization" if run.run_id in newest else None
        )  # fmt: skip
        if why is None:
            workflow = run.tags.get("dagster/partition/workflow", "")
            goes.append(Run(run.run_id, workflow, sum(map(_size, _files(on, run.run_id))), True, f"older than {before}, and later runs stand in its place"))  # fmt: skip
        else:
            stays.setdefault(why, []).append(run.run_id)
    young = len(on.get_runs(dg.RunsFilter(created_after=moment)))
    kept = [Run(f"{len(ids)} runs", "", 0, False, why) for why, ids in sorted(stays.items())]
    return [*goes, *kept, *([Run(f"{young} runs", "", 0, False, f"not older than {before}")] if young else [])]


def _newest_materializations(on: dg.DagsterInstance) -> set[str]:
    """Ids of the runs whose materialization of some partition, or of an asset without any, is the newest there is."""
    kind, runs = dg.DagsterEventType.ASSET_MATERIALIZATION, set()
    for key in on.all_asset_keys():
        newest = on.event_log_storage.get_latest_storage_id_by_partition(key, kind)
        ids = list(newest.values())
        for start in range(0, len(ids), _AT_ONCE):
            wanted = dg.AssetRecordsFilter(key, storage_ids=ids[start : start + _AT_ONCE])
            runs |= {record.run_id for record in on.fetch_materializations(wanted, limit=_AT_ONCE).records}
        if last := on.get_latest_materialization_event(key):
            runs.add(last.run_id)
    return runs


def drop_run(on: dg.DagsterInstance, run_id: str) -> None:
    """Delete a run, its events and the compute logs of its steps."""
    files = _files(on, run_id)
    on.delete_run(run_id)
    for file in files:
        with suppress(FileNotFoundError):
            file.unlink()


def _files(on: dg.DagsterInstance, run_id: str) -> list[Path]:
    """Files of a run on disk: its event database where Dagster keeps one a run, and its compute logs."""
    shard = getattr(on.event_log_storage, "path_for_shard", None)
    logs = getattr(on.compute_log_manager, "_base_dir", None)
    found = [Path(shard(run_id))] if shard else []
    if logs and (Path(logs) / run_id).is_dir():
        found += [path for path in (Path(logs) / run_id).rglob("*") if path.is_file()]
    return [path for path in found if path.is_file()]


def _size(path: Path) -> int:
    return path.stat().st_size
