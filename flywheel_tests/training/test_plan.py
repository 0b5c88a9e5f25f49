"""The plan of a week's training: sizes equal those of the real classes, sharing that of a trie, work that of the formula."""

import json
import shutil
from pathlib import Path

import pytest

from flywheel.chat import Renderer
from flywheel.errors import FlywheelError
from flywheel.lake import TABLES, Lake
from flywheel.operations.training_plan import Device, Part, TrainingPlan, devices, plan_week, told
from flywheel.settings import Settings
from flywheel.training.plan import (
    KNOWN_SHAPES,
    Shape,
    Tokens,
    count,
    hours,
    memory,
    operations,
    shape_of,
)
from flywheel.workflows.base_model import write_manifest
from flywheel_tests.conftest import HOME

SMOLLM2 = {
    "model_type": "llama", "num_hidden_layers": 30, "hidden_size": 576, "intermediate_size": 1536, "num_attention_heads": 9,
    "num_key_value_heads": 3, "head_dim": 64, "vocab_size": 49152, "max_position_embeddings": 8192, "tie_word_embeddings": True,
}  # fmt: skip


def test_the_sizes_of_smollm2_are_those_it_is_published_with():
    shape = shape_of(SMOLLM2)
    assert shape.parameters() == pytest.approx(134.5e6, rel=2e-3) and shape.lora(16) == 4_884_480


