"""What datasets answer for: near-duplicate search among three million texts, and a year of weeks at a constant cost.

    python -m flywheel.operations.bench_datasets

`bench.py` starts it in a child on one thread, and seconds are those of the processor, so that figures are per core and other work on
the machine does not count. Texts and weeks are synthetic, and said to be so.
"""

import json
import random
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import flywheel.demo
from flywheel.benchmark.cases import load_cases
from flywheel.benchmark.freeze import frozen_and_retired, frozen_row
from flywheel.chat.render import RenderedStep, Renderer
from flywheel.datasets.build import build
from flywheel.datasets.refresh import Workshop, refresh
from flywheel.lake import TABLES, Lake
from flywheel.similarity.incremental import BAND_COLUMNS, band_columns, near_links
from flywheel.toolcalls.arguments import canonical_json
from flywheel.workflows.loader import load_pack

Row = dict[str, Any]
HISTORY, NEW, TEXT_WORDS = 3_000_000, 40_000, 60
WEEKS, WEEKLY, TURNS = 52, 100, 5
_SUPPORT_DESK = Path(flywheel.demo.__file__).parent / "support_desk"


def near_dup(history: int = HISTORY, new: int = NEW) -> Row:
    """New texts a second on one core, bands computed and searched among `history` others; every planted twin must be found."""
    rng = random.Random(0)
    words = [f"word{number}" for number in range(20_000)]
    texts = [" ".join(rng.choices(words, k=TEXT_WORDS)) for _ in range(new)]
    old = [text.rsplit(" ", 1)[0] + " changed" for text in texts[::20]]
    keys = np.random.default_rng(0).integers(-(2**31), 2**31, (history - len(old), len(BAND_COLUMNS)), dtype=np.int32)
    known = pl.concat([pl.DataFrame(keys, schema=list(BAND_COLUMNS), orient="row"), band_columns(pl.Series(old))])
    ids = pl.Series("text_id", np.arange(history)).cast(pl.String)
    planted = dict(zip(ids[history - len(old) :], old, strict=True))
    past = known.select(ids, *BAND_COLUMNS)

    def texts_of(asked: Sequence[str]) -> Mapping[str, str]:
        return {key: planted.get(key, "never said") for key in asked}

    started = time.process_time()
    fresh = pl.DataFrame({"text_id": [f"n{number:07d}" for number in range(new)], "text": texts})
    found = near_links(pl.concat([fresh, band_columns(fresh["text"])], how="horizontal"), past, texts_of)
    rate = new / (time.process_time() - started)
    met = sum(f"{history - len(old) + n}" in found.get(f"n{n * 20:07d}", []) for n in range(len(old)))
    wrong = len(found) - met
    return {"name": f"near_dup ({met / len(old):.1%} of planted found, {wrong} false)", "value": rate, "unit": f"texts/s/core, {history:,} known",
            "baseline": None, "ratio": None, "target": 20_000.0, "ok": rate >= 20_000 and met >= 0.98 * len(old) and not wrong}  # fmt: skip


def growth(weeks: int = WEEKS, weekly: int = WEEKLY) -> Row:
    """Seconds of the newest week's build after a year over those of the second week; the same number of corrections each week.

    A young and an old lake build in turn, five weeks each, so that a slow moment of the machine meets both; the quickest counts on either
    side. A row budget of two weeks binds from the third week on.
    """
    with tempfile.TemporaryDirectory() as young, tempfile.TemporaryDirectory() as old:
        shops = {1: _workshop(Path(young), budget=2 * weekly), weeks - TURNS: _workshop(Path(old), budget=2 * weekly)}
        for start, shop in shops.items():
            for number in range(start):
                _put(shop, number, weekly)
            refresh(shop._replace(renderer=_Quick(shop.renderer)), _day(start - 1))
        seconds: dict[int, list[float]] = {start: [] for start in shops}
        for later in range(TURNS):
            for start, shop in shops.items():
                week = _put(shop, start + later, weekly)
                began = time.process_time()
                made = build(shop, week)
                seconds[start].append(time.process_time() - began)
                assert len(made.sft) == 2 * weekly and made.computed == [week]
    early, late = (min(seconds[start]) for start in shops)
    return {"name": f"growth, week {weeks} against week 2", "value": late, "unit": "CPU s a build", "baseline": early, "ratio": late / early,
            "target": 1.3, "ok": late / early <= 1.3}  # fmt: skip


