"""Bench row `sft_tree`: long, branching histories. Real agent runs cut into steps, on a random model of SmolLM2's shape.

Row by row is our own trainer with one row a pass, so what is compared is the sharing alone. Its bound is the token reuse of
the same packs: tokens of the rows over tokens computed.
"""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from flywheel.bench_row import row
from flywheel.chat.render import Renderer
from flywheel.training import attention
from flywheel.training.bench import interleaved
from flywheel.training.collate import Pack, Row, pack
from flywheel.training.forward import target_log_probabilities
from flywheel.training.packing import cut_all, distinct_tokens

MOST_TOKENS, TIMED_RUNS, LAYERS = 8192, 2, 2


class Steps(NamedTuple):
    """Assistant steps of one run that fit, and how many do not."""

    rows: list[Row]
    too_long: int


def steps_of(run: Sequence[dict[str, Any]], tools: list[dict[str, Any]], renderer: Renderer) -> Steps:
    """Every assistant message of a run as a row: the history before it, then the message."""
    rows = [
        Row(*renderer.step(list(run[:place]), message, tools))
        for place, message in enumerate(run)
        if message["role"] == "assistant"
    ]
    fitting = [each for each in rows if len(each.prompt_ids) + len(each.target_ids) <= MOST_TOKENS]
    return Steps(fitting, len(rows) - len(fitting))


def rows(base: Path, runs: Path) -> list[dict[str, Any]]:
    """Token reuse of the first trial of every task, and the speed of a seeded few runs against one row a pass."""
    tools = json.loads((runs / "tools.json").read_text(encoding="utf-8"))
    renderer = Renderer(base / "tokenizer.json")
    recorded = json.loads((runs / "trajectories.json").read_text(encoding="utf-8"))
    trajectories = [each["traj"] for each in recorded if each["trial"] == 0]
    cut = [steps_of(run, tools, renderer) for run in trajectories]
    tokens = [[[*each.prompt_ids, *each.target_ids] for each in steps.rows] for steps in cut if steps.rows]
    total = sum(len(ids) for run in tokens for ids in run)
    within = total / sum(distinct_tokens(run) for run in tokens)
    corpus = total / distinct_tokens([ids for run in tokens for ids in run])
    timed = [each for steps in random.Random(0).sample(cut, TIMED_RUNS) for each in steps.rows]
    speed = shared_against_alone(timed)
    reuse = sum(len(r.prompt_ids) + len(r.target_ids) for r in timed) / sum(
        each.input_ids.shape[1] for each in packs_of(timed)
    )
    return [
        row("sft_tree_steps", sum(len(steps.rows) for steps in cut), "steps"),
        row("sft_tree_steps_too_long", sum(steps.too_long for steps in cut), "steps"),
        row("sft_tree_reuse_within_run", within, "times"),
        row("sft_tree_reuse_corpus", corpus, "times"),
        row("sft_tree_reuse_timed", reuse, "times"),
        row("sft_tree", speed, "times one row a pass"),
        row("sft_tree_share_of_reuse", speed / reuse, "of 1", target=0.5),
    ]  # fmt: skip


def packs_of(timed: Sequence[Row]) -> list[Pack]:
    """The rows as token trees of at most `MOST_TOKENS`, or of one longer run."""
    sequences = [[*each.prompt_ids, *each.target_ids] for each in timed]
    return [pack([timed[place] for place in places]) for places in cut_all(sequences, MOST_TOKENS)]


def shared_against_alone(timed: Sequence[Row]) -> float:
    """How many times faster the rows are learned as trees than one a pass."""
    attention.register()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=49_152, hidden_size=576, intermediate_size=1536, num_hidden_layers=LAYERS, num_attention_heads=9,
        num_key_value_heads=3, max_position_embeddings=MOST_TOKENS, tie_word_embeddings=True,
    )  # fmt: skip
    lora = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
    model: Any = get_peft_model(LlamaForCausalLM(config).to(torch.bfloat16), lora)  # pyright: ignore[reportArgumentType]
    model.get_base_model().set_attn_implementation(attention.NAME)

    def learn(packs: Sequence[Pack]) -> None:
        for each in packs:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = -target_log_probabilities(model, each).mean()
            loss.backward()
        model.zero_grad()

    together, alone = packs_of(timed), [pack([each]) for each in timed]
    ours, theirs = interleaved(lambda: learn(together), lambda: learn(alone))
    return theirs / ours
