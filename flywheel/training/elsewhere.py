"""Train a job on this machine: `python train.py BASE_MODEL_FOLDER` in a job folder starts this. No torch here.

Checks the job and the base model before anything is computed, trains as the weekly child does, asks PEFT what the adapter should
say of the job's probes, and writes `out/return.json` last. The same command goes on where it was stopped, and does nothing when it is
done. Never run on a GPU so far: training takes one where torch sees it, what is measured afterwards runs on the CPU.
"""

import argparse
import json
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import ValidationError

from flywheel.errors import FlywheelError
from flywheel.serving.adapters import open_adapter
from flywheel.training.__main__ import train
from flywheel.training.job import (
    BASE_FOLDER,
    OUT,
    RETURN,
    WORK,
    Job,
    Returned,
    check_base,
    job_spec,
    open_job,
    read_return,
)
from flywheel.training.spec import TrainResult, TrainSpec, write_last
from flywheel.training.stage import child_environment

# The module that asks PEFT: `python -m flywheel.serving.reference REQUEST`.
REFERENCE = "flywheel.serving.reference"
_PACKAGES = ("torch", "transformers", "trl", "peft")
_DEVICE = "import torch; print(torch.cuda.get_device_name() if torch.cuda.is_available() else 'CPU')"


def run_job(folder: Path, base: Path | None = None) -> Returned:
    """Train the job in `folder`; returns what `out/return.json` holds afterwards.

    Args:
        base: folder of the base model; without it the one beside the job.

    Raises FlywheelError when job or base model are not as exported, or training fails.
    """
    job, job_sha256 = open_job(folder)
    if (folder / OUT / RETURN).is_file():
        return read_return(folder, job, job_sha256)
    base = folder / BASE_FOLDER if base is None else base
    check_base(job, base)
    spec = job_spec(folder, base)
    work = folder.absolute() / WORK
    work.mkdir(exist_ok=True)
    spec_file = work / "spec.json"
    spec_file.write_text(spec.model_dump_json(indent=2), encoding="utf-8")
    result = _trained_before(spec_file, spec) or train(spec_file)
    told = _log_probabilities(job, spec, result, work)
    path = result.adapter_path.relative_to(spec.output)
    returned = Returned(
        job_sha256=job_sha256, spec_sha256=spec.sha256(), base_model_sha256=job.base_model_sha256,
        result=result.model_copy(update={"adapter_path": path}), log_probabilities=told, machine=machine(),
    )  # fmt: skip
    write_last(spec.output / RETURN, returned)
    return returned


def _trained_before(spec_file: Path, spec: TrainSpec) -> TrainResult | None:
    """What an earlier run trained to its end; None where it has to be trained still."""
    try:
        result = TrainResult.model_validate_json(spec_file.with_name("result.json").read_text(encoding="utf-8"))
        open_adapter(spec.output / result.adapter_id, base_model=spec.base_model_name)
    except (OSError, ValidationError, FlywheelError):
        return None
    return result


def _log_probabilities(job: Job, spec: TrainSpec, result: TrainResult, work: Path) -> dict[str, list[list[float]]]:
    """What PEFT says of the job's probes under the base model and under the adapter, from a process of its own."""
    request, answer = work / "request.json", work / "answer.json"
    answer.unlink(missing_ok=True)
    asked = {
        "base_model": str(spec.base_model), "threads": spec.threads, "probes": job.probes,
        "adapters": {result.adapter_id: str(result.adapter_path)}, "base_model_name": spec.base_model_name,
    }  # fmt: skip
    request.write_text(json.dumps(asked), encoding="utf-8")
    command = [sys.executable, "-m", REFERENCE, str(request)]
    subprocess.run(command, env=child_environment(), check=False)
    try:
        return json.loads(answer.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise FlywheelError("PEFT could not say what the adapter should do", where=str(request),
                            remedy=f"see the lines above; the adapter is kept: {' '.join(command)}") from None  # fmt: skip


def machine() -> dict[str, str]:
    """This machine as results name it: device, platform, Python, and versions of what trains."""
    asked = subprocess.run([sys.executable, "-c", _DEVICE], capture_output=True, text=True, check=False)
    known = {"device": asked.stdout.strip() or "unknown", "platform": platform.platform(), "python": platform.python_version()}  # fmt: skip
    return known | {name: found for name in _PACKAGES if (found := _version(name))}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def main(arguments: list[str] | None = None) -> int:
    """Command line; exit code 2 for what a user can mend."""
    parser = argparse.ArgumentParser(prog="train.py", description="Train this job; the same command goes on where it stopped.")  # fmt: skip
    parser.add_argument("folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("base_model", type=Path, nargs="?", help="folder of the base model; default: base_model/ beside this file")  # fmt: skip
    asked = parser.parse_args(arguments)
    try:
        returned = run_job(asked.folder, asked.base_model)
    except FlywheelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(
        f"trained {returned.result.adapter_id} on {returned.machine['device']}; carry this folder back, its {OUT}/ above all"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