def _day(number: int) -> str:
    return (date(2025, 1, 6) + timedelta(weeks=number)).isoformat()


def _put(shop: Workshop, number: int, weekly: int) -> str:
    """Write the corrections of one week; returns the week."""
    rows = _corrections(shop, number, weekly)
    shop.lake.replace_partition("corrected_traces", rows, workflow="support_desk", week=_day(number))
    return _day(number)


class _Quick(Renderer):
    """Stands in while the weeks between are laid down: what they cost is not measured, and their tokens were counted long ago."""

    def __init__(self, real: Renderer) -> None:
        self.__dict__.update(real.__dict__)

    def step(self, messages: list[Any], target: Any, tools: list[Any]) -> RenderedStep:
        """No tokens are counted."""
        del messages, target, tools
        return RenderedStep([0], [0])


def _workshop(folder: Path, *, budget: int) -> Workshop:
    """The support desk with a byte tokenizer, its benchmark frozen in an empty lake."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = {letter: number for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=alphabet, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    pack = load_pack(_SUPPORT_DESK)
    settings = pack.settings.model_copy(update={
        "datasets": pack.settings.datasets.model_copy(update={"row_budget": budget}),
        "training": pack.settings.training.model_copy(update={"max_prompt_tokens": 100_000, "sft_presentations": budget}),
    })  # fmt: skip
    pack = type(pack)(**{**vars(pack), "settings": settings})
    lake = Lake(folder / "lake")
    rows = [frozen_row(case, pack.tools_sha256) for case in load_cases(pack.folder / "benchmark", pack.tools)]
    lake.replace_partition("benchmark", frozen_and_retired(lake.empty("benchmark"), rows), workflow=pack.name)
    return Workshop(lake, pack, Renderer(folder / "tokenizer.json"), "bench")


def _corrections(shop: Workshop, week: int, count: int) -> list[Row]:
    """Corrections of people who never say the same: 30 random words of one vocabulary, and a call."""
    spell = random.Random("vocabulary")
    words = ["".join(spell.choices("abcdefghijklmnopqrstuvwxyz", k=6)) for _ in range(3_000)]
    rng = random.Random(week)
    empty = {name: None for name in TABLES["corrected_traces"].polars_schema() if name not in ("week", "workflow")}
    rows = []
    for number in range(count):
        key = f"{week}-{number}"
        text = " ".join(rng.choices(words, k=30))
        call = {
            "id": "c",
            "type": "function",
            "function": {"name": "get_order", "arguments": canonical_json({"order_id": key})},
        }
        messages = [{"role": "system", "content": shop.pack.system}, {"role": "user", "content": text},
                    {"role": "assistant", "content": None, "tool_calls": [call]}]  # fmt: skip
        rows.append({
            **empty, "correction_id": f"c{key}", "item_id": f"i{key}", "batch_version": str(week), "trace_id": f"t{key}", "conversation_id": f"k{key}",
            "near_duplicate_group": f"t{key}", "principal_ref": f"p{key}", "failure_cluster": f"cluster {number % 10}",
            "bucket": "wrong_tool_selection", "first_bad_message_index": 2, "suffix_mode": "truncated", "tools": canonical_json(shop.pack.tools),
            "messages": canonical_json(messages), "trainable_indices": "[2]", "rejected_message": '{"role": "assistant", "content": "No."}',
            "qa_mode": "three", "annotator_kind": "simulated", "annotator": "a", "reviewer": "r", "adjudicator": None, "auditor": None, "returns": 0,
            "verified_by": "qa_three", "accepted_at": datetime(2025, 1, 7, tzinfo=UTC),
        })  # fmt: skip
    return rows


if __name__ == "__main__":
    wanted = sys.argv[1:] or ["near_dup", "growth"]
    print(json.dumps([{"near_dup": near_dup, "growth": growth}[name]() for name in wanted]))
