"""vLLM as a context manager: own process group, unix socket, health-polled, always stopped, log kept.

The server is a child started with `python -m vllm.entrypoints.openai.api_server` (the `vllm` command needs package
metadata that the CPU build lacks). It listens on a unix socket in a private folder: no port to race for, nothing
reachable from outside.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from flywheel.chat.families import Family
from flywheel.errors import FlywheelError, Interrupted
from flywheel.processes import child_command, start_group, stop_group
from flywheel.progress import report_progress
from flywheel.serving.adapters import open_adapter, servable_rank
from flywheel.settings import without_secrets

BASE = "base"
PINNED_VLLM = "0.32.0"  # the version that pyproject.toml pins: what the arguments were tried with
# The module that serves; the `vllm` command needs package metadata that the CPU build lacks.
CHILD = "vllm.entrypoints.openai.api_server"
KV_CACHE_BYTES = 1 << 30
# What fits the server to this machine; everything else decides, or may decide, what it answers.
MACHINE_ARGUMENTS = (
    "--enforce-eager",
    "--distributed-executor-backend",
    "uni",
    "--kv-cache-memory-bytes",
    str(KV_CACHE_BYTES),
)
_POLL_SECONDS = 0.25


@dataclass(frozen=True)
class ServerSpec:
    """What to serve.

    Attributes:
        model: Hugging Face folder of the base model, served as `base`.
        family: names the template, the one the training rows were rendered with, and the parser that reads calls back.
        adapters: served name -> adapter folder.
        max_model_len: longest prompt plus answer, in tokens.
        max_num_seqs: requests decoded at once.
        max_lora_rank: largest rank among the adapters.
        threads: CPU threads, bound one a core.
        template: file that stands for the family's template.
        quantization: vLLM's `--quantization`; None where the checkpoint says it, or nothing is quantised.
        constrained: calls can only be written as their tools' schemas allow (vLLM's `--tool-strict-level parameter`).
        python: interpreter of an environment with another vLLM; None for this one's.
    """

    model: Path
    family: Family
    adapters: Mapping[str, Path] = field(default_factory=dict)
    max_model_len: int = 2048
    max_num_seqs: int = 16
    max_lora_rank: int = 16
    threads: int = 2
    template: Path | None = None
    quantization: str | None = None
    constrained: bool = False
    python: Path | None = None

    @property
    def quantised(self) -> bool:
        """Whether the served weights are not those that PEFT would load."""
        config = self.model / "config.json"
        return self.quantization is not None or (
            config.is_file() and "quantization_config" in json.loads(config.read_text(encoding="utf-8"))
        )

    def arguments(self) -> list[str]:
        """vLLM's command-line arguments, without the socket."""
        fixed = [
            "--model", str(self.model), "--load-format", "safetensors", "--served-model-name", BASE, "--chat-template",
            str(self.template or self.family.template_file),
            "--enable-auto-tool-choice", "--tool-call-parser", self.family.tool_parser, "--generation-config", "vllm",
            "--tokenizer-mode", self.family.tokenizer_mode, *MACHINE_ARGUMENTS, "--max-model-len", str(self.max_model_len),
            "--max-num-seqs", str(self.max_num_seqs), "--dtype", "bfloat16", "--seed", "0",
        ]  # fmt: skip
        if self.constrained:
            fixed += ["--tool-strict-level", "parameter"]
        if self.quantization:
            fixed += ["--quantization", self.quantization]
        if self.family.tool_parser_plugin:
            fixed += ["--tool-parser-plugin", str(self.family.tool_parser_plugin)]
        if not self.adapters:
            return fixed
        modules = [f"{name}={path}" for name, path in sorted(self.adapters.items())]
        lora = [
            "--enable-lora",
            "--max-lora-rank",
            str(servable_rank(self.max_lora_rank)),
            "--max-loras",
            str(len(modules)),
        ]
        return [*fixed, *lora, "--lora-modules", *modules]


