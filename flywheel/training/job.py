"""The job folder: a week's training for a machine elsewhere, what comes back in it, and the checks of both. No torch here.

    DIR/job.json        what it is: week, hashes of spec, base model, template and tools, the canary's probes
        spec.json       the training spec, paths relative to DIR
        rows/*.jsonl    rows as token ids
        start_adapter/  the adapter whose weights are trained on, where the week goes on from the incumbent
        code/flywheel   the modules that train, as they were exported; train.py, requirements.txt, chat_template.jinja, README.md
        SHA256SUMS      hashes of all of the above; its own hash names the job
        out/            written there: adapter-HASH/ and, last, return.json

Hashes find damage, mix-ups and edits. They do not prove what ran on a machine that is not ours.
"""

import hashlib
import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from flywheel.errors import FlywheelError
from flywheel.serving.adapters import ADAPTER_FILES, adapter_sha256, open_adapter
from flywheel.training.spec import TrainResult, TrainSpec, read_spec
from flywheel.workflows.base_model import weights_sha256

SUMS, JOB, SPEC, RETURN = "SHA256SUMS", "job.json", "spec.json", "return.json"
ROWS = {
    "sft_rows": "rows/sft.jsonl", "validation_rows": "rows/validation.jsonl", "preference_rows": "rows/preference.jsonl",
    "regression_rows": "rows/regression.jsonl",
}  # fmt: skip
# What training there writes, or a base model laid beside the job: not part of what was exported.
BASE_FOLDER, OUT, WORK = "base_model", "out", "work"
START = "start_adapter"
BASE_FILES = ("config.json", "tokenizer.json")
COMMAND = "python train.py BASE_MODEL_FOLDER"
_EXPORT_AGAIN = "copy the folder again, or write it anew: flywheel checkpoint export-job {workflow} {week} DIR"


class Job(BaseModel):
    """What a job folder is for.

    Attributes:
        workflow, week: whose checkpoint it trains.
        spec_sha256: hash of all that decides the adapter, rows included (`TrainSpec.sha256`).
        base_model, base_model_sha256, base_model_files: its name, the hash of its weights, and of `BASE_FILES`.
        model_family, chat_template_sha256, tools_sha256: what the rows were rendered with.
        rows: file -> how many.
        flywheel: version of the code in it.
        probes: (prompt ids, target ids) whose log-probabilities are asked of the trained adapter.
    """

    model_config = ConfigDict(extra="forbid")

    schema_version: Literal[1] = 1
    workflow: str
    week: str
    spec_sha256: str
    base_model: str
    base_model_sha256: str
    base_model_files: dict[str, str]
    model_family: str
    chat_template_sha256: str
    tools_sha256: str
    rows: dict[str, int]
    flywheel: str
    probes: list[tuple[list[int], list[int]]]

    @property
    def base_model_name(self) -> str:
        """As adapters name their base: name and first 12 of the hash."""
        return f"{self.base_model}-{self.base_model_sha256[:12]}"


class Returned(BaseModel):
    """What a machine elsewhere gives back; written last, so its existence means that the adapter beside it is whole.

    Attributes:
        job_sha256, spec_sha256, base_model_sha256: as that machine computed them before it trained.
        result: what training found; the adapter's path is relative to `out`.
        log_probabilities: of the job's probes under `base` and under the adapter, in nats, as PEFT has them there.
        machine: device, platform and versions.
    """

    model_config = ConfigDict(extra="forbid")

    schema_version: Literal[1] = 1
    job_sha256: str
    spec_sha256: str
    base_model_sha256: str
    result: TrainResult
    log_probabilities: dict[str, list[list[float]]]
    machine: dict[str, str]


