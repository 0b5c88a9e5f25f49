"""Arms that ran to their end survive a restart, whole, and only for the evaluation they belong to."""

import json
from datetime import UTC, datetime
from pathlib import Path

from flywheel.evaluation.kept_arms import KeptArms
from flywheel.evaluation.runner import Arm

ROWS = [
    {"case_id": "a", "success": True, "seconds": 0.25, "infra_error": None, "started_at": datetime(2026, 1, 5, 9, 30, 1, 7, tzinfo=UTC)},
    {"case_id": "b", "success": None},
]  # fmt: skip
ARM, OTHER = Arm("incumbent", "base", "base"), Arm("candidate", "adapter-1", "adapter-1")


def test_a_kept_arm_comes_back_as_it_was(tmp_path: Path):
    KeptArms(tmp_path / "arms", {"benchmark": "v1"}).keep(ARM, ROWS)
    kept = KeptArms(tmp_path / "arms", {"benchmark": "v1"})
    assert kept.read(ARM) == ROWS and kept.read(OTHER) is None
    kept.clear()
    assert kept.read(ARM) is None


def test_another_evaluation_or_adapter_takes_nothing_of_it(tmp_path: Path):
    KeptArms(tmp_path, {"benchmark": "v1"}).keep(ARM, ROWS)
    assert KeptArms(tmp_path, {"benchmark": "v2"}).read(ARM) is None
    assert KeptArms(tmp_path, {"benchmark": "v1"}).read(ARM._replace(adapter_id="adapter-9")) is None


def test_a_changed_or_broken_file_is_no_arm(tmp_path: Path):
    kept = KeptArms(tmp_path, {})
    kept.keep(ARM, ROWS)
    file = tmp_path / "incumbent.json"
    value = json.loads(file.read_text())
    value["rows"] = value["rows"].replace("true", "false")
    file.write_text(json.dumps(value))
    assert kept.read(ARM) is None
    file.write_text('{"rows": [')
    assert kept.read(ARM) is None
