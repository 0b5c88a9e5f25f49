"""Write a job folder: rows, spec, code and the one command, for a machine that has a GPU and nothing of ours. No torch here."""

import os
import shutil
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import flywheel
from flywheel.chat.families import Family
from flywheel.errors import FlywheelError
from flywheel.serving.canary import Probe
from flywheel.training.job import (
    BASE_FOLDER,
    COMMAND,
    JOB,
    OUT,
    ROWS,
    SPEC,
    START,
    SUMS,
    Job,
    base_files,
    check_base,
    open_job,
    write_sums,
)
from flywheel.training.source_files import training_sources
from flywheel.training.stage import Prepared
from flywheel.whole_folder import put_in_place
from flywheel.workflows.base_model import BaseModel

# What trains, as pyproject.toml pins it; a test holds the two together. On a GPU machine pip takes the CUDA build of torch.
PINNED = {"torch": "2.13.0", "transformers": "5.19.0", "trl": "1.16.0", "peft": "0.21.2"}
# Imported, and not asked of pip: `datasets` comes with TRL, Ray is imported only where shards are spread over machines.
NOT_ASKED = {"datasets", "ray"}
# Packages that are called otherwise than what is imported of them.
_CALLED = {"yaml": "pyyaml"}
_LAUNCHER = '''\
"""Train this job: `python train.py BASE_MODEL_FOLDER`; see README.md."""

import os
import sys
from pathlib import Path

if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    before = os.environ.get("PYTHONPATH")
    code = os.pathsep.join([str(here / "code"), *([before] if before else [])])
    environment = {**os.environ, "PYTHONPATH": code, "PYTHONDONTWRITEBYTECODE": "1"}
    arguments = [sys.executable, "-m", "flywheel.training.elsewhere", str(here), *sys.argv[1:]]
    os.execve(sys.executable, arguments, environment)
'''


class Origin(NamedTuple):
    """Whose week a job trains, with what it was rendered, and what its canary is asked."""

    workflow: str
    week: str
    base: BaseModel
    family: Family
    template_sha256: str
    tools_sha256: str
    probes: Sequence[Probe]


def write_job(prepared: Prepared, origin: Origin, folder: Path, *, with_base: bool = False) -> tuple[Job, str]:
    """Write the job of a prepared week to `folder`, whole or not at all; returns it and the hash that names it.

    The same job there already is left as it is, with what was trained in it.

    Args:
        prepared: spec and row files, as `training.stage.prepare` wrote them.
        with_base: whether the base model's folder comes along, as `base_model/`.

    Raises FlywheelError when the folder holds something else, or it cannot be written.
    """
    folder = folder.absolute()
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        job = _fill(partial, prepared, origin)
        sha256 = write_sums(partial)
        if with_base:
            shutil.copytree(origin.base.folder, partial / BASE_FOLDER)
            check_base(job, partial / BASE_FOLDER)
        moved = put_in_place(
            partial, folder, remedy="name an empty or a new folder",
            is_same=lambda: (folder / SUMS).is_file() and open_job(folder)[1] == sha256,
        )  # fmt: skip
        if with_base and not moved and not (folder / BASE_FOLDER).exists():
            (partial / BASE_FOLDER).rename(folder / BASE_FOLDER)
    except OSError as error:
        raise FlywheelError(f"the job could not be written: {error}", where=str(folder),
                            remedy="free some disk space or name another folder; nothing half-written is left") from None  # fmt: skip
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return job, sha256


def _fill(partial: Path, prepared: Prepared, origin: Origin) -> Job:
    spec = prepared.spec
    (partial / "rows").mkdir()
    for field, name in ROWS.items():
        shutil.copyfile(getattr(spec, field), partial / name)
    inside = {
        **{field: Path(name) for field, name in ROWS.items()},
        "base_model": Path(BASE_FOLDER),
        "output": Path(OUT),
    }
    if spec.start_adapter is not None:
        shutil.copytree(spec.start_adapter, partial / START)
        inside["start_adapter"] = Path(START)
    (partial / SPEC).write_text(spec.model_copy(update=inside).model_dump_json(indent=2) + "\n", encoding="utf-8")
    sources, root = training_sources(), Path(flywheel.__file__).parent
    for file in sources.files:
        (partial / "code" / "flywheel" / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / file, partial / "code" / "flywheel" / file)
    shutil.copyfile(origin.family.template_file, partial / "chat_template.jinja")
    job = Job(
        workflow=origin.workflow, week=origin.week, spec_sha256=spec.sha256(), base_model=origin.base.name,
        base_model_sha256=origin.base.sha256, base_model_files=base_files(origin.base.folder), model_family=origin.family.name,
        chat_template_sha256=origin.template_sha256, tools_sha256=origin.tools_sha256,
        rows={name: len((partial / name).read_bytes().splitlines()) for name in ROWS.values()}, flywheel=flywheel.__version__,
        probes=[(probe.prompt_ids, probe.target_ids) for probe in origin.probes],
    )  # fmt: skip
    (partial / JOB).write_text(job.model_dump_json(indent=2) + "\n", encoding="utf-8")
    (partial / "requirements.txt").write_text(requirements(sources.packages), encoding="utf-8")
    (partial / "train.py").write_text(_LAUNCHER, encoding="utf-8")
    (partial / "README.md").write_text(_readme(job), encoding="utf-8")
    return job


def requirements(packages: Iterable[str]) -> str:
    """What pip has to install on the other machine, exact versions: `PINNED` and, as they are here, what else our modules import.

    Args:
        packages: names that they import.
    """
    beside = {_CALLED.get(name, name).replace("_", "-") for name in packages if name not in NOT_ASKED} - set(PINNED)
    pinned = PINNED | {name: version(name) for name in beside}
    return "".join(f"{name}=={pinned[name]}\n" for name in sorted(pinned))


def _readme(job: Job) -> str:
    taught, kept_out, pairs, asked = (job.rows[ROWS[field]] for field in ROWS)
    return f"""# {job.workflow}, week of {job.week}: train the adapter

Linux, Python 3.11, in this folder:

```sh
pip install -r requirements.txt
{COMMAND}
```

`BASE_MODEL_FOLDER` holds {job.base_model}; its safetensors files, in name order, have the SHA-256
`{job.base_model_sha256}`, and that is checked first. Leave it away where `{BASE_FOLDER}/` lies here.
The same command goes on where it was stopped. It ends with `{OUT}/{"adapter-HASH"}` and `{OUT}/return.json`; carry the folder back, then:

```sh
flywheel checkpoint import FOLDER
```

- {taught} supervised rows, {kept_out} rows kept out of training, {pairs} preference pairs, {asked} steps on which forgetting is measured.
- Nothing here asks a hub or sends anything. Training takes a GPU where torch sees one; what is measured afterwards runs on the CPU.
  It was never run on a GPU by its authors.
- The rows are conversations of production as token ids, which anybody with the tokenizer reads: keep the folder as you keep those, and
  delete it afterwards. `flywheel erase` does not reach it; a person erased meanwhile makes the import fail, as it should.
- `sha256sum -c {SUMS}` checks the files. The code is in `code/`; template and family ({job.model_family}) are those of the rows.
"""
