"""vLLM that dies while starting: the error holds the log's telling line, and nothing is left behind."""

import subprocess
from pathlib import Path

import pytest

from flywheel.chat.families import find_family
from flywheel.errors import FlywheelError
from flywheel.serving.vllm_server import ServerSpec, vllm_server


@pytest.mark.slow
def test_a_model_that_cannot_be_served_is_an_error_with_the_logs_own_words(tmp_path: Path):
    (tmp_path / "config.json").write_text('{"model_type": "no-such-model"}')
    before = _servers()
    with pytest.raises(FlywheelError, match="while starting") as caught:
        with vllm_server(
            ServerSpec(tmp_path, find_family("chatml_hermes")), log=tmp_path / "vllm.log", start_seconds=120
        ):
            pytest.fail("it cannot start")
    assert "no-such-model" in caught.value.what and caught.value.where.endswith("vllm.log")
    assert _servers() == before, "the whole process group is gone"


def test_a_missing_adapter_is_said_before_anything_is_started(tmp_path: Path):
    spec = ServerSpec(tmp_path, find_family("chatml_hermes"), adapters={"a": tmp_path / "gone"})
    with pytest.raises(FlywheelError, match="missing"):
        with vllm_server(spec, log=tmp_path / "vllm.log", start_seconds=1):
            pass
    assert not (tmp_path / "vllm.log").exists()


def _servers() -> str:
    return subprocess.run(["pgrep", "-f", "openai.api_server"], capture_output=True, text=True, check=False).stdout
