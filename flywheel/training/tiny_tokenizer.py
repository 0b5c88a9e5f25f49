"""A tokenizer for models that are made up on the spot: byte-level BPE of a workflow pack's own texts. No torch."""

from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from flywheel.errors import FlywheelError

PADDING = "<|endoftext|>"


def train_tokenizer(corpus: Path, special_tokens: Sequence[str]) -> Tokenizer:
    """Byte-level BPE over every text file of a folder, in name order; digits stay single, special tokens are one id each."""
    files = sorted(str(file) for file in corpus.rglob("*") if file.suffix in {".json", ".jsonl", ".md", ".py"})
    if not files:
        raise FlywheelError("no text to train the tiny tokenizer on", where=str(corpus), remedy="name a workflow pack")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1500, special_tokens=[PADDING, *special_tokens], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train(files, trainer)
    return tokenizer