@pytest.mark.parametrize("model_type", KNOWN_SHAPES)
def test_matrix_sizes_equal_those_of_the_real_class(model_type: str):
    """On the meta device: the class builds its layers, no memory is taken."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = {"num_hidden_layers": 3, "hidden_size": 96, "intermediate_size": 160, "num_attention_heads": 6,
             "num_key_value_heads": 2, "vocab_size": 320, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}  # fmt: skip
    config = AutoConfig.for_model(model_type, **sizes)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    linear = {name: layer.weight.numel() for name, layer in model.named_modules() if isinstance(layer, torch.nn.Linear)}
    head = linear.pop("lm_head")
    shape = shape_of(config.to_dict())
    assert (shape.body(), shape.head()) == (sum(linear.values()), head)


def test_tokens_are_counted_pack_by_pack():
    prefix = list(range(100))
    rows = [([*prefix, 200 + n], [300, 301]) for n in range(4)]
    packs = [rows[:2], rows[2:]]
    found = count(packs)
    assert (found.rows, found.packs, found.total, found.supervised) == (4, 2, 4 * 103, 8)
    assert (found.unique, found.longest, found.most_supervised) == (2 * 106, 106, 4)
    one_pack = sum(range(1, 101)) + 2 * (101 + 102 + 103)
    assert found.looked_at == 2 * one_pack
    assert count(packs, window=50).windowed == 2 * (sum(range(1, 51)) + 50 * 50 + 6 * 50)
    assert count([]) == Tokens()


def test_work_follows_the_formula_and_checkpointing_costs_a_forward_pass():
    shape = shape_of(SMOLLM2)
    tokens = Tokens(rows=1, total=1000, unique=1000, supervised=1000, looked_at=1000 * 500, packs=1, longest=1000)
    matrices = 1000 * (shape.body() + shape.head())
    attention = 4 * 30 * 9 * 64 * 1000 * 500
    lora = 1000 * shape.lora(16)
    assert operations(shape, tokens, 16) == pytest.approx(4 * matrices + 3 * attention + 6 * lora)
    again = 6 * shape.body() * 1000 + 4 * shape.head() * 1000 + 4 * attention + 8 * lora
    assert operations(shape, tokens, 16, checkpointing=True) == pytest.approx(again)
    both = operations(shape, tokens, 16, reference=True) - operations(shape, tokens, 16)
    assert both == pytest.approx(2 * matrices + attention + 2 * lora)
    assert hours(3.6e15, 1.0) == pytest.approx(1.0) and hours(3.6e15, 1.0, 0.35) == pytest.approx(1 / 0.35)


def test_memory_grows_with_the_pack_and_less_with_checkpointing():
    shape = shape_of(SMOLLM2)
    short, long = (Tokens(longest=length, most_supervised=100) for length in (1000, 4000))
    small, large = memory(shape, short, 16), memory(shape, long, 16)
    assert large.activations == pytest.approx(4 * small.activations) and large.weights == small.weights
    assert memory(shape, long, 16, checkpointing=True).activations < large.activations / 10


def test_what_is_told_names_what_it_assumes_and_what_does_not_fit(tmp_path: Path):
    shape = shape_of(json.loads(json.dumps({**SMOLLM2, "model_type": "strange"})))
    tokens = Tokens(1, 100_000, 90_000, 100, 10**9, 90_000, 1, 40_000, 100)
    plan = TrainingPlan("b", shape, 16, [Part("SFT", tokens, 1e15)], 80_000, memory(shape, tokens, 16))
    text = "\n".join(
        told(plan, [Device("small", 100.0, 8.0, "as given"), *devices(Settings(home=tmp_path), "H100", None, None)])
    )
    assert (
        "NO" in text
        and "yes" in text
        and "35% is an assumption" in text
        and "nothing here was measured on a GPU" in text
    )
    assert "28.6 s" in text and "10.0 s" in text and "a strange model are taken for those of a Llama" in text


def test_a_model_with_windows_attends_less():
    shape = shape_of({**SMOLLM2, "sliding_window": 64, "layer_types": ["sliding_attention", "full_attention"] * 15})
    assert isinstance(shape, Shape) and (shape.window, shape.windowed) == (64, 15)
    tokens = count([[(list(range(900)), [1])]], window=shape.window)
    assert operations(shape, tokens, 16) < operations(shape_of(SMOLLM2), tokens, 16)


def test_a_week_is_planned_from_its_own_rows_and_any_models_config(tmp_path: Path, renderer: Renderer):
    (tmp_path / "workflows").symlink_to(HOME / "workflows")
    model = tmp_path / "models" / "tiny-random-000000000000"
    model.mkdir(parents=True)
    shutil.copyfile(renderer.tokenizer_file, model / "tokenizer.json")
    (model / "config.json").write_text(json.dumps({**SMOLLM2, "num_hidden_layers": 2, "vocab_size": 400}))
    write_manifest(model, sha256="0" * 64, source="a test")
    lake, week = Lake(tmp_path / "lake"), "2026-01-05"
    empty = dict.fromkeys(name for name in TABLES["sft_dataset"].polars_schema() if name not in ("week", "workflow"))
    rows = [
        {**empty, "row_id": str(n), "tools": "[]", "messages": json.dumps([{"role": "user", "content": f"open door {n}"}]),
         "target": json.dumps({"role": "assistant", "content": "done"})}
        for n in range(8)
    ]  # fmt: skip
    lake.replace_partition("sft_dataset", rows, workflow="door", week=week)
    lake.replace_partition("preference_dataset", [], workflow="door", week=week)
    settings = Settings(home=tmp_path)
    small = plan_week(settings, "door", week, None)
    (part,) = small.parts
    assert part.tokens.rows == 8 * 40, "sft_max_epochs of the pack bounds its presentations"
    assert small.unique < part.tokens.unique < part.tokens.total
    (tmp_path / "other.json").write_text(json.dumps({"text_config": SMOLLM2}))
    large = plan_week(settings, "door", week, str(tmp_path / "other.json"))
    assert large.parts[0].tokens == part.tokens and large.operations > 10 * small.operations
    lake.replace_partition("sft_dataset", [], workflow="door", week=week)
    with pytest.raises(FlywheelError, match="no supervised rows"):
        plan_week(settings, "door", week, None)
    with pytest.raises(FlywheelError, match="no figures are known of 'T4'"):
        devices(settings, "T4", None, None)
