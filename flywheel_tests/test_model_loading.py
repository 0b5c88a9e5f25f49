"""Safetensors only, no code of a model, nothing unpickled: read off every call that the package itself makes."""

import ast
import re
from functools import cache
from pathlib import Path

import flywheel
from flywheel.chat.families import FAMILIES
from flywheel.serving.vllm_server import ServerSpec

PACKAGE = Path(flywheel.__file__).parent
# What turns bytes into objects or text into code. `ast.literal_eval` and `model.eval()` are other things.
FORBIDDEN = {
    "pickle.load", "pickle.loads", "cloudpickle.load", "cloudpickle.loads", "dill.load", "dill.loads", "joblib.load", "marshal.load",
    "marshal.loads", "shelve.open", "torch.load", "torch.jit.load", "pandas.read_pickle", "yaml.unsafe_load", "yaml.full_load", "os.system",
    "os.popen", "eval", "exec",
}  # fmt: skip

_WORTH_PARSING = re.compile(
    r"from_pretrained|pickle|dill|joblib|marshal|shelve|torch\.(?:jit\.)?load|yaml|os\.(?:system|popen)|shell|\b(?:eval|exec)\("
)


@cache
def calls() -> list[tuple[str, str, ast.Call]]:
    """(file:line, dotted name, call) of every call in the package's files that may hold one of those; parsing takes milliseconds a file."""
    return [
        (f"{file.relative_to(PACKAGE)}:{node.lineno}", _name(node.func), node)
        for file in sorted(PACKAGE.rglob("*.py"))
        if _WORTH_PARSING.search(text := file.read_text(encoding="utf-8"))
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call)
    ]


def _name(function: ast.expr) -> str:
    return (
        f"{_name(function.value)}.{function.attr}"
        if isinstance(function, ast.Attribute)
        else getattr(function, "id", "")
    )


def keyword(call: ast.Call, name: str) -> str | None:
    return next((ast.unparse(one.value) for one in call.keywords if one.arg == name), None)


def test_nothing_is_unpickled_or_run_as_code():
    found = [(where, name) for where, name, _ in calls() if name in FORBIDDEN]
    found += [(where, "shell=True") for where, _, call in calls() if keyword(call, "shell") not in (None, "False")]
    found += [
        (where, "allow_pickle") for where, _, call in calls() if keyword(call, "allow_pickle") not in (None, "False")
    ]
    assert found == []


def test_yaml_is_read_by_safe_loaders_alone():
    loaders = {keyword(call, "Loader") for _, name, call in calls() if name == "yaml.load"}
    assert loaders <= {"_JsonLoader"}
    import yaml

    from flywheel.benchmark.drafts import _JsonLoader

    assert issubclass(_JsonLoader, yaml.SafeLoader)


def test_models_are_opened_as_safetensors_and_never_with_their_own_code():
    loads = [(where, name, call) for where, name, call in calls() if name.endswith("from_pretrained")]
    assert len(loads) > 8
    trusting = [where for where, _, call in loads if keyword(call, "trust_remote_code") not in (None, "False")]
    weights = [one for one in loads if one[1].startswith("AutoModel")]
    # GGUF is a format without code too; it is converted to safetensors once.
    loose = [
        where
        for where, _, call in weights
        if keyword(call, "use_safetensors") != "True" and not keyword(call, "gguf_file")
    ]
    assert (trusting, loose) == ([], []) and len(weights) > 5


def test_vllm_is_told_the_same():
    for family in FAMILIES.values():
        arguments = ServerSpec(model=Path("m"), family=family, adapters={"a": Path("a")}).arguments()
        assert arguments[arguments.index("--load-format") + 1] == "safetensors"
        assert not {"--trust-remote-code", "--trust-request-chat-template", "--allowed-local-media-path"} & set(
            arguments
        )
    named = [file for file in PACKAGE.rglob("*.py") if "VLLM_ALLOW_INSECURE_SERIALIZATION" in file.read_text(encoding="utf-8")]  # fmt: skip
    assert named == []
