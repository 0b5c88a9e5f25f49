"""Rows a base model cannot train on are found before it is loaded: too long, empty, or with ids it has no token for."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from flywheel.errors import FlywheelError
from flywheel.training.spec import PreferenceRow, SftRow


def check_rows(
    rows: Sequence[SftRow], pairs: Sequence[PreferenceRow], base_model: Path, *, files: tuple[str, str]
) -> None:
    """Raise FlywheelError naming the first row that is wrong, how many are, and what to do.

    Args:
        base_model: folder with the model's config.json.
        files: where the rows and the pairs lie, for the message.
    """
    config = text_config(base_model / "config.json")
    vocabulary, context = config["vocab_size"], config.get("max_position_embeddings")
    for where, sequences in (
        (files[0], [(row.prompt_ids, row.target_ids) for row in rows]),
        (files[1], [(pair.prompt_ids, side) for pair in pairs for side in (pair.chosen_ids, pair.rejected_ids)]),
    ):
        for problem, remedy, wrong in _problems(sequences, vocabulary, context):
            if wrong:
                raise FlywheelError(
                    f"{len(wrong)} of {len(sequences)} rows {problem}, row {wrong[0] + 1} first",
                    where=where,
                    remedy=remedy,
                )


def _problems(
    sequences: Sequence[tuple[list[int], list[int]]], vocabulary: int, context: int | None
) -> Iterator[tuple[str, str, list[int]]]:
    """What can be wrong, the remedy, and the numbers of the rows with which it is."""
    yield (
        "have an empty prompt or an empty target", "a step without words or calls teaches nothing: find out what wrote it",
        [number for number, (prompt, target) in enumerate(sequences) if not prompt or not target],
    )  # fmt: skip
    yield (
        f"hold token ids outside the model's vocabulary of {vocabulary}",
        "they were tokenised for another base model: rematerialize sft_dataset, then checkpoint",
        [
            number
            for number, pair in enumerate(sequences)
            if any(not 0 <= id < vocabulary for ids in pair for id in ids)
        ],
    )
    yield (
        f"are longer than the model's context of {context} tokens",
        "lower training.max_prompt_tokens in workflow.yaml and rematerialize sft_dataset, which shortens or drops them by rule",
        [number for number, (prompt, target) in enumerate(sequences) if context and len(prompt) + len(target) > context],
    )  # fmt: skip


def text_config(file: Path) -> dict[str, Any]:
    """A model's config.json; of a model that also sees or hears, the part about text."""
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FlywheelError(f"this is no model configuration: {error}", where=str(file),
                            remedy="name a base model in the cache, its folder, or a config.json") from None  # fmt: skip
    return {**config, **config.get("text_config", {})}