@dataclass(frozen=True)
class Server:
    """A running server: its process, socket and log, and what it was started with (kept beside every result).

    `shared` says who else asks it and which start of it this is, where several workflows share it; it stands beside results, too.
    """

    process: subprocess.Popen[bytes]
    socket: Path
    log: Path
    description: dict[str, str]
    start_seconds: float
    shared: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def vllm_server(spec: ServerSpec, *, log: Path, start_seconds: float) -> Iterator[Server]:
    """Serve `spec` until the block ends; the whole process group is gone afterwards, whatever happened.

    Raises FlywheelError with the log's decisive lines when the server dies or does not answer in `start_seconds`.
    """
    _check_files(spec)
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="flywheel-vllm-"))
    socket = folder / "http.sock"
    command = child_command(CHILD, *spec.arguments(), "--uds", str(socket), python=spec.python)
    process = start_group(command, environment=serving_environment(spec.threads), log=log)
    try:
        seconds = _wait_until_healthy(process, socket, log, start_seconds)
        yield Server(process, socket, log, {"vllm": vllm_version(log), "arguments": " ".join(_portable(spec))}, seconds)
    finally:
        stop_group(process)
        shutil.rmtree(folder, ignore_errors=True)


def _portable(spec: ServerSpec) -> list[str]:
    """The arguments without this machine's folders."""
    return [re.sub(r"(^|=)/\S*/", r"\1", argument) for argument in spec.arguments()]


def _check_files(spec: ServerSpec) -> None:
    if not spec.model.is_dir():
        raise FlywheelError("a folder to be served is missing", where=str(spec.model),
                            remedy="rebuild it: flywheel doctor says which command makes it")  # fmt: skip
    for path in spec.adapters.values():
        open_adapter(path, base_model=spec.model.name)


def serving_environment(threads: int) -> dict[str, str]:
    """Environment of a vLLM process on this machine: threads bound one a core, nothing sent anywhere, one process."""
    return {
        **without_secrets(os.environ),
        "VLLM_CPU_OMP_THREADS_BIND": ",".join(map(str, sorted(os.sched_getaffinity(0))[:threads])),
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "VLLM_LOGGING_LEVEL": "INFO",
        # The worker runs inside the engine's process: one import of vLLM less (about 8 s), same throughput. vLLM keeps the
        # `uni` executor on CPU only with this variable, and then takes the thread count from OMP_NUM_THREADS.
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "OMP_NUM_THREADS": str(threads),
    }


def _wait_until_healthy(process: subprocess.Popen[bytes], socket: Path, log: Path, limit: float) -> float:
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(socket)), base_url="http://vllm", timeout=5) as client:
        return wait_until_healthy(process, client, log, limit, _show_start)


def wait_until_healthy(
    process: subprocess.Popen[bytes], client: httpx.Client, log: Path, limit: float, waiting: Callable[[float], None]
) -> float:
    """Seconds until the server answers its health check; raises FlywheelError when it ends before, or takes longer than `limit`.

    Args:
        waiting: called with the seconds so far, four times a second.
    """
    started = time.monotonic()
    while (elapsed := time.monotonic() - started) < limit:
        if process.poll() is not None:
            # A negative code is a signal: it was killed. Any other exit comes back with the same arguments.
            kind = Interrupted if process.returncode < 0 else FlywheelError
            raise did_not_start(f"vLLM ended with exit code {process.returncode} while starting", log, kind)
        try:
            if client.get("/health").status_code == httpx.codes.OK:
                return elapsed
        except httpx.TransportError:
            pass
        waiting(elapsed)
        time.sleep(_POLL_SECONDS)
    raise did_not_start(f"vLLM did not answer its health check within {limit:.0f} s", log, Interrupted)


def _show_start(elapsed: float) -> None:
    report_progress("vLLM", "starting the server", round(elapsed), 0)


def did_not_start(what: str, log: Path, kind: type[FlywheelError] = FlywheelError) -> FlywheelError:
    """An error that holds the log's decisive lines."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    telling = [line.strip() for line in lines if re.search(r"\b\w*(Error|Exception)\b.*:|No space|Killed", line)]
    shown = "; ".join(dict.fromkeys(line[-200:] for line in (telling or lines)[-3:]))
    remedy = "read the log; `flywheel doctor` checks memory and packages; FLYWHEEL_SERVE_START_SECONDS gives it longer"
    return kind(f"{what}: {shown or 'the log is empty'}", where=str(log), remedy=remedy)


def vllm_version(log: Path) -> str:
    """Version the server's own log names, or 'unknown'."""
    found = re.search(r"version (\d+\.\d+\.\d+\S*)", log.read_text(encoding="utf-8", errors="replace"))
    return found[1] if found else "unknown"
