"""vLLM as a context manager: own process group, unix socket, health-polled, always stopped, log kept.

The server is a child started with `python -m vllm.entrypoints.openai.api_server` (the `vllm` command needs package
metadata that the CPU build lacks). It listens on a unix socket in a private folder: no port to race for, nothing
reachable from outside.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from flywheel.chat.families import Family
from flywheel.errors import FlywheelError
from flywheel.processes import start_group, stop_group
from flywheel.progress import report_progress
from flywheel.serving.adapters import open_adapter, servable_rank

BASE = "base"
_KV_CACHE_BYTES = 1 << 30
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
    """

    model: Path
    family: Family
    adapters: Mapping[str, Path] = field(default_factory=dict)
    max_model_len: int = 2048
    max_num_seqs: int = 16
    max_lora_rank: int = 16
    threads: int = 2

    def arguments(self) -> list[str]:
        """vLLM's command-line arguments, without the socket."""
        fixed = [
            "--model", str(self.model), "--served-model-name", BASE, "--chat-template", str(self.family.template_file),
            "--enable-auto-tool-choice", "--tool-call-parser", self.family.tool_parser, "--generation-config", "vllm",
            "--tokenizer-mode", self.family.tokenizer_mode,
            "--enforce-eager", "--distributed-executor-backend", "uni", "--max-model-len", str(self.max_model_len),
            "--max-num-seqs", str(self.max_num_seqs),
            "--kv-cache-memory-bytes", str(_KV_CACHE_BYTES), "--dtype", "bfloat16", "--seed", "0",
        ]  # fmt: skip
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
    """A running server: its socket, the log, and what it was started with (kept beside every result)."""

    socket: Path
    log: Path
    description: dict[str, str]
    start_seconds: float


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
    command = [sys.executable, "-m", "flywheel.processes", "--", sys.executable, "-m",
               "vllm.entrypoints.openai.api_server", *spec.arguments(), "--uds", str(socket)]  # fmt: skip
    process = start_group(command, environment=_environment(spec.threads), log=log)
    try:
        seconds = _wait_until_healthy(process, socket, log, start_seconds)
        yield Server(socket, log, {"vllm": vllm_version(log), "arguments": " ".join(_portable(spec))}, seconds)
    finally:
        stop_group(process)
        shutil.rmtree(folder, ignore_errors=True)


def _portable(spec: ServerSpec) -> list[str]:
    """The arguments without this machine's folders."""
    return [argument.rsplit("/", 1)[-1] if argument.startswith("/") else argument for argument in spec.arguments()]


def _check_files(spec: ServerSpec) -> None:
    if not spec.model.is_dir():
        raise FlywheelError("a folder to be served is missing", where=str(spec.model),
                            remedy="rebuild it: flywheel doctor says which command makes it")  # fmt: skip
    for path in spec.adapters.values():
        open_adapter(path, base_model=spec.model.name)


def _environment(threads: int) -> dict[str, str]:
    return {
        **os.environ,
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
    started = time.monotonic()
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(socket)), base_url="http://vllm", timeout=5) as client:
        while (elapsed := time.monotonic() - started) < limit:
            if process.poll() is not None:
                raise _did_not_start(f"vLLM ended with exit code {process.returncode} while starting", log)
            try:
                if socket.exists() and client.get("/health").status_code == httpx.codes.OK:
                    return elapsed
            except httpx.TransportError:
                pass
            report_progress("vLLM", "starting the server", round(elapsed), 0)
            time.sleep(_POLL_SECONDS)
    raise _did_not_start(f"vLLM did not answer its health check within {limit:.0f} s", log)


def _did_not_start(what: str, log: Path) -> FlywheelError:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    telling = [line.strip() for line in lines if re.search(r"\b\w*(Error|Exception)\b.*:|No space|Killed", line)]
    shown = "; ".join(dict.fromkeys(line[-200:] for line in (telling or lines)[-3:]))
    remedy = "read the log; `flywheel doctor` checks memory and packages; FLYWHEEL_SERVE_START_SECONDS gives it longer"
    return FlywheelError(f"{what}: {shown or 'the log is empty'}", where=str(log), remedy=remedy)


def vllm_version(log: Path) -> str:
    """Version the server's own log names, or 'unknown'."""
    found = re.search(r"version (\d+\.\d+\.\d+\S*)", log.read_text(encoding="utf-8", errors="replace"))
    return found[1] if found else "unknown"
