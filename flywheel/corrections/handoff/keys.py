"""The key an installation signs its batches with: Ed25519, made when absent, readable by its owner only."""

import os
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from flywheel.errors import FlywheelError

KEY_FILE = "batch_signing_key.pem"


def signing_key(folder: Path) -> Ed25519PrivateKey:
    """The private key in `folder`/batch_signing_key.pem; made with mode 0600 when absent.

    Raises FlywheelError for a file that is no such key, or that others may read.
    """
    file = folder / KEY_FILE
    if not file.exists():
        _make(file)
    if file.stat().st_mode & 0o077:
        raise FlywheelError(
            "other people may read the signing key", where=str(file), remedy=f"chmod 600 {file}, or make a new key"
        )
    try:
        key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise FlywheelError("that is no Ed25519 private key", where=str(file),
                            remedy="restore it from a backup; a new key means telling every partner its fingerprint")  # fmt: skip
    return key


def public_pem(key: Ed25519PrivateKey) -> bytes:
    """The public key as it is sent along."""
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _make(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    os.chmod(file.parent, 0o700)
    text = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    partial = file.with_name(f"{file.name}.{os.getpid()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    try:
        os.link(partial, file)  # two exports at once: the first key stays
    except FileExistsError:
        pass
    partial.unlink()
