"""The privacy officer's key for sealing: X25519, apart from the keys that sign, which never decrypt anything.

    <vault>/privacy-officer.x25519           private, PEM, 0600; or on the officer's own machine instead
    <root>/privacy-officer.x25519.pub.pem    public: all that a purge needs

It is made where the officer's signing key is made. Its next one is named by `keys init --officer-sealing FILE`: what
is sealed to the one before opens with that one's private half, which stays until somebody removes it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from unlearning import files
from unlearning.errors import EvidenceError
from unlearning.evidence import key_files, trust
from unlearning.workspace import Workspace

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

NAME = "privacy-officer.x25519"


def file(workspace: Workspace) -> Path:
    """The public half."""
    return workspace.root / f"{NAME}.pub.pem"


def private_file(workspace: Workspace) -> Path:
    """The private half, where it lies in the vault."""
    return workspace.vault / NAME


def make(workspace: Workspace) -> None:
    """Make what is missing of it, the private half first; where another's public half stands, nothing is."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    path = private_file(workspace)
    if file(workspace).is_file():
        return
    if not path.is_file():
        fresh = X25519PrivateKey.generate()
        key_files.write_secret(path, fresh.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    name(workspace, private(path).public_key())


def brought(content: bytes) -> X25519PublicKey:
    """The public half, PEM, that an officer brought. Raises EvidenceError."""
    return _public(content, "the officer's file")


def name(workspace: Workspace, key: X25519PublicKey) -> None:
    """From now on seal to this key."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    files.write_bytes(file(workspace), key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def public(workspace: Workspace) -> bytes:
    """The 32 public bytes that are sealed to. Raises EvidenceError where there are none."""
    path = file(workspace)
    if not path.is_file():
        raise EvidenceError(
            f"{path}: there is no key to seal old checkpoints to; `unlearning keys init` makes one where the officer "
            "signs on this machine, and `unlearning keys init --officer-sealing FILE` names one from elsewhere"
        )
    return _public(path.read_bytes(), str(path)).public_bytes_raw()


def private(path: Path) -> X25519PrivateKey:
    """The private half at `path`. Raises EvidenceError, which shows nothing of it, for anything else."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    content = key_files.read_secret(path)
    try:
        found = load_pem_private_key(content, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        found = None
    if not isinstance(found, X25519PrivateKey):
        raise EvidenceError(f"{path}: not an X25519 private key in PEM; the officer's key for sealing is right")
    return found


def is_here(workspace: Workspace) -> bool:
    """Whether the private half of the key that is sealed to lies in the vault. Raises EvidenceError."""
    path = private_file(workspace)
    return path.is_file() and private(path).public_key().public_bytes_raw() == public(workspace)


def key_id(workspace: Workspace) -> str | None:
    """The name of the key that is sealed to; None where there is none. Raises EvidenceError for a damaged one."""
    return trust.key_id(public(workspace)) if file(workspace).is_file() else None


def _public(content: bytes, where: str) -> X25519PublicKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        found = load_pem_public_key(content)
        if isinstance(found, X25519PublicKey):
            X25519PrivateKey.generate().exchange(found)  # a point of small order agrees on zeros, with everybody
            return found
    except (ValueError, TypeError, UnsupportedAlgorithm):
        pass
    raise EvidenceError(f"{where}: not an X25519 public key in PEM; `openssl pkey -pubout` writes one of a private key")
