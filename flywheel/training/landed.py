"""What a machine elsewhere trained, landed here: the adapter among the others, and the record that the checkpoint stage reads.

The record lies under `trained_elsewhere/WORKFLOW/WEEK.json`. It holds what training found and the log-probabilities that PEFT gave there,
so that a server can be held against them without PEFT here. No torch here.
"""

import shutil
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from flywheel.errors import FlywheelError
from flywheel.serving.adapters import ADAPTER_FILES, MANIFEST, open_adapter
from flywheel.serving.canary import SMALLEST_EFFECT, Probe, effect
from flywheel.settings import Settings
from flywheel.training.export import adopt, writing
from flywheel.training.job import OUT, Job, Returned
from flywheel.training.spec import TrainResult, TrainSpec, write_last


class Landed(BaseModel):
    """A job and what came back of it."""

    model_config = ConfigDict(extra="forbid")

    job: Job
    returned: Returned

    @property
    def adapter_id(self) -> str:
        """The adapter's name, the hash of its files."""
        return self.returned.result.adapter_id

    def result(self, checkpoints: Path) -> TrainResult:
        """What training found, the adapter's path below `checkpoints`."""
        return self.returned.result.model_copy(update={"adapter_path": checkpoints.absolute() / self.adapter_id})

    def effect(self) -> float:
        """How much the adapter changes the probes' log-probabilities in PEFT, nats a token."""
        told = self.returned.log_probabilities
        return effect(told["base"], told[self.adapter_id])

    def is_of(self, spec: TrainSpec) -> bool:
        """Whether exactly this spec, rows included, made the adapter."""
        return self.job.spec_sha256 == spec.sha256()

    def described(self) -> dict[str, Any]:
        """What the checkpoint's row says of where it was trained."""
        tokens = sum(len(target) for _, target in self.job.probes)
        told = self.returned
        return {
            "job_sha256": told.job_sha256, "spec_sha256": told.spec_sha256, "machine": told.machine, "flywheel": self.job.flywheel,
            "canary": {"effect_peft": self.effect(), "probes": len(self.job.probes), "tokens": tokens},
        }  # fmt: skip


def land(folder: Path, landed: Landed, settings: Settings) -> Path:
    """Copy a checked job's adapter to its place and write the record, last; doing it twice changes nothing.

    Raises FlywheelError when the adapter changes nothing, or cannot be written.
    """
    if not landed.effect() >= SMALLEST_EFFECT:
        raise FlywheelError(
            f"adapter {landed.adapter_id} changes nothing, in PEFT neither: {landed.effect():.4f} nats a token", where=str(folder / OUT),
            remedy="training did nothing there: look at the losses in out/return.json",
        )  # fmt: skip
    checkpoints = settings.checkpoints(landed.job.workflow)
    with writing(checkpoints, "adapter") as partial:
        for name in (*ADAPTER_FILES, MANIFEST):
            shutil.copyfile(folder / OUT / landed.adapter_id / name, partial / name)
        _, place = adopt(partial, checkpoints / landed.adapter_id)
    open_adapter(place, base_model=landed.job.base_model_name)
    record = settings.trained_elsewhere(landed.job.workflow, landed.job.week)
    record.parent.mkdir(parents=True, exist_ok=True)
    write_last(record, landed)
    return place


def told_elsewhere(settings: Settings, workflow: str) -> dict[str, tuple[list[Probe], dict[str, list[list[float]]]]]:
    """Adapter -> probes and what PEFT said of them where it was trained, for everything that was landed for a workflow."""
    weeks = sorted(file.stem for file in settings.trained_elsewhere(workflow, "x").parent.glob("*.json"))
    every = [landed for week in weeks if (landed := read_landed(settings, workflow, week))]
    return {
        one.adapter_id: ([Probe(*probe) for probe in one.job.probes], one.returned.log_probabilities) for one in every
    }


def read_landed(settings: Settings, workflow: str, week: str) -> Landed | None:
    """What was landed for a week, or None; raises FlywheelError when the record cannot be read."""
    file = settings.trained_elsewhere(workflow, week)
    try:
        return Landed.model_validate_json(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise FlywheelError(f"the record of what was trained elsewhere cannot be read: {str(error).splitlines()[0]}", where=str(file),
                            remedy="delete it and import the job's folder again: flywheel checkpoint import DIR") from None  # fmt: skip
