"""Signatures, keys, hostile folders and damaged batches: a clear answer, never a wrong one."""

import json
import os
import random
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from flywheel.corrections.handoff.importing import handed_out, import_return
from flywheel.corrections.handoff.keys import public_pem, signing_key
from flywheel.corrections.handoff.verify import ed25519
from flywheel.corrections.handoff.verify.batch import BatchProblem, load_batch
from flywheel.corrections.handoff.verify.command import verify_folder
from flywheel.corrections.handoff.verify.folder import HostileName, Unreadable, checked, read
from flywheel.corrections.handoff.verify.strict import merkle_root
from flywheel.errors import FlywheelError
from flywheel.workflows.pack import Pack
from flywheel_tests.corrections.handoff.house import House, bare_path, build, copied, correction, items, part, zipapp


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, pack: Pack) -> House:
    return build(tmp_path_factory.mktemp("built"), pack, count=3)


@pytest.fixture
def house(tmp_path: Path, built: House) -> House:
    return copied(built, tmp_path)


def raw(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def test_the_pure_verification_agrees_with_cryptography_on_random_vectors():
    chance = random.Random(0)
    for _ in range(12):
        key, message = (
            Ed25519PrivateKey.from_private_bytes(chance.randbytes(32)),
            chance.randbytes(chance.randrange(200)),
        )
        signature = bytearray(key.sign(message))
        assert ed25519.verify(raw(key), message, bytes(signature))
        assert ed25519.public_key(public_pem(key)) == raw(key)
        signature[chance.randrange(64)] ^= 1 << chance.randrange(8)
        assert not ed25519.verify(raw(key), message, bytes(signature))
        assert not ed25519.verify(raw(key), message + b"x", key.sign(message))


def test_the_vectors_of_rfc_8032_and_odd_keys():
    public = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
    signature = bytes.fromhex("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
                              "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00")  # fmt: skip
    assert ed25519.verify(public, b"\x72", signature)
    high = signature[:32] + (int.from_bytes(signature[32:], "little") + ed25519._ORDER).to_bytes(32, "little")
    assert not ed25519.verify(public, b"\x72", high), "a scalar past the order is a second signature of the same text"
    assert not ed25519.verify(b"\xff" * 32, b"", b"\0" * 64) and not ed25519.verify(b"", b"", b"")
    assert ed25519.public_key(b"-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----") is None


def test_a_key_is_made_once_and_only_for_its_owner(tmp_path: Path):
    first = signing_key(tmp_path / "keys")
    assert raw(signing_key(tmp_path / "keys")) == raw(first)
    file = tmp_path / "keys" / "batch_signing_key.pem"
    file.chmod(0o644)
    with pytest.raises(FlywheelError, match="chmod 600"):
        signing_key(tmp_path / "keys")
    file.chmod(0o600)
    file.write_text("nothing")
    with pytest.raises(FlywheelError, match="restore it"):
        signing_key(tmp_path / "keys")


def test_one_changed_byte_anywhere_is_noticed(house: House):
    chance = random.Random(1)
    for file in sorted(path for path in house.folder.rglob("*") if path.is_file()):
        data = bytearray(file.read_bytes())
        place = chance.randrange(len(data))
        file.write_bytes(bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]))
        with pytest.raises(BatchProblem) as caught:
            load_batch(house.folder)
        assert caught.value.rule in ("V01", "V02", "V16", "V20"), file
        file.write_bytes(bytes(data))
    load_batch(house.folder)


def test_without_the_right_key_the_answer_is_clear(house: House, tmp_path: Path):
    site = bare_path(tmp_path / "site")
    part(house, [correction(items(house)[0])])
    load_batch(house.folder, house.exported.fingerprint)
    ended = zipapp(house, "returns", "--batch", "batch", "--fingerprint", "sha256:0", site=site)
    assert ended.returncode == 2 and "V02" in ended.stderr and "by telephone" in ended.stderr
    forger = Ed25519PrivateKey.generate()
    text = (
        (house.folder / "manifest.json")
        .read_text()
        .replace(house.exported.fingerprint, ed25519.fingerprint(raw(forger)))
    )
    (house.folder / "manifest.json").write_text(text)
    (house.folder / "public_key.pem").write_bytes(public_pem(forger))
    (house.folder / "manifest.sig").write_bytes(forger.sign(text.encode()))
    load_batch(house.folder)  # whole in itself: only the fingerprint tells
    with pytest.raises(FlywheelError, match="fingerprint"):
        handed_out(house.folder, house.exported.fingerprint)
    with pytest.raises(FlywheelError, match="never handed that batch out"):
        import_return(house.store, house.lake, handed_out(house.folder), house.returns)
    (house.folder / "public_key.pem").unlink()
    ended = zipapp(house, "returns", "--batch", "batch", site=site)
    assert ended.returncode == 2 and "public_key.pem is not there" in ended.stderr and "Traceback" not in ended.stderr


NAMES = [
    "../secret",
    "/etc/passwd",
    "a/../../b",
    "C:\\x",
    "..",
    "",
    ".hidden",
    "a//b",
    "a\0b",
    "a\n",
    "~/x",
    "a/b/c/d/e",
    "x" * 300,
    "é",
    None,
]


