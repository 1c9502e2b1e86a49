"""The keys of a root: who signs, and under which key the images of a data set are committed to.

    <vault>/pipeline.ed25519   privacy-officer.ed25519   dataset-<name>.key      private, 0600; the vault 0700
    <root>/trust.json       public: whose signatures count, and when
    privacy-officer.x25519  beside them, which signs nothing: sealing_key.py

A private half is written before the public file names it. Whoever is killed between the two is finished by the next
call. The officer's private half need not be here: then a bundle waits for it (`unlearning countersign`). No private
byte is ever printed, logged, or part of an error.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from unlearning import files
from unlearning.errors import EvidenceError
from unlearning.evidence import canonical_text, commitment, envelope, key_files, sealing_key, trust
from unlearning.evidence.envelope import Signature
from unlearning.evidence.trust import Key, Role, Trust
from unlearning.workspace import Workspace

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ROLES: tuple[Role, ...] = get_args(Role)
FILES: dict[Role, str] = {"pipeline": "pipeline.ed25519", "privacy_officer": "privacy-officer.ed25519"}


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key whose private half is at hand. Showing it shows the public half only."""

    key: Key
    _private: Ed25519PrivateKey = field(repr=False)

    @property
    def public(self) -> bytes:
        """32 bytes."""
        return bytes.fromhex(self.key.public)

    def sign(self, text: bytes) -> bytes:
        """64 bytes: Ed25519 over a text as it is."""
        return self._private.sign(text)

    def seal(self, payload: bytes) -> Signature:
        """A DSSE signature over a payload and its type."""
        from securesystemslib.signer import CryptoSigner, SSlibKey

        public = SSlibKey(self.key.keyid, "ed25519", "ed25519", {"public": self.key.public})
        return envelope.seal(payload, CryptoSigner(self._private, public))


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that the trust file names."""

    key: Key

    @property
    def public(self) -> bytes:
        """32 bytes."""
        return bytes.fromhex(self.key.public)

    def verifies(self, signature: bytes, text: bytes) -> bool:
        """Whether a signature over a text as it is is this key's."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text)
        except InvalidSignature:
            return False
        return True


def init(workspace: Workspace, officer_public: bytes | None = None, officer_sealing: bytes | None = None) -> list[Key]:
    """Make what is missing of the two keys; again: nothing changes. Those that were added to the trust file.

    officer_public  of an officer whose private half stays elsewhere (PEM, or 64 hex digits); it follows the one before
    officer_sealing  what old checkpoints are sealed to (X25519, PEM); default: made where the officer signs
    Raises EvidenceError for a key that was lost, or is not one.
    """
    sealing = None if officer_sealing is None else sealing_key.brought(officer_sealing)
    with _alone(workspace):
        before = _known(workspace)
        workspace.vault.chmod(0o700)  # tombstones and intake tokens may have made it first
        for role in ROLES:
            if role == "privacy_officer" and officer_public is not None:
                _register(workspace, key_files.public(officer_public))
                continue
            ever = [key for key in _known(workspace) if key.role == role]
            if not ever and not _path(workspace, role).is_file():
                key_files.write_secret(_path(workspace, role), key_files.fresh())
            _settle(workspace, role)
        if sealing is not None:
            sealing_key.name(workspace, sealing)
        elif _path(workspace, "privacy_officer").is_file():  # else the officer's other private half is elsewhere, too
            sealing_key.make(workspace)
        return [key for key in _known(workspace) if key.keyid not in {one.keyid for one in before}]


def rotate(workspace: Workspace, role: Role) -> Key:
    """The next key of a role; the one before is good until then, and its private half is gone. Raises EvidenceError."""
    with _alone(workspace):
        if role == "privacy_officer" and not _path(workspace, role).is_file() and _current(_known(workspace), role):
            raise EvidenceError(
                f"{_path(workspace, role)}: the officer's private key is not on this machine; "
                "`unlearning keys init --officer-public FILE` names the next one"
            )
        key_files.write_secret(_path(workspace, role), key_files.fresh())
        _settle(workspace, role)
        return _require_current(_known(workspace), role)


def revoke(workspace: Workspace, keyid: str, since: str) -> Key:
    """From `since` on (RFC 3339) nothing that a key signed counts; its private half is gone. Raises EvidenceError.

    keyid  whole, or its beginning where no other begins so
    """
    moment = canonical_text.as_time(since)
    with _alone(workspace):
        known = _known(workspace)
        found = [key for key in known if len(keyid) >= 8 and key.keyid.startswith(keyid)]
        if len(found) != 1:
            raise EvidenceError(f"{keyid[:64]!r} is not the id of one key; `unlearning keys list` names them")
        ends = [moment, *([found[0].revoked_from] if found[0].revoked_from is not None else [])]
        revoked = found[0].model_copy(update={"revoked_from": min(ends)})
        _write_trust(workspace, [key for key in known if key != found[0]], revoked)
        path = _path(workspace, revoked.role)
        if path.is_file() and trust.key_id(_public_bytes(path)) == revoked.keyid:
            path.unlink()
        return revoked


def listed(workspace: Workspace) -> list[tuple[Key, bool]]:
    """Every key of the trust file, and whether its private half lies in the vault."""
    here = {trust.key_id(_public_bytes(path)) for role in ROLES if (path := _path(workspace, role)).is_file()}
    return [(key, key.keyid in here) for key in _known(workspace)]


def trusted(workspace: Workspace, role: Role) -> list[PublicKey]:
    """Every key of a role that the trust file names, good still or not."""
    return [PublicKey(key) for key in _known(workspace) if key.role == role]


