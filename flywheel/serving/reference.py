"""What PEFT says of fixed targets: `python -m flywheel.serving.reference REQUEST.json`, the canary's other witness.

Heavy imports live here, in a child. Reads the request, writes the log-probabilities of every target token under the base
model and under each adapter as JSON beside it (`answer.json`), last.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch  # noqa: E402
from peft import LoraConfig, get_peft_model, set_peft_model_state_dict  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

from flywheel.errors import FlywheelError  # noqa: E402
from flywheel.serving.adapters import ADAPTER_FILES, Adapter, open_adapter, rename  # noqa: E402


def load_adapter(model: Any, adapter: Adapter) -> Any:
    """The model with the adapter attached, in the model's own type, as vLLM serves it.

    Strict, unlike PeftModel.from_pretrained, which only warns: raises FlywheelError when a weight finds no place.
    """
    config = LoraConfig.from_pretrained(str(adapter.folder))
    config.base_model_name_or_path = model.name_or_path
    # Not model.to(dtype) afterwards: that would round the rotary frequencies too, an error of 0.04 nats a token.
    attached = get_peft_model(model, config, autocast_adapter_dtype=False)
    back = {new: old for old, new in adapter.renamed.items()}
    weights = {rename(name, back): tensor for name, tensor in load_file(adapter.folder / ADAPTER_FILES[1]).items()}
    outcome = set_peft_model_state_dict(attached, weights)
    absent = [name for name in outcome.missing_keys if ".lora_" in name]
    if outcome.unexpected_keys or absent:
        raise FlywheelError(
            f"{len(outcome.unexpected_keys)} weights of adapter {adapter.id} find no place in the model "
            f"and {len(absent)} places stay empty, first: {(outcome.unexpected_keys or absent)[0]}",
            where=str(adapter.folder),
            remedy="its weight names belong to another architecture: correct the family's renames and export it again",
        )
    return attached


@torch.no_grad()
def log_probabilities(model: Any, prompt: list[int], target: list[int]) -> list[float]:
    """Natural log-probability of each target token after the prompt."""
    hidden = model(input_ids=torch.tensor([[*prompt, *target]]), logits_to_keep=len(target) + 1).logits[0, :-1]
    chosen = hidden.float().log_softmax(-1).gather(-1, torch.tensor(target)[:, None])
    return chosen[:, 0].tolist()


def answer(request: dict[str, Any]) -> dict[str, list[list[float]]]:
    """Served name -> per probe the target tokens' log-probabilities in nats; the base model's stand under `base`."""
    torch.set_num_threads(request["threads"])
    path = Path(request["base_model"])
    name_of_base = request.get("base_model_name", path.name)  # elsewhere the folder may be called otherwise
    model: Any = AutoModelForCausalLM.from_pretrained(path, use_safetensors=True, dtype=torch.bfloat16).eval()
    found = {"base": [log_probabilities(model, *probe) for probe in request["probes"]]}
    for name, folder in request["adapters"].items():
        attached = load_adapter(model, open_adapter(Path(folder), base_model=name_of_base)).eval()
        found[name] = [log_probabilities(attached, *probe) for probe in request["probes"]]
        model = attached.unload()
    return found


def main() -> int:
    """Command line; exit code 2 for what a user can mend."""
    file = Path(sys.argv[1])
    try:
        found = answer(json.loads(file.read_text(encoding="utf-8")))
    except FlywheelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    temporary = file.with_name("answer.json.partial")
    temporary.write_text(json.dumps(found), encoding="utf-8")
    temporary.replace(file.with_name("answer.json"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
