"""The training child: `python -m flywheel.training SPEC.json`, from top to bottom. No torch here.

Reads the spec, trains the supervised stage, then the preference stage on its adapter, exports the adapter, and writes
`result.json` beside the spec last. Each stage is a process of its own: a second trainer in one process does not repeat the
bits of a fresh one, and what a stage leaves on disk is what a killed run goes on from.
"""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from flywheel.errors import FlywheelError
from flywheel.training.export import export_adapter
from flywheel.training.rows import check_rows
from flywheel.training.spec import (  # fmt: skip
    Forgetting,
    LogEntry,
    PreferenceRow,
    SftRow,
    StageResult,
    TrainResult,
    TrainSpec,
    read_failure,
    read_rows,
    read_spec,
    write_failure,
    write_last,
)
from flywheel.training.stage import child_environment


def train(spec_file: Path) -> TrainResult:
    """Both stages for one spec; writes `result.json` beside it and returns its content."""
    started = time.monotonic()
    spec_file.with_name("error.json").unlink(missing_ok=True)
    spec = read_spec(spec_file)
    rows, pairs = read_rows(spec.sft_rows, SftRow), read_rows(spec.preference_rows, PreferenceRow)
    if not rows:
        raise FlywheelError("there are no supervised rows to train on", where=str(spec.sft_rows),
                            remedy="accept corrections or add demonstrations first")  # fmt: skip
    check_rows(rows, pairs, spec.base_model, files=(str(spec.sft_rows), str(spec.preference_rows)))
    work = spec_file.parent / "trainer"
    _forget_others(work, spec)
    supervised = _stage("sft", spec_file, work / spec.sha256()[:16] / "sft", spec)
    adapter, preference = work / spec.sha256()[:16] / "sft" / "adapter", None
    if pairs:
        preference = _stage("preference", spec_file, work / spec.sha256()[:16] / "dpo", spec, adapter)
        adapter = work / spec.sha256()[:16] / "dpo" / "adapter"
    adapter_id, path = export_adapter(adapter, spec.output, spec.base_model_name, renames=spec.renames)
    forgetting = measure_forgetting(spec_file, path)
    result = _result(
        adapter_id, path, len(rows), len(pairs), supervised, preference, forgetting, time.monotonic() - started
    )
    write_last(spec_file.with_name("result.json"), result)
    shutil.rmtree(work)
    return result


def _forget_others(work: Path, spec: TrainSpec) -> None:
    """Remove what an earlier, different spec left behind."""
    for folder in work.glob("*"):
        if folder.name != spec.sha256()[:16]:
            shutil.rmtree(folder, ignore_errors=True)


def _stage(name: str, spec_file: Path, folder: Path, spec: TrainSpec, *inputs: Path) -> StageResult:
    """Run one stage in its own process, unless it has already been run for this very spec."""
    file = folder / "result.json"
    try:
        done = StageResult.model_validate_json(file.read_text(encoding="utf-8"))
        if done.spec_sha256 == spec.sha256():
            return done
    except (OSError, ValidationError):
        pass
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", f"flywheel.training.{name}", *map(str, (spec_file, folder, *inputs))]
    code = subprocess.run(command, env=child_environment(), check=False).returncode
    if code == 2 and (said := read_failure(spec_file)):
        raise said
    if code:
        raise FlywheelError(
            f"the {name} stage ended with {f'signal {-code}' if code < 0 else f'exit code {code}'}", where=str(folder),
            remedy="see the lines above; the same command goes on where it stopped, unless memory ran out: then lower "
            "training.max_pack_tokens",
        )  # fmt: skip
    return StageResult.model_validate_json(file.read_text(encoding="utf-8"))


def _result(
    adapter_id: str, path: Path, rows: int, pairs: int, supervised: StageResult, preference: StageResult | None,
    forgetting: Forgetting, seconds: float,
) -> TrainResult:  # fmt: skip
    stages = [stage for stage in (supervised, preference) if stage]
    losses = _losses(supervised.log, validation=False)
    validation = _losses(supervised.log, validation=True)
    return TrainResult(
        adapter_id=adapter_id,
        adapter_path=path,
        sft_rows=rows,
        preference_rows=pairs,
        sft_presentations=supervised.presentations,
        sft_first_loss=losses[0],
        sft_last_loss=losses[-1],
        validation_loss=min(validation, default=None),
        preference_accuracy=preference.accuracy if preference else None,
        chosen_logps_change=preference.chosen_change if preference else None,
        sharing=supervised.sharing,
        tokens=sum(stage.tokens for stage in stages),
        tokens_computed=sum(stage.computed for stage in stages),
        forgetting=forgetting,
        seconds=seconds,
        log=[entry for stage in stages for entry in stage.log],
    )


def _losses(log: Sequence[LogEntry], *, validation: bool) -> list[float]:
    return [entry.loss for entry in log if entry.validation is validation]


def measure_forgetting(spec_file: Path, adapter: Path) -> Forgetting:
    """Base against adapter, in a process of its own: the exported files are measured, not what training holds in memory."""
    result = spec_file.with_name("forgetting.json")
    result.unlink(missing_ok=True)
    command = [sys.executable, "-m", "flywheel.training.forgetting", str(spec_file), str(adapter), str(result)]
    subprocess.run(command, env=child_environment(), check=False)
    try:
        return Forgetting.model_validate_json(result.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise FlywheelError("what the adapter forgot could not be measured", where=str(adapter),
                            remedy=f"see the lines above, or run it by hand: {' '.join(command)}") from None  # fmt: skip


def main() -> int:
    """Command line; exit code 2 for what a user can mend."""
    if len(sys.argv) != 2:
        print("usage: python -m flywheel.training SPEC.json", file=sys.stderr)
        return 2
    try:
        result = train(Path(sys.argv[1]))
    except FlywheelError as error:
        write_failure(Path(sys.argv[1]), error)
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(json.dumps(result.model_dump(mode="json", exclude={"log"}), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
