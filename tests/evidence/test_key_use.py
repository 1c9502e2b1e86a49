"""What a key is used for and by whom: seals, keys that are brought, names that are short, vaults that are new."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.evidence import sealing
from unlearning.errors import EvidenceError
from unlearning.evidence import commitment, envelope, key_files, keys, sealing_key, trust
from unlearning.evidence.trust import Trust
from unlearning.workspace import Workspace


@pytest.fixture
def root(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path / "var")
    keys.init(made)
    return made


def refused(call: Callable[[], Any]) -> str:
    with pytest.raises(EvidenceError) as caught:
        call()
    return str(caught.value)


def known(workspace: Workspace) -> Trust:
    return trust.load(trust.file(workspace))


def pem(name: str) -> bytes:
    return sealing.key(name).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def test_a_seal_is_a_dsse_signature_of_the_role(root: Workspace) -> None:
    for role in keys.ROLES:
        signer = keys.signer(root, role)
        assert signer.key.role == role
        sealed = signer.seal(b"payload")
        assert sealed.keyid == signer.key.keyid
        assert envelope.signed_by(b"payload", sealed, signer.key)
        assert not envelope.signed_by(b"other", sealed, signer.key)


def test_an_officer_brings_a_key_that_the_trust_file_names() -> None:
    listed = (sealing.trusted("officer", "privacy_officer"), sealing.trusted("pipeline", "pipeline"))
    named = Trust(tuple(trust.Key(**one) for one in listed))
    brought = keys.brought(pem("officer"), "officer.pem", named)
    assert brought.key == named.keys[0]
    assert keys.PublicKey(brought.key).verifies(brought.sign(b"text"), b"text")
    assert envelope.signed_by(b"payload", brought.seal(b"payload"), named.keys[0])
    for other in ("pipeline", "stranger"):
        assert refused(lambda other=other: keys.brought(pem(other), "key.pem", named)) == (
            "key.pem: not the key of a privacy officer whom the trust file names"
        )
    assert refused(lambda: keys.brought(b"", "key.pem", named)) == (
        "key.pem: not an Ed25519 private key in PEM; restore it, or rotate it"
    )


def test_a_damaged_key_is_named_by_its_file(root: Workspace) -> None:
    path = root.vault / "pipeline.ed25519"
    path.write_bytes(b"damaged")
    assert refused(lambda: keys.signing(root, "pipeline")) == (
        f"{path}: not an Ed25519 private key in PEM; restore it, or rotate it"
    )


def test_a_key_may_be_named_by_eight_digits_and_by_no_fewer(root: Workspace) -> None:
    keyid = keys.signer(root, "pipeline").key.keyid
    for short in (keyid[:7], "", "f" * 65 if keyid[0] != "f" else "0" * 65):
        assert refused(lambda short=short: keys.revoke(root, short, "2030-01-01T00:00:00Z")) == (
            f"{short[:64]!r} is not the id of one key; `unlearning keys list` names them"
        )
    assert keys.revoke(root, keyid[:8], "2030-01-01T00:00:00Z").keyid == keyid


def test_a_revocation_leaves_the_next_private_half_alone(root: Workspace) -> None:
    before = keys.signer(root, "pipeline").key
    after = keys.rotate(root, "pipeline")
    keys.revoke(root, before.keyid, "2026-01-01T00:00:00Z")
    assert keys.signer(root, "pipeline").key == after


def test_a_vault_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "var")
    keys.dataset_key(workspace, "digits")
    assert stat.S_IMODE(workspace.vault.stat().st_mode) == 0o700


def test_whoever_needs_the_keys_waits_for_them(root: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[tuple[Any, ...]]()

    @contextmanager
    def locked(*told: Any, **named: Any) -> Iterator[None]:
        asked.append((*told, named))
        yield

    monkeypatch.setattr(keys.files, "locked", locked)
    keys.signing(root, "pipeline")
    assert asked == [(root.vault / ".keys.lock", "the keys", {"wait": True})]


def test_the_key_of_a_data_set_is_drawn_whole_and_known_by_its_id(
    root: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys.secrets, "token_bytes", lambda size: bytes(range(size)))
    key = keys.dataset_key(root, "digits")
    assert key == bytes(range(32)) == (root.vault / "dataset-digits.key").read_bytes()
    written = (root.root / "commitments" / "digits.key-id").read_bytes()
    assert written == commitment.key_id(key).encode() + b"\n"
    assert keys.dataset_key_here(root, "digits") == key
    assert keys.dataset_key_here(root, "letters") is None


def test_a_key_begins_no_earlier_than_the_one_before_it(root: Workspace) -> None:
    """Where the clock went back."""
    late = "2099-01-01T00:00:00+00:00"
    listed = [key.model_copy(update={"valid_from": late}) for key in known(root).keys]
    trust.file(root).write_bytes(trust.write(listed))
    before = keys.signer(root, "pipeline").key
    after = keys.rotate(root, "pipeline")
    found = known(root).find(before.keyid)
    assert found is not None
    assert (after.valid_from, found.valid_until) == (late, late)


@pytest.mark.parametrize(("revoked", "word"), [(False, "init"), (True, "rotate pipeline")])
def test_a_role_without_a_key_is_told_how_to_get_one(root: Workspace, revoked: bool, word: str) -> None:
    listed = list(known(root).keys)
    ended = {"revoked_from": "2026-01-01T00:00:00+00:00"}
    if revoked:
        listed = [key if key.role != "pipeline" else key.model_copy(update=ended) for key in listed]
    else:
        listed = [key for key in listed if key.role != "pipeline"]
    trust.file(root).write_bytes(trust.write(listed))
    (root.vault / "pipeline.ed25519").unlink()
    assert refused(lambda: keys.signing(root, "pipeline")) == (
        f"no key of the pipeline is good now; `unlearning keys {word}` makes one"
    )


def test_a_private_file_is_read_no_further_than_a_key_is_long(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.touch(0o600)
    path.write_bytes(b"k" * 5000)
    assert key_files.read_secret(path) == b"k" * 4096
    for mode in (0o640, 0o604, 0o610, 0o601):
        path.chmod(mode)
        assert refused(lambda: key_files.read_secret(path)) == (
            f"{path}: others than its owner may read this private key; `chmod 600` it, then rotate it"
        )
    path.unlink()
    assert refused(lambda: key_files.read_secret(path)) == f"{path}: there is no such key; restore it, or rotate it"


def test_an_officer_may_bring_what_is_sealed_to(tmp_path: Path) -> None:
    workspace, private = Workspace(tmp_path / "var"), X25519PrivateKey.generate()
    content = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    keys.init(workspace, officer_sealing=content)
    assert sealing_key.file(workspace).read_bytes() == content
    assert sealing_key.public(workspace) == private.public_key().public_bytes_raw()
    assert not sealing_key.private_file(workspace).exists()
    before = trust.file(workspace).read_bytes()
    told = refused(lambda: keys.init(workspace, sealing.public("officer").hex().encode(), b"no key"))
    assert told.startswith("the officer's file: not an X25519 public key in PEM; ")
    assert trust.file(workspace).read_bytes() == before
    keys.init(workspace)
    assert sealing_key.file(workspace).read_bytes() == content
