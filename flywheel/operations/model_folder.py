"""A model folder somebody brings: is it whole, safe to open, and under which licence? No hub is asked, and no code of it is run.

Weights are read as safetensors only; pickled ones run code when they are opened. Python files beside them are never copied or run.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from flywheel.errors import FlywheelError

_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle", "*.h5", "*.msgpack")
_LICENCES = re.compile(r"(?:licen[cs]e|copying|notice)(?:[-_.].*)?", re.I)
# First words of a licence's own text -> SPDX id, where it has one.
_KNOWN_TEXTS = (
    ("Apache-2.0", r"apache license\s+version 2\.0"),
    ("MIT", r"permission is hereby granted, free of charge"),
    ("Gemma", r"gemma terms of use"),
    ("Llama", r"llama .{0,40}community license"),
    ("BSD-3-Clause", r"redistribution and use in source and binary forms"),
)
# What a model consists of, besides its weights and its licence.
_PARTS = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
          "tokenizer.model", "vocab.json", "merges.txt", "preprocessor_config.json", "model.safetensors.index.json", "README.md")  # fmt: skip


class Licence(NamedTuple):
    """Name (an SPDX id where the text is known), the file it was read from, and the hash of that file; None where a person named it."""

    name: str
    file: str | None
    sha256: str | None


class ModelFolder(NamedTuple):
    """A folder that passed.

    Attributes:
        folder: where it lies.
        architecture: its class, from config.json.
        licence: under which it may be used.
        weights: safetensors files in name order.
        files: everything that belongs to the model, weights included.
        parameters: number of weights.
        passed_over: what is left out, and why.
    """

    folder: Path
    architecture: str
    licence: Licence
    weights: list[Path]
    files: list[Path]
    parameters: int
    passed_over: list[str]


def check_folder(folder: Path, licence: str | None = None) -> ModelFolder:
    """Look at a model folder; raises FlywheelError for the first thing that is missing, damaged or unsafe.

    Args:
        licence: the licence as a person names it, where the folder has no file of it.
    """
    config = _json(folder / "config.json", "config.json says what kind of model it is: name the folder that holds it")
    architectures = config.get("architectures")
    if not isinstance(architectures, list) or not architectures or not isinstance(architectures[0], str):
        raise FlywheelError("config.json names no architecture", where=str(folder / "config.json"),
                            remedy="take config.json as its publisher wrote it, with `architectures`")  # fmt: skip
    if not (folder / "tokenizer.json").is_file():
        raise FlywheelError("the model has no tokenizer.json", where=str(folder),
                            remedy="take it from the publisher's folder, or write it once: AutoTokenizer.from_pretrained(...).save_pretrained(...)")  # fmt: skip
    weights, parameters = _weights(folder)
    named = _licence(folder, licence)
    pickled = sorted(file.name for pattern in _PICKLED for file in folder.glob(pattern))
    code = sorted(file.name for file in folder.glob("*.py"))
    left = [
        f"{', '.join(names)}: {why}"
        for names, why in ((pickled, "pickled weights are never opened"), (code, "code of a model is never run"))
        if names
    ]
    parts = [folder / name for name in _PARTS if (folder / name).is_file()]
    texts = [file for file in sorted(folder.iterdir()) if file.is_file() and _LICENCES.fullmatch(file.name)]
    return ModelFolder(folder, architectures[0], named, weights, [*parts, *texts, *weights], parameters, left)


def _json(file: Path, remedy: str) -> dict[str, Any]:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FlywheelError(f"the model has no {file.name}", where=str(file.parent), remedy=remedy) from None
    except (OSError, ValueError) as error:
        raise FlywheelError(f"{file.name} cannot be read: {error}", where=str(file), remedy="copy it again") from None
    if not isinstance(value, dict):
        raise FlywheelError(f"{file.name} is no JSON object", where=str(file), remedy="copy it again")
    return value


def _weights(folder: Path) -> tuple[list[Path], int]:
    """The safetensors files and how many numbers they hold; every header is read and measured against its file."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        other = sorted({file.suffix for pattern in (*_PICKLED, "*.gguf") for file in folder.glob(pattern)})
        found = f"the weights are {', '.join(other)}" if other else "there are no weights"
        raise FlywheelError(f"{found}; only safetensors are opened: pickled files run code when they are", where=str(folder),
                            remedy="take the publisher's safetensors, or convert them where you trust them: model.save_pretrained(...)")  # fmt: skip
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        listed = _json(index, "").get("weight_map")
        missing = (
            sorted(set(listed.values()) - {file.name for file in files}) if isinstance(listed, dict) else [index.name]
        )
        if missing:
            raise FlywheelError(f"{len(missing)} of the weight files are missing: {', '.join(missing[:3])}", where=str(folder),
                                remedy="copy the whole folder")  # fmt: skip
    return files, sum(_count(file) for file in files)


def _count(file: Path) -> int:
    from safetensors import SafetensorError, safe_open

    try:
        total = 0
        with safe_open(file, framework="numpy") as tensors:
            for name in tensors.keys():  # noqa: SIM118  (it is no mapping)
                size = 1
                for length in tensors.get_slice(name).get_shape():
                    size *= length
                total += size
        return total
    except (SafetensorError, OSError) as error:
        raise FlywheelError(
            f"{file.name} is damaged or not whole: {error}", where=str(file), remedy="copy it again"
        ) from None


def _licence(folder: Path, named: str | None) -> Licence:
    files = [file for file in sorted(folder.iterdir()) if file.is_file() and _LICENCES.fullmatch(file.name)]
    card = folder / "README.md"
    stated = (
        re.search(r"^license(?:_name)?:\s*['\"]?([\w.+-]+)", card.read_text("utf-8", "replace")[:5_000], re.M)
        if card.is_file()
        else None
    )
    for file in files:
        data = file.read_bytes()
        text = " ".join(data[:4_000].decode("utf-8", "replace").lower().split())
        name = next((spdx for spdx, words in _KNOWN_TEXTS if re.search(words, text)), None)
        said = named or name or (stated.group(1) if stated else f"see {file.name}")
        return Licence(said, file.name, hashlib.sha256(data).hexdigest())
    if named or stated:
        return Licence(named or (stated.group(1) if stated else ""), card.name if stated and not named else None, None)
    raise FlywheelError("the model has no licence file, and its README names none", where=str(folder),
                        remedy="lay the publisher's LICENSE there, or say which it is: --licence Apache-2.0")  # fmt: skip
