"""What `flywheel serve` refuses before it starts anything; and, slow, a real server of what the pointer names and of its bundles."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from flywheel.errors import FlywheelError
from flywheel.operations.serve import check_pointer, current_pointer, serve_workflows
from flywheel.promotion.pointer_file import read_pointer, write_pointer
from flywheel.promotion.releases import Releases
from flywheel.serving.adapters import ADAPTER_FILES, MANIFEST, adapter_sha256
from flywheel.serving.foreground import Address
from flywheel.workflows.base_model import BaseModel, find_base_model
from flywheel_tests.conftest import HOME, SUPPORT_DESK
from flywheel_tests.promotion.house import WEEKS, decide, make_adapter, make_house
from flywheel_tests.serving.test_foreground import free_port


@pytest.fixture
def acts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Releases:
    """A released adapter, and the pointer file that names it."""
    monkeypatch.setattr("flywheel.operations.serve.check_weights", lambda base: None)
    made = make_house(tmp_path)
    decide(made, WEEKS[0], make_adapter(made.settings, 1), automatic=True)
    write_pointer(made.settings, made.pack, made.base, made.log())
    return made


def test_a_pointer_that_is_behind_the_log_is_written_anew(acts: Releases):
    said: list[str] = []
    assert current_pointer(acts, said.append).adapter_id.startswith("adapter-") and not said
    acts.roll_back(by="Dana", reason="r")  # and killed before the file was written
    assert current_pointer(acts, said.append).adapter_id == "base" and "knew 1 of 2 entries" in said[0]
    acts.settings.pointer("door").unlink()
    assert current_pointer(acts, said.append).adapter_id == "base" and len(said) == 1


def test_what_is_gone_or_was_changed_is_not_served(acts: Releases):
    pointer = read_pointer(acts.settings.pointer("door"))
    check_pointer(acts.settings, pointer)
    with pytest.raises(FlywheelError, match="template .* is another than at the release"):
        check_pointer(acts.settings, pointer.model_copy(update={"chat_template_sha256": "0"}))
    with pytest.raises(FlywheelError, match="FLYWHEEL_HOME was moved|the adapter lies in"):
        check_pointer(acts.settings, pointer.model_copy(update={"adapter_path": Path("/elsewhere")}))
    assert pointer.adapter_path
    weights = pointer.adapter_path / ADAPTER_FILES[1]
    weights.write_bytes(weights.read_bytes() + b"\0")
    with pytest.raises(FlywheelError, match="was changed"):
        check_pointer(acts.settings, pointer)
    for file in pointer.adapter_path.iterdir():
        file.unlink()
    pointer.adapter_path.rmdir()
    with pytest.raises(FlywheelError, match="is missing"):
        check_pointer(acts.settings, pointer)
    gone = pointer.base_model.model_copy(update={"path": Path("/elsewhere")})
    with pytest.raises(FlywheelError, match="base model .* is gone") as caught:
        check_pointer(acts.settings, pointer.model_copy(update={"base_model": gone}))
    assert "flywheel rollback" in caught.value.remedy


def test_two_workflows_on_one_base_are_served_by_one_command(acts: Releases, monkeypatch: pytest.MonkeyPatch):
    packs = acts.settings.workflows()
    packs.unlink()
    for name in ("door", "window"):
        shutil.copytree(HOME / "workflows" / "door", packs / name)
    started: list[dict[str, Any]] = []
    monkeypatch.setattr(
        "flywheel.operations.serve.serve", lambda arguments, address, **rest: started.append({"a": arguments, **rest})
    )
    said: list[str] = []
    serve_workflows(acts.settings, ["door", "window"], Address("127.0.0.1", free_port()), say=said.append)
    adapter = read_pointer(acts.settings.pointer("door")).adapter_id
    assert [line.split(",")[0] for line in said] == [
        f"door: serving {adapter} on tiny-random",
        "window: serving base on tiny-random",
    ]
    (one,) = started
    assert any(word.startswith(f"{adapter}=") for word in one["a"]) and one["log"].name == "door+window.log"
    one["look"]()


# Slow from here on.

ASKED = {
    "messages": [{"role": "user", "content": "Where is my parcel R1?"}],
    "temperature": 0,
    "max_tokens": 12,
    "seed": 0,
}


def random_adapter(checkpoints: Path, base: BaseModel, *, seed: int, scale: float = 1.0) -> str:
    """A whole adapter of random numbers on the attention's output of every layer; its id. `scale` is how much it changes."""
    from safetensors.numpy import save_file

    shape = json.loads((base.folder / "config.json").read_text())
    random, hidden, layers = np.random.default_rng(seed), shape["hidden_size"], shape["num_hidden_layers"]
    weights = {}
    for layer in range(layers):
        name = f"base_model.model.model.layers.{layer}.self_attn.o_proj.lora"
        inner = shape["num_attention_heads"] * shape.get("head_dim", hidden // shape["num_attention_heads"])
        weights[f"{name}_A.weight"] = random.normal(size=(8, inner)).astype(np.float32)
        weights[f"{name}_B.weight"] = (scale * random.normal(size=(hidden, 8))).astype(np.float32)
    partial = checkpoints / "partial"
    partial.mkdir(parents=True)
    save_file(weights, partial / ADAPTER_FILES[1])
    config = {"peft_type": "LORA", "r": 8, "lora_alpha": 8, "bias": "none", "base_model_name_or_path": base.folder.name,
              "target_modules": ["o_proj"], "task_type": "CAUSAL_LM", "init_lora_weights": True}  # fmt: skip
    (partial / ADAPTER_FILES[0]).write_text(json.dumps(config))
    sha256 = adapter_sha256(partial)
    (partial / MANIFEST).write_text(json.dumps({"sha256": sha256, "base_model": base.folder.name, "renamed": {}}))
    partial.rename(partial.with_name(f"adapter-{sha256[:16]}"))
    return f"adapter-{sha256[:16]}"


def real_house(folder: Path) -> Releases:
    """The tiny model, made as `flywheel model tiny-random` makes it, and an adapter of random numbers that changes its answers."""
    acts = make_house(folder)
    for file in acts.base.folder.iterdir():
        file.unlink()
    acts.base.folder.rmdir()
    command = [
        sys.executable,
        "-m",
        "flywheel.training.base_model",
        "tiny-random",
        str(acts.settings.models()),
        str(SUPPORT_DESK),
    ]
    subprocess.run(command, check=True, capture_output=True)
    acts = acts._replace(base=find_base_model(acts.settings.models(), "tiny-random"))
    adapter = random_adapter(acts.settings.checkpoints("door"), acts.base, seed=0)
    decide(acts, WEEKS[0], adapter, automatic=True)
    return acts


@contextmanager
def running(
    command: list[str] | str, url: httpx.Client, folder: Path, **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A command that serves, once it answers; ended by SIGTERM, with nothing left of its group."""
    log = (folder / "command.log").open("wb")
    process = subprocess.Popen(command, shell=isinstance(command, str), cwd=folder, env={**os.environ, **environment}, stdout=log,
                               stderr=subprocess.STDOUT, start_new_session=True)  # fmt: skip
    try:
        deadline = time.monotonic() + 200
        while time.monotonic() < deadline and process.poll() is None:
            try:
                if url.get("/health").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.5)
        assert process.poll() is None, (folder / "command.log").read_text()[-3000:]
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)


def answer(url: httpx.Client, model: str) -> str:
    reply = url.post("/v1/chat/completions", json={**ASKED, "model": model}, timeout=60)
    assert reply.status_code == 200, reply.text
    return reply.json()["choices"][0]["message"]["content"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_serve_and_both_bundles_give_the_same_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    acts = real_house(tmp_path / "home")
    adapter = read_pointer_of(acts)
    home = {"FLYWHEEL_HOME": str(acts.settings.home), "PYTHONPATH": str(Path(__file__).parents[2])}
    flywheel = [sys.executable, "-c", "from flywheel.cli import app; app()"]
    sock = tmp_path / "v.sock"
    client = httpx.Client(transport=httpx.HTTPTransport(uds=str(sock)), base_url="http://vllm", timeout=5)
    with running([*flywheel, "serve", "door", "--uds", str(sock)], client, tmp_path, **home):
        ours, base = answer(client, adapter), answer(client, "base")
        assert ours != base and oct(sock.stat().st_mode)[-3:] in ("700", "600"), "another model, and this user's socket"
        deadline = time.monotonic() + 60  # the command looks four times a second, and we may have been faster
        while "listening on unix:" not in (tmp_path / "command.log").read_text() and time.monotonic() < deadline:
            time.sleep(0.2)
    said = (tmp_path / "command.log").read_text()
    assert (
        f"door: serving {adapter} on tiny-random" in said
        and "listening on unix:" in said
        and "stopping the server" in said
    )
    assert not sock.exists() and not _servers_of(sock)
    for merged in ([], ["--merged"]):
        folder = tmp_path / f"bundle{len(merged)}"
        subprocess.run(
            [*flywheel, "bundle", "door", "--out", str(folder), *merged], env={**os.environ, **home}, check=True
        )
        (command,) = re.findall(r"^python -m vllm.*$", (folder / "README.md").read_text(), re.M)
        port = free_port()
        client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=5, trust_env=False)
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        plain = {
            "PATH": path,
            "PYTHONPATH": "",
            "VLLM_PLUGINS": "",
            "BASE_MODEL": str(acts.base.folder),
            "HF_HUB_OFFLINE": "1",
        }
        with running(f"exec {command} --port {port}", client, folder, **plain):
            theirs = answer(client, adapter)
            # Merging rounds the sum to bfloat16: a random model's ties may fall otherwise after a while, an adapter's may not.
            same = os.path.commonprefix([theirs, ours])
            assert same == ours or (merged and len(same) > len(os.path.commonprefix([base, ours])) + 8), (
                merged,
                theirs,
            )


def read_pointer_of(acts: Releases) -> str:
    return write_pointer(acts.settings, acts.pack, acts.base, acts.log()).adapter_id


def _servers_of(sock: Path) -> str:
    return subprocess.run(["pgrep", "-f", f"uds {sock}"], capture_output=True, text=True, check=False).stdout
