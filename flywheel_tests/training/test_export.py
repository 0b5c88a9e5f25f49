"""Adapters on disk: what vLLM cannot serve is refused with the reason, and only whole ones of the right base are opened."""

import json
import pickle
import signal
import struct
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from flywheel.errors import FlywheelError
from flywheel.serving.adapters import open_adapter, rename, servable_rank, weight_names
from flywheel.training.export import export_adapter

BASE = "tiny-0123456789ab"
CONFIG = {
    "peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": ["v_proj", "q_proj"], "bias": "none", "use_dora": False,
    "modules_to_save": None, "init_lora_weights": True, "base_model_name_or_path": "/somewhere/else",
}  # fmt: skip
Q = "base_model.model.model.layers.0.self_attn.q_proj"


def weights(*names: str) -> bytes:
    """A safetensors file with one float32 number a tensor."""
    header = {name: {"dtype": "F32", "shape": [1], "data_offsets": [4 * n, 4 * n + 4]} for n, name in enumerate(names)}
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    return struct.pack("<Q", len(text)) + text + b"".join(struct.pack("<f", n + 0.5) for n in range(len(names)))


def trained(folder: Path, *, names: tuple[str, ...] = (f"{Q}.lora_A.weight", f"{Q}.lora_B.weight"), **changes) -> Path:
    """What PEFT leaves behind, a trainer's pickle beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps({**CONFIG, **changes}))
    (folder / "adapter_model.safetensors").write_bytes(weights(*names))
    (folder / "training_args.bin").write_bytes(pickle.dumps(Planted(folder.parent / "unpickled")))
    return folder


class Planted:
    """Unpickling it leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def test_equal_adapters_get_equal_folders_named_by_their_bytes_and_open_again(tmp_path: Path):
    one, folder = export_adapter(trained(tmp_path / "a"), tmp_path / "out", BASE)
    two, _ = export_adapter(trained(tmp_path / "b", target_modules=["q_proj", "v_proj"]), tmp_path / "out", BASE)
    other, _ = export_adapter(trained(tmp_path / "c", lora_alpha=32), tmp_path / "out", BASE)
    assert one == two != other
    assert sorted(file.name for file in folder.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "manifest.json",
    ]
    assert open_adapter(folder, base_model=BASE) == (one, folder, BASE, 8, {})
    assert not list((tmp_path / "out").glob(".partial-*"))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"use_dora": True}, "DoRA"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"bias": "lora_only"}, "biases"),
        ({"lora_bias": True}, "biases"),
        ({"init_lora_weights": "pissa"}, "pissa"),
        ({"init_lora_weights": "olora"}, "olora"),
        ({"init_lora_weights": "loftq"}, "loftq"),
        ({"trainable_token_indices": [5]}, "adds tokens"),
        ({"r": 513}, "rank 513 is above 512"),
        ({"rank_pattern": {"q_proj": 1024}}, "rank 1024 is above 512"),
        ({"names": (f"{Q}.lora_A.weight", "base_model.model.model.embed_tokens.lora_embedding_A")}, "no LoRA pair"),
        ({"names": (f"{Q}.lora_A.weight", "base_model.model.lm_head.lora_A.weight")}, "output layer"),
        ({"names": ()}, "no weights"),
    ],
)
def test_what_vllm_cannot_serve_is_refused_with_the_reason_and_nothing_is_left(
    tmp_path: Path, changes: dict, reason: str
):
    with pytest.raises(FlywheelError, match=reason) as caught:
        export_adapter(trained(tmp_path / "a", **changes), tmp_path / "out", BASE)
    assert "plain LoRA" in caught.value.remedy and not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    "changes", [{"use_rslora": True}, {"rank_pattern": {"q_proj": 12}}, {"init_lora_weights": "gaussian"}]
)
def test_what_vllm_can_serve_is_not(tmp_path: Path, changes: dict):
    _, folder = export_adapter(trained(tmp_path / "a", **changes), tmp_path / "out", BASE)
    assert servable_rank(open_adapter(folder, base_model=BASE).rank) in (8, 16)