@pytest.mark.parametrize("name", NAMES)
def test_hostile_names_are_refused(name: str):
    with pytest.raises(HostileName):
        checked(name)


def test_links_folders_and_giants_are_not_read(tmp_path: Path):
    (tmp_path / "in").mkdir()
    (tmp_path / "secret").write_text("x")
    os.symlink(tmp_path / "secret", tmp_path / "in" / "link")
    os.symlink(tmp_path, tmp_path / "in" / "folder")
    (tmp_path / "in" / "big").write_bytes(b"12345")
    for name, kind in (("link", HostileName), ("folder/secret", HostileName), ("none", Unreadable)):
        with pytest.raises(kind):
            read(tmp_path / "in", name)
    with pytest.raises(Unreadable, match="larger"):
        read(tmp_path / "in", "big", limit=4)


def test_hostile_names_and_links_in_a_return_refuse_its_part(house: House, tmp_path: Path):
    folder = part(house, [correction(items(house)[0])])
    manifest = json.loads((folder / "manifest.json").read_text())
    (tmp_path / "outside").write_text("secret")
    manifest["files"]["../../outside"] = {"sha256": "0" * 64, "bytes": 6, "rows": None}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    report = verify_folder(house.returns, load_batch(house.folder)).report
    assert [(one["rule_id"], one["class"]) for one in report["findings"]] == [("V16", "critical")] and report[
        "verdict"
    ] == "rejected"
    del manifest["files"]["../../outside"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "corrections.jsonl").unlink()
    os.symlink(tmp_path / "outside", folder / "corrections.jsonl")
    report = verify_folder(house.returns, load_batch(house.folder)).report
    assert [one["rule_id"] for one in report["findings"]] == ["V16"] and "secret" not in json.dumps(report["findings"])


def test_a_report_never_goes_through_a_link_that_the_sender_left(house: House, tmp_path: Path):
    part(house, [])
    (tmp_path / "precious").write_text("mine")
    for name in ("rejection.json", "acceptance.json"):
        os.symlink(tmp_path / "precious", house.returns / name)
    verify_folder(house.returns, load_batch(house.folder))
    assert (tmp_path / "precious").read_text() == "mine" and not (house.returns / "acceptance.json").is_symlink()


def test_without_jsonschema_the_zipapp_says_what_it_needs(house: House, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    ended = zipapp(house, "returns", "--batch", "batch", site=tmp_path / "empty")
    assert ended.returncode == 2 and "pip install" in ended.stderr and "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "V20"),
        ("[]", "V20"),
        ('{"part": 1}', "V20"),
        ('{"part": 1, "part": 1}', "V20"),
        ("\udcff", "V20"),
        ("{" * 5000, "V20"),
    ],
)
def test_a_broken_manifest_is_told(house: House, text: str, rule: str):
    folder = part(house, [])
    (folder / "manifest.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert [one["rule_id"] for one in verify_folder(house.returns, load_batch(house.folder)).report["findings"]] == [
        rule
    ]


def test_returns_of_another_batch_and_repeated_parts(house: House):
    it = items(house)
    part(house, [correction(it[0])])
    second = part(house, [correction(it[1])], number=2)
    manifest = json.loads((second / "manifest.json").read_text())
    (second / "manifest.json").write_text(json.dumps(manifest | {"part": 1}))
    assert [one["rule_id"] for one in verify_folder(house.returns, load_batch(house.folder)).report["findings"]] == [
        "V20"
    ]
    (second / "manifest.json").write_text(json.dumps(manifest | {"parent_batch_sha256": "0" * 64}))
    assert [one["rule_id"] for one in verify_folder(house.returns, load_batch(house.folder)).report["findings"]] == [
        "V17"
    ]


def test_a_partner_with_a_key_must_sign(tmp_path: Path, pack: Pack):
    key = Ed25519PrivateKey.generate()
    (tmp_path / "partner.pem").write_bytes(public_pem(key))
    house = build(tmp_path, pack, count=2, partner_key=tmp_path / "partner.pem")
    folder = part(house, [correction(items(house)[0])])
    for signature, rules in (
        (None, ["V02"]),
        (b"\0" * 64, ["V02"]),
        (key.sign((folder / "manifest.json").read_bytes()), []),
    ):
        if signature:
            (folder / "manifest.sig").write_bytes(signature)
        report = verify_folder(house.returns, load_batch(house.folder)).report
        assert [one["rule_id"] for one in report["findings"]] == rules
    with pytest.raises(FlywheelError, match="no Ed25519 public key"):
        build(tmp_path / "other", pack, count=1, partner_key=house.folder / "manifest.json")


def test_the_root_tells_names_and_order_apart():
    roots = [
        merkle_root(files)
        for files in (
            {},
            {"a": "1"},
            {"a": "2"},
            {"b": "1"},
            {"a": "1", "b": "2"},
            {"a": "2", "b": "1"},
            {"a": "1", "b": "2", "c": "3"},
        )
    ]
    assert len(set(roots)) == len(roots)
