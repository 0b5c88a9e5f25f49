"""Where a lake may lie, and what is said of a bucket that does not answer. A real server: test_bucket.py, slow."""

from pathlib import Path

import pytest

from flywheel.errors import FlywheelError, Interrupted
from flywheel.lake import Lake
from flywheel.lake.place import checked, joined, reaching
from flywheel.settings import Settings


@pytest.mark.parametrize("address", ["s3://lake", "s3://lake/week/", "s3://flywheel-lake.eu/a=b/c_d"])
def test_a_bucket_with_or_without_a_prefix(address: str):
    root = checked(address)
    assert root == address.rstrip("/")
    assert joined(root, "benchmark") == f"{address.rstrip('/')}/benchmark" == Lake(address).uri("benchmark")


@pytest.mark.parametrize(
    "address",
    ["s3://key:secret@host/lake", "s3://lake?key=secret", "s3:///lake", "s3://A/b", "gs://lake", "file:///lake", "s3://lake/../b"],
)  # fmt: skip
def test_any_other_address_is_refused_and_not_repeated(address: str):
    with pytest.raises(FlywheelError, match="AWS_ACCESS_KEY_ID") as refused:
        Lake(address)
    assert address not in str(refused.value), "it may hold a secret"


def test_the_installation_names_a_folder_a_bucket_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert Settings(home=tmp_path).lake() == tmp_path / "lake"
    assert Settings(home=tmp_path).staging() == tmp_path / "lake" / "_staging"
    monkeypatch.setenv("FLYWHEEL_LAKE", str(tmp_path / "other"))
    assert Settings(home=tmp_path).staging() == tmp_path / "other" / "_staging", "on the lake's disk"
    monkeypatch.setenv("FLYWHEEL_LAKE", "s3://lake/prefix")
    assert Settings(home=tmp_path).lake() == "s3://lake/prefix"
    assert Settings(home=tmp_path).staging() == tmp_path / "staging"


def test_a_store_that_does_not_answer_may_and_one_that_refuses_may_not_be_tried_again():
    with pytest.raises(Interrupted, match="after 10 retries.*\n.*AWS_ENDPOINT_URL"), reaching("s3://lake"):
        raise OSError(
            "Generic S3 error\n  \x1b[31m↳\x1b[0m Error performing GET in 3.3s, after 10 retries, max_retries"
        )
    with pytest.raises(FlywheelError) as refused, reaching("s3://lake"):
        raise OSError("Kernel error -> Generic S3 error: Server returned non-2xx status code: 403 Forbidden")
    assert not isinstance(refused.value, Interrupted)
    with pytest.raises(OSError, match="No space"), reaching("lake"):
        raise OSError(28, "No space left on device")
    with pytest.raises(ValueError, match="mine"), reaching("s3://lake"):
        raise ValueError("mine")


def test_what_copies_folders_refuses_a_bucket(tmp_path: Path):
    from flywheel.operations.backup import back_up
    from flywheel.operations.restore import restore

    away = Settings(home=tmp_path, lake_root="s3://lake/x")
    with pytest.raises(FlywheelError, match="replication"):
        back_up(away, tmp_path / "backup")
    assert not (tmp_path / "backup").exists()
    with pytest.raises(FlywheelError, match="unset FLYWHEEL_LAKE"):
        restore(away, tmp_path / "backup")