def test_weight_names_are_renamed_for_the_served_architecture_and_the_numbers_stay(tmp_path: Path):
    renames = {"model.": "model.language_model."}
    source = trained(tmp_path / "a")
    plain, _ = export_adapter(source, tmp_path / "out", BASE)
    renamed, folder = export_adapter(source, tmp_path / "out", BASE, renames=renames)
    assert plain != renamed and open_adapter(folder, base_model=BASE).renamed == renames
    served = "base_model.model.model.language_model.layers.0.self_attn.q_proj"
    assert weight_names(folder) == [f"{served}.lora_A.weight", f"{served}.lora_B.weight"]
    from safetensors.numpy import load_file

    kept = load_file(folder / "adapter_model.safetensors")
    assert [kept[name].item() for name in weight_names(folder)] == [0.5, 1.5]
    back = {new: old for old, new in renames.items()}
    assert [rename(name, back) for name in weight_names(folder)] == weight_names(source)


def test_a_pickle_is_never_exported_and_one_planted_later_is_refused_unread(tmp_path: Path):
    _, folder = export_adapter(trained(tmp_path / "a"), tmp_path / "out", BASE)
    (folder / "training_args.bin").write_bytes((tmp_path / "a" / "training_args.bin").read_bytes())
    with pytest.raises(FlywheelError, match="files that no export writes: training_args.bin"):
        open_adapter(folder, base_model=BASE)
    assert not (tmp_path / "unpickled").exists()
    pickle.loads((folder / "training_args.bin").read_bytes())
    assert (tmp_path / "unpickled").exists(), "the plant works: reading it would have been seen"


def test_half_written_changed_and_foreign_adapters_are_not_opened(tmp_path: Path):
    _, folder = export_adapter(trained(tmp_path / "a"), tmp_path / "out", BASE)
    with pytest.raises(
        FlywheelError, match="was trained on tiny-0123456789ab, and the base model is tiny-ffffffffffff"
    ):
        open_adapter(folder, base_model="tiny-ffffffffffff")
    content = (folder / "adapter_model.safetensors").read_bytes()
    (folder / "adapter_model.safetensors").write_bytes(content[:-1])
    with pytest.raises(FlywheelError, match="changed after it was exported"):
        open_adapter(folder, base_model=BASE)
    (folder / "manifest.json").unlink()
    with pytest.raises(FlywheelError, match="its manifest, which is written last, is missing") as caught:
        open_adapter(folder, base_model=BASE)
    assert "--stage checkpoint" in caught.value.remedy
    with pytest.raises(FlywheelError, match="is missing"):
        open_adapter(tmp_path / "gone", base_model=BASE)
    _, again = export_adapter(trained(tmp_path / "b"), tmp_path / "out", BASE)
    assert again == folder and open_adapter(folder, base_model=BASE), "exporting again mends the folder"


def run(script: str, *arguments: Path) -> subprocess.CompletedProcess[str]:
    prologue = "import sys\nfrom pathlib import Path\nfrom flywheel.training import export\n"
    command = [sys.executable, "-c", prologue + textwrap.dedent(script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_process_killed_while_saving_leaves_nothing_that_is_picked_up(tmp_path: Path):
    killed = run(
        """
        import os, shutil, signal
        def half(source, target):
            Path(target).write_bytes(Path(source).read_bytes()[:20])
            if str(source).endswith(".safetensors"):
                os.kill(os.getpid(), signal.SIGKILL)
        export.shutil.copyfile = half
        export.export_adapter(Path(sys.argv[1]), Path(sys.argv[2]), "tiny")
        """,
        trained(tmp_path / "a"),
        tmp_path / "out",
    )
    assert killed.returncode == -signal.SIGKILL
    (left,) = (tmp_path / "out").iterdir()
    assert left.name.startswith(".partial-") and (left / "adapter_model.safetensors").stat().st_size == 20
    with pytest.raises(FlywheelError, match="manifest"):
        open_adapter(left, base_model="tiny")
    name, _ = export_adapter(tmp_path / "a", tmp_path / "out", BASE)
    assert [folder.name for folder in (tmp_path / "out").iterdir()] == [name], "the next export clears it away"


def test_a_full_disk_is_one_clear_sentence_and_leaves_nothing(tmp_path: Path):
    source = trained(tmp_path / "a")
    (source / "adapter_model.safetensors").write_bytes(weights(*(f"{Q}{n}.lora_A.weight" for n in range(200))))
    full = run(
        """
        import resource
        from flywheel.errors import FlywheelError
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        try:
            export.export_adapter(Path(sys.argv[1]), Path(sys.argv[2]), "tiny")
        except FlywheelError as error:
            print(error)
        """,
        source,
        tmp_path / "out",
    )
    assert "could not be written" in full.stdout and "free some disk space" in full.stdout, full.stderr
    assert not list((tmp_path / "out").iterdir())
