"""A batch as it was handed out, read and proved: signature, hashes, items, tools and schemas of structured answers."""

from pathlib import Path
from typing import Any, NamedTuple

from . import BATCH_SCHEMA, ITEM_SCHEMA, ed25519
from .answers import FILE as RESPONSES
from .answers import Response, responses_of
from .folder import HostileName, Unreadable, checked, lines, read
from .letters import LetterProblem, Letters, read_letters
from .strict import NotStrict, merkle_root, parse, sha256, sha256_of


class BatchProblem(Exception):
    """The batch itself cannot be trusted or read, so nothing can be judged; says the rule, what is wrong and what to do."""

    def __init__(self, rule: str, what: str, remedy: str) -> None:
        self.rule, self.what, self.remedy = rule, what, remedy
        super().__init__(f"{rule}: {what}\n  -> {remedy}")


class Item(NamedTuple):
    """One item: its run, the hash of it, and its tools by name; `unusable` tools have the reason instead of a schema.

    `offered` are the tools whole and in their order, as a form shows them.
    """

    item_id: str
    base_sha256: str
    messages: list[dict[str, Any]]
    message_index: int
    tools: dict[str, dict[str, Any]]
    unusable: dict[str, str]
    row: dict[str, Any]
    offered: list[dict[str, Any]]


class Batch(NamedTuple):
    """A proved batch: its manifest and that file's hash, items in order, the JSON Schemas of returned lines, the guidelines.

    `letters` are what the house said about it later; `responses` the schemas of structured answers, none where the batch has none.
    """

    manifest: dict[str, Any]
    sha256: str
    items: dict[str, Item]
    schemas: dict[str, dict[str, Any]]
    guidelines: str
    letters: Letters
    responses: tuple[Response, ...] = ()

    @property
    def versions(self) -> list[str]:
        """Versions of the guidelines that may be worked by; the last is in force."""
        return self.letters.versions(self.manifest["guidelines"]["version"])


_AGAIN = "ask for the batch again, and compare the fingerprint by telephone"


def load_batch(folder: Path, fingerprint: str | None = None) -> Batch:
    """Read and prove a batch; raises BatchProblem.

    Args:
        fingerprint: of the key it must be signed with, as the other side told it; None trusts the key beside the batch.
    """
    text = _part(folder, "manifest.json")
    manifest = _manifest(text)
    key = _prove(folder, text, manifest, fingerprint)
    files = {name: _file(folder, name, facts) for name, facts in manifest["files"].items()}
    if merkle_root({name: facts["sha256"] for name, facts in manifest["files"].items()}) != manifest["merkle_root"]:
        raise BatchProblem("V01", "the merkle root of the manifest is not that of its files", _AGAIN)
    try:
        schemas = {name[8:-5]: parse(data) for name, data in files.items() if name.startswith("schemas/")}
        toolsets = {name[6:-5]: parse(data) for name, data in files.items() if name.startswith("tools/")}
        items = [_item(parse(line), toolsets) for line in lines(files["items.jsonl"])]
        guidelines = files[manifest["guidelines"]["file"]].decode()
        responses = responses_of(parse(files[RESPONSES])) if RESPONSES in files else ()
    except (NotStrict, KeyError, TypeError, UnicodeDecodeError) as error:
        raise BatchProblem("V15", f"the batch is damaged: {type(error).__name__}: {error}"[:300], _AGAIN) from None
    return Batch(
        manifest,
        sha256(text),
        {item.item_id: item for item in items},
        schemas,
        guidelines,
        _letters(folder, manifest, key),
        responses,
    )


def _part(folder: Path, name: str) -> bytes:
    try:
        return read(folder, name)
    except HostileName as error:
        raise BatchProblem("V16", f"{folder.name}: {error}", _AGAIN) from None
    except Unreadable as error:
        raise BatchProblem(
            "V01", f"{folder.name} is no whole batch: {error}", "name the folder that holds manifest.json"
        ) from None


def _manifest(text: bytes) -> dict[str, Any]:
    try:
        manifest = parse(text)
        if manifest["schema_version"] != BATCH_SCHEMA:
            raise NotStrict(f"it is a {ascii(manifest['schema_version'])[:40]}, this program reads {BATCH_SCHEMA}")
        for name, facts in manifest["files"].items():
            checked(name)
            if not {"sha256", "bytes", "rows"} <= set(facts):
                raise NotStrict("a file without hash, size or rows")
        if "items.jsonl" not in manifest["files"]:
            raise NotStrict("items.jsonl is not listed")
    except HostileName as error:
        raise BatchProblem("V16", f"manifest.json: {error}", "do not open this batch") from None
    except (NotStrict, KeyError, TypeError, AttributeError) as error:
        raise BatchProblem("V20", f"manifest.json cannot be read: {error}", _AGAIN) from None
    return manifest


def _prove(folder: Path, text: bytes, manifest: dict[str, Any], fingerprint: str | None) -> bytes:
    try:
        pem, signature = read(folder, "public_key.pem"), read(folder, "manifest.sig")
    except (HostileName, Unreadable) as error:
        remedy = "without key and signature nobody can tell who wrote this batch; ask for both files"
        raise BatchProblem("V02", str(error), remedy) from None
    key = ed25519.public_key(pem)
    if key is None:
        raise BatchProblem("V02", "public_key.pem holds no Ed25519 public key", _AGAIN)
    wanted = fingerprint or manifest.get("key_fingerprint")
    if ed25519.fingerprint(key) != wanted:
        raise BatchProblem("V02", f"the key's fingerprint is {ed25519.fingerprint(key)}, not {ascii(wanted)}", _AGAIN)
    if not ed25519.verify(key, text, signature):
        raise BatchProblem("V02", "the signature is not that of manifest.json under this key", _AGAIN)
    return key


def _letters(folder: Path, manifest: dict[str, Any], key: bytes) -> Letters:
    try:
        return read_letters(folder, str(manifest["batch_id"]), key)
    except LetterProblem as problem:
        raise BatchProblem(problem.rule, str(problem), "ask for the letters again; without the folder letters/ the batch is as it was handed out") from None  # fmt: skip


def _file(folder: Path, name: str, facts: dict[str, Any]) -> bytes:
    data = _part(folder, name)
    if sha256(data) != facts["sha256"] or len(data) != facts["bytes"]:
        raise BatchProblem("V01", f"{name} was changed after the batch was signed", _AGAIN)
    return data


def _item(row: dict[str, Any], toolsets: dict[str, Any]) -> Item:
    if row["schema_version"] != ITEM_SCHEMA or sha256_of(row["messages"]) != row["base_sha256"]:
        raise NotStrict(f"item {ascii(row.get('item_id'))[:40]} is not what it says")
    toolset = toolsets[row["tools_sha256"]]
    tools = {tool["function"]["name"]: tool["function"].get("parameters") or {} for tool in toolset["tools"]}
    return Item(
        row["item_id"], row["base_sha256"], row["messages"], row["message_index"], tools, toolset["unusable"], row,
        toolset["tools"],
    )  # fmt: skip
