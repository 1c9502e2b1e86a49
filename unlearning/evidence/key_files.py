"""Private keys as files: PEM (PKCS8) or raw bytes, 0600, read only where nobody else may read them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from unlearning import files
from unlearning.errors import EvidenceError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_MOST_BYTES = 4096
_RAW_HEX = 64  # digits of 32 public bytes


def read_secret(path: Path) -> bytes:
    """A private file's bytes. Raises EvidenceError if there is none, or others may read it."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise EvidenceError(
                    f"{path}: others than its owner may read this private key; `chmod 600` it, then rotate it"
                )
            return file.read(_MOST_BYTES)
    except FileNotFoundError:
        raise EvidenceError(f"{path}: there is no such key; restore it, or rotate it") from None


def write_secret(path: Path, content: bytes) -> None:
    """Replace a private file in one step, for its owner alone."""
    before = os.umask(0o077)
    try:
        files.write_bytes(path, content)
    finally:
        os.umask(before)


def fresh() -> bytes:
    """A new private key, PEM."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def private(content: bytes, where: str) -> Ed25519PrivateKey:
    """The key in a PEM file. Raises EvidenceError, which shows nothing of it."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        found = load_pem_private_key(content, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        found = None
    if not isinstance(found, Ed25519PrivateKey):
        raise EvidenceError(f"{where}: not an Ed25519 private key in PEM; restore it, or rotate it")
    return found


def public(content: bytes) -> bytes:
    """The 32 bytes of a public key in PEM or hex. Raises EvidenceError."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        text = content.strip()
        if len(text) == _RAW_HEX:
            return Ed25519PublicKey.from_public_bytes(bytes.fromhex(text.decode())).public_bytes_raw()
        found = load_pem_public_key(content)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        found = None
    if not isinstance(found, Ed25519PublicKey):
        raise EvidenceError("the officer's file is not an Ed25519 public key; PEM, or 64 hex digits, are right")
    return found.public_bytes_raw()