def signer(workspace: Workspace, role: Role) -> SigningKey:
    """The key with which a role signs now, which must be here; both are made where there was none. EvidenceError."""
    if not trust.file(workspace).is_file():
        init(workspace)
    found = signing(workspace, role)
    if found is None:
        raise EvidenceError(f"{_path(workspace, role)}: the {role}'s private key is not on this machine")
    return found


def signing(workspace: Workspace, role: Role) -> SigningKey | None:
    """The key with which a role signs now; None where the officer signs elsewhere. Raises EvidenceError."""
    with _alone(workspace):
        _settle(workspace, role)
        current = _require_current(_known(workspace), role)
        path = _path(workspace, role)
        return SigningKey(current, _private(path)) if path.is_file() else None


def brought(content: bytes, where: str, known: Trust) -> SigningKey:
    """A private key from a file that somebody brought, as the trust file names it. Raises EvidenceError."""
    private = key_files.private(content, where)
    key = known.find(trust.key_id(private.public_key().public_bytes_raw()))
    if key is None or key.role != "privacy_officer":
        raise EvidenceError(f"{where}: not the key of a privacy officer whom the trust file names")
    return SigningKey(key, private)


def dataset_key(workspace: Workspace, name: str) -> bytes:
    """K of a data set, 32 bytes; made where there never was one. Raises EvidenceError for one that is lost or damaged.

    Its id lies outside the vault: so a key that was lost is told from one that was never made.
    """
    path, known = workspace.vault / f"dataset-{name}.key", workspace.root / "commitments" / f"{name}.key-id"
    with _alone(workspace):
        if not path.is_file() and not known.is_file():
            key_files.write_secret(path, secrets.token_bytes(commitment.SIZE))
        found = key_files.read_secret(path)
        if len(found) != commitment.SIZE:
            raise EvidenceError(f"{path}: {len(found)} bytes; the key of a data set has {commitment.SIZE}, restore it")
        line = commitment.key_id(found).encode() + b"\n"
        if not known.is_file():
            files.write_bytes(known, line)
        if known.read_bytes() != line:
            raise EvidenceError(f"{path}: not the key that sets of {name!r} were committed to under; restore that one")
        return found


def dataset_key_here(workspace: Workspace, name: str) -> bytes | None:
    """K of a data set, to check with: None where it is not here. Raises EvidenceError if others may read it."""
    path = workspace.vault / f"dataset-{name}.key"
    return key_files.read_secret(path) if path.is_file() else None


def _settle(workspace: Workspace, role: Role) -> None:
    """The trust file names the private half that lies in the vault, and it alone goes on."""
    path, known = _path(workspace, role), _known(workspace)
    if path.is_file():
        public = _public_bytes(path)
        if trust.key_id(public) not in {key.keyid for key in known}:
            _succeed(workspace, known, role, public)
    elif role == "pipeline" and _current(known, role):
        raise EvidenceError(
            f"{path}: there is no such key, and the trust file says that it signs; restore it, or "
            f"`unlearning keys rotate {role}` makes the next"
        )


def _register(workspace: Workspace, public: bytes) -> None:
    known = _known(workspace)
    if trust.key_id(public) not in {key.keyid for key in known}:
        _succeed(workspace, known, "privacy_officer", public)
    _path(workspace, "privacy_officer").unlink(missing_ok=True)


def _succeed(workspace: Workspace, known: Sequence[Key], role: Role, public: bytes) -> None:
    """A new key, good from the moment at which the one before it ends.

    The next whole second: what was issued in this one was signed by the one before.
    """
    before = _current(known, role)
    moment = datetime.now(UTC) + timedelta(seconds=before is not None)
    since = canonical_text.as_time(moment)
    made = Key(
        keyid=trust.key_id(public),
        public=public.hex(),
        role=role,
        valid_from=since if before is None else max(since, before.valid_from),
        valid_until=None,
        revoked_from=None,
    )
    ended = [key if key != before else key.model_copy(update={"valid_until": made.valid_from}) for key in known]
    _write_trust(workspace, ended, made)


def _known(workspace: Workspace) -> tuple[Key, ...]:
    path = trust.file(workspace)
    return trust.load(path).keys if path.is_file() else ()


def _current(known: Sequence[Key], role: Role) -> Key | None:
    """The key of a role that has no end."""
    return next((k for k in known if k.role == role and k.valid_until is None and k.revoked_from is None), None)


def _require_current(known: Sequence[Key], role: Role) -> Key:
    found = _current(known, role)
    if found is None:
        word = "init" if all(key.role != role for key in known) else f"rotate {role}"
        raise EvidenceError(f"no key of the {role} is good now; `unlearning keys {word}` makes one")
    return found


def _path(workspace: Workspace, role: Role) -> Path:
    return workspace.vault / FILES[role]


def _write_trust(workspace: Workspace, known: Sequence[Key], *more: Key) -> None:
    files.write_bytes(trust.file(workspace), trust.write([*known, *more]))


def _private(path: Path) -> Ed25519PrivateKey:
    return key_files.private(key_files.read_secret(path), str(path))


def _public_bytes(path: Path) -> bytes:
    return _private(path).public_key().public_bytes_raw()


def _alone(workspace: Workspace) -> AbstractContextManager[None]:
    workspace.vault.mkdir(mode=0o700, parents=True, exist_ok=True)
    return files.locked(workspace.vault / ".keys.lock", "the keys", wait=True)
