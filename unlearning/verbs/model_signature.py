"""`unlearning export-signature`: an OpenSSF model signature of what is served, for whoever checks models by that alone.

The certificate is the evidence; this is its visiting card: every file of the served version, under one ECDSA key
(P-256), as the package `model-signing` writes and verifies it. It lies beside the version's folder, which holds what
was certified and nothing else.
"""

from __future__ import annotations

from pathlib import Path

from unlearning import files
from unlearning.errors import EvidenceError
from unlearning.evidence import key_files, promotion
from unlearning.workspace import Workspace


def run(model: str, workspace: Workspace) -> Path:
    """Sign the served version of a model; where the signature lies. Makes the key where there is none.

    Raises EvidenceError where nothing is served, its files are not those that were, or the package is not installed.
    """
    try:
        from model_signing import signing
    except ImportError as error:
        raise EvidenceError(
            f"the package {error.name} is not installed; `pip install 'unlearning[model-signature]'` brings it"
        ) from None
    with promotion.changing(workspace, model) as (now, _):
        if now is None:
            raise EvidenceError(f"no version of {model!r} is served; promote one first")
        promotion.require_kept(workspace, now.checkpoint, now.sha256, now.version)
        folder = workspace.root / now.checkpoint
        signature = folder.with_name(f"{now.version}.model.sig")
        partial = signature.with_name(f".{signature.name}.partial")
        signing.Config().use_elliptic_key_signer(private_key=_key(workspace)).sign(folder, partial)
        files.write_bytes(signature, partial.read_bytes())
        partial.unlink()
    return signature


def public_key(workspace: Workspace) -> Path:
    """Where the public half lies: to be handed out with the signature."""
    return workspace.root / "model-signature.pub.pem"


def _key(workspace: Workspace) -> Path:
    """The private half, in the vault."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    path = workspace.vault / "model-signature.pem"
    if not path.is_file():
        private = ec.generate_private_key(ec.SECP256R1())
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        key_files.write_secret(path, private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        files.write_bytes(public_key(workspace), public)
    key_files.read_secret(path)  # for its own sentence, where others may read it
    return path