def open_job(folder: Path) -> tuple[Job, str]:
    """The job in a folder and the hash that names it; raises FlywheelError naming the first file that is not as it was exported."""
    try:
        sums = (folder / SUMS).read_text(encoding="utf-8")
        job = Job.model_validate_json((folder / JOB).read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        problem = error.strerror if isinstance(error, OSError) else "job.json is no job"
        raise FlywheelError(f"this is no job folder, or no whole one: {problem}", where=str(folder),
                            remedy="name the folder that `flywheel checkpoint export-job` wrote") from None  # fmt: skip
    listed = {name: sha256 for sha256, _, name in (line.partition("  ") for line in sums.splitlines())}
    wrong = [name for name in sorted({*listed, *exported_files(folder)}) if listed.get(name) != _sha256(folder / name)]
    spec = job_spec(folder) if not wrong else None
    if spec is not None and spec.sha256() != job.spec_sha256:
        wrong = [SPEC]
    elif spec is not None and _starts_otherwise(folder, spec):
        wrong = [START]
    if wrong:
        raise FlywheelError(
            f"{len(wrong)} of {len(listed)} files are not as they were exported, {wrong[0]} first", where=str(folder),
            remedy=_EXPORT_AGAIN.format(workflow=job.workflow, week=job.week),
        )  # fmt: skip
    return job, hashlib.sha256(sums.encode()).hexdigest()


def _starts_otherwise(folder: Path, spec: TrainSpec) -> bool:
    """Whether the weights to go on from are not those that the spec names."""
    try:
        return bool(spec.start_adapter_id) and f"adapter-{adapter_sha256(folder / START)[:16]}" != spec.start_adapter_id
    except OSError:
        return True


def exported_files(folder: Path) -> list[str]:
    """Names of all files of a job but its sums, relative to the folder; not what training wrote there, nor a base model beside it."""
    found = (file.relative_to(folder) for file in folder.rglob("*") if file.is_file())
    return sorted(
        name.as_posix() for name in found
        if name.parts[0] not in (SUMS, BASE_FOLDER, OUT, WORK) and "__pycache__" not in name.parts and name.parts[0][0] != "."
    )  # fmt: skip


def write_sums(folder: Path) -> str:
    """Write `SHA256SUMS`, as sha256sum does; returns its hash."""
    text = "".join(f"{_sha256(folder / name)}  {name}\n" for name in exported_files(folder))
    (folder / SUMS).write_text(text, encoding="utf-8")
    return hashlib.sha256(text.encode()).hexdigest()


def job_spec(folder: Path, base: Path | None = None) -> TrainSpec:
    """A job's training spec with absolute paths.

    Args:
        base: folder of the base model; without it the one beside the job.
    """
    folder = folder.absolute()
    places = {field: folder / name for field, name in ROWS.items()}
    base = folder / BASE_FOLDER if base is None else base.absolute()
    spec = read_spec(folder / SPEC).model_copy(update={**places, "base_model": base, "output": folder / OUT})
    return spec.model_copy(update={"start_adapter": folder / START}) if spec.start_adapter_id else spec


def base_files(folder: Path) -> dict[str, str]:
    """Hashes of the small files of a base model that training depends on, beside its weights."""
    return {name: found for name in BASE_FILES if (found := _sha256(folder / name))}


def check_base(job: Job, folder: Path) -> None:
    """Raise FlywheelError when a folder does not hold the base model that the job is for."""
    remedy = f"name a folder with {job.base_model} whose safetensors files, in name order, have the SHA-256 {job.base_model_sha256}"
    if not list(folder.glob("*.safetensors")):
        raise FlywheelError("there is no base model in that folder", where=str(folder), remedy=remedy)
    if (found := weights_sha256(folder)) != job.base_model_sha256:
        raise FlywheelError(
            f"these are other weights: hash {found[:12]}…, the job is for {job.base_model_sha256[:12]}…", where=str(folder), remedy=remedy
        )  # fmt: skip
    files = base_files(folder)
    if other := [name for name, sha256 in job.base_model_files.items() if files.get(name) != sha256]:
        raise FlywheelError(f"its {', '.join(other)} are not those that the rows were made for", where=str(folder),
                            remedy="copy the whole folder of the base model from where the job was exported")  # fmt: skip


def read_return(folder: Path, job: Job, job_sha256: str) -> Returned:
    """What came back in a job's folder; raises FlywheelError when it is not there, belongs to another job, or its adapter is not whole."""
    file, again = folder / OUT / RETURN, f"in the job's folder, on the machine with the GPU: {COMMAND}"
    try:
        returned = Returned.model_validate_json(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FlywheelError("nothing was trained from this job yet", where=str(file), remedy=again) from None
    except (OSError, ValidationError) as error:
        said = str(error).splitlines()[0]
        raise FlywheelError(f"what came back cannot be read: {said}", where=str(file), remedy=again) from None
    mine = {"job": job_sha256, "spec": job.spec_sha256, "base model": job.base_model_sha256}
    theirs = (returned.job_sha256, returned.spec_sha256, returned.base_model_sha256)
    if other := [name for (name, sha256), found in zip(mine.items(), theirs, strict=True) if sha256 != found]:
        raise FlywheelError(
            f"the adapter was trained from another {', another '.join(other)} than this folder's", where=str(file),
            remedy=f"remove {OUT}/ and train this job: {COMMAND}",
        )  # fmt: skip
    _check_adapter(folder, job, returned, again)
    return returned


def _check_adapter(folder: Path, job: Job, returned: Returned, again: str) -> None:
    place = folder / OUT / returned.result.adapter_id
    copy_again = f"copy {OUT}/ again from the machine that trained; or remove it and train again, {again}"
    try:
        adapter = open_adapter(place, base_model=job.base_model_name)
    except FlywheelError as error:
        raise FlywheelError(error.what, where=error.where, remedy=copy_again) from None
    sha256 = adapter_sha256(place)
    spec, config = job_spec(folder), json.loads((place / ADAPTER_FILES[0]).read_text(encoding="utf-8"))
    reasons = {
        f"its content gives the name adapter-{sha256[:16]}": f"adapter-{sha256[:16]}" != returned.result.adapter_id,
        f"its rank and alpha are {adapter.rank} and {config.get('lora_alpha')}, the spec's {spec.lora_rank} and {spec.lora_alpha}":
            (adapter.rank, config.get("lora_alpha")) != (spec.lora_rank, spec.lora_alpha),
        "its weights were renamed otherwise than the spec says": adapter.renamed != spec.renames,
        "no log-probabilities of the job's probes came with it":
            {len(returned.log_probabilities.get(name, [])) for name in ("base", adapter.id)} != {len(job.probes)},
    }  # fmt: skip
    if wrong := [reason for reason, holds in reasons.items() if holds]:
        raise FlywheelError(
            f"adapter {adapter.id} is not what this job trains: {'; '.join(wrong)}", where=str(place), remedy=copy_again
        )


def _sha256(file: Path) -> str | None:
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError:
        return None
