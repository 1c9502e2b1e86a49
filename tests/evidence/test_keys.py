"""Keys are made once, kept from others, replaced without a gap, and a lost one is said in a sentence."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.evidence import sealing
from unlearning import files
from unlearning.errors import EvidenceError
from unlearning.evidence import commitment, keys, trust
from unlearning.workspace import Workspace


@pytest.fixture
def root(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path / "var")
    keys.init(made)
    return made


def known(workspace: Workspace) -> dict[str, trust.Key]:
    return {key.keyid: key for key in trust.load(trust.file(workspace)).keys}


def test_both_keys_are_made_once_and_for_their_owner_alone(root: Workspace) -> None:
    before = {path.name: path.read_bytes() for path in root.vault.iterdir()}
    assert keys.init(root) == []
    assert {path.name: path.read_bytes() for path in root.vault.iterdir()} == before
    assert sorted(key.role for key in known(root).values()) == ["pipeline", "privacy_officer"]
    assert stat.S_IMODE(root.vault.stat().st_mode) == 0o700
    assert {stat.S_IMODE((root.vault / name).stat().st_mode) for name in keys.FILES.values()} == {0o600}
    assert [here for _, here in keys.listed(root)] == [True, True]


def test_a_vault_may_lie_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNLEARNING_VAULT", str(tmp_path / "safe"))
    workspace = Workspace(tmp_path / "var")
    keys.init(workspace)
    assert (tmp_path / "safe" / "pipeline.ed25519").is_file()
    assert not (workspace.root / "keys").exists()


def test_no_private_byte_is_shown(root: Workspace) -> None:
    signer = keys.signer(root, "pipeline")
    private = (root.vault / "pipeline.ed25519").read_text().splitlines()[1]
    assert private not in repr(signer)
    assert "PrivateKey" not in repr(signer)
    (root.vault / "pipeline.ed25519").write_text(private)
    with pytest.raises(EvidenceError, match="not an Ed25519 private key") as told:
        keys.signer(root, "pipeline")
    assert private not in str(told.value)


def test_a_signature_is_its_keys_and_nobody_elses(root: Workspace) -> None:
    signer = keys.signer(root, "pipeline")
    (pipeline,), (officer,) = keys.trusted(root, "pipeline"), keys.trusted(root, "privacy_officer")
    assert pipeline.verifies(signer.sign(b"text"), b"text")
    assert not pipeline.verifies(signer.sign(b"text"), b"other")
    assert not officer.verifies(signer.sign(b"text"), b"text")


def test_a_key_that_others_may_read_signs_nothing(root: Workspace) -> None:
    (root.vault / "pipeline.ed25519").chmod(0o640)
    with pytest.raises(EvidenceError, match="chmod 600"):
        keys.signer(root, "pipeline")


def test_a_lost_or_damaged_key_is_said(root: Workspace) -> None:
    path = root.vault / "pipeline.ed25519"
    content = path.read_bytes()
    path.write_bytes(content[:50])
    with pytest.raises(EvidenceError, match="not an Ed25519 private key"):
        keys.signer(root, "pipeline")
    path.unlink()
    with pytest.raises(EvidenceError, match="keys rotate pipeline"):
        keys.signer(root, "pipeline")
    assert keys.rotate(root, "pipeline").keyid == keys.signer(root, "pipeline").key.keyid


@pytest.mark.parametrize("role", keys.ROLES)
def test_the_next_key_begins_where_the_last_one_ends(root: Workspace, role: trust.Role) -> None:
    before = keys.signer(root, role).key
    after = keys.rotate(root, role)
    ended = known(root)[before.keyid]
    assert ended.valid_until == after.valid_from > before.valid_from
    assert ended.good_at(before.valid_from)
    assert not ended.good_at(after.valid_from)
    assert after.good_at(after.valid_from)
    assert keys.signer(root, role).key == after
    assert [here for key, here in keys.listed(root) if key.keyid == before.keyid] == [False]


def test_a_rotation_that_was_killed_is_finished_by_whoever_signs_next(root: Workspace) -> None:
    before, told = keys.signer(root, "pipeline").key, trust.file(root).read_bytes()
    after = keys.rotate(root, "pipeline")
    files.write_bytes(trust.file(root), told)  # the private half was written, the public file was not
    found = keys.signer(root, "pipeline").key
    assert found.keyid == after.keyid
    assert known(root)[before.keyid].valid_until == found.valid_from


def test_what_a_revoked_key_signed_later_does_not_count(root: Workspace) -> None:
    key = keys.signer(root, "pipeline").key
    revoked = keys.revoke(root, key.keyid[:12], "2030-01-01T01:00:00+01:00")
    assert revoked.revoked_from == "2030-01-01T00:00:00+00:00"
    assert keys.revoke(root, key.keyid, "2031-01-01T00:00:00Z").revoked_from == revoked.revoked_from
    assert revoked.good_at("2029-12-31T23:59:59+00:00")
    assert not revoked.good_at("2030-01-01T00:00:00+00:00")
    assert not (root.vault / "pipeline.ed25519").exists()
    with pytest.raises(EvidenceError, match="rotate pipeline"):
        keys.signer(root, "pipeline")
    keys.init(root)  # a revoked key is replaced by hand
    with pytest.raises(EvidenceError, match="rotate pipeline"):
        keys.signer(root, "pipeline")
    keys.rotate(root, "pipeline")
    keys.signer(root, "pipeline")


@pytest.mark.parametrize(("keyid", "since"), [("abcd", "2030-01-01T00:00:00Z"), ("0" * 64, "2030-01-01T00:00:00Z")])
def test_only_one_known_key_is_revoked(root: Workspace, keyid: str, since: str) -> None:
    with pytest.raises(EvidenceError, match="keys list"):
        keys.revoke(root, keyid, since)


@pytest.mark.parametrize("spelled", ["pem", "hex"])
def test_an_officer_elsewhere_leaves_no_private_half_here(tmp_path: Path, spelled: str) -> None:
    workspace, public = Workspace(tmp_path / "var"), sealing.key("officer").public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    keys.init(workspace, pem if spelled == "pem" else public.public_bytes_raw().hex().encode() + b"\n")
    assert sealing.keyid("officer") in known(workspace)
    assert keys.signing(workspace, "privacy_officer") is None
    assert not (workspace.vault / "privacy-officer.ed25519").exists()
    with pytest.raises(EvidenceError, match="officer-public"):
        keys.rotate(workspace, "privacy_officer")
    with pytest.raises(EvidenceError, match="not on this machine"):
        keys.signer(workspace, "privacy_officer")
    assert keys.init(workspace) == []


def test_an_officer_who_moves_away_takes_the_key_along(root: Workspace) -> None:
    before = keys.signer(root, "privacy_officer").key
    (made,) = keys.init(root, sealing.public("officer").hex().encode())
    assert known(root)[before.keyid].valid_until == made.valid_from
    assert keys.signing(root, "privacy_officer") is None


@pytest.mark.parametrize("content", [b"", b"zz" * 32, b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"])
def test_what_is_no_public_key_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(EvidenceError, match="not an Ed25519 public key"):
        keys.init(Workspace(tmp_path / "var"), content)


def test_a_data_sets_key_is_made_once_and_its_loss_is_noticed(root: Workspace) -> None:
    key = keys.dataset_key(root, "digits")
    assert len(key) == commitment.SIZE
    assert keys.dataset_key(root, "digits") == key
    assert keys.dataset_key(root, "letters") != key
    path = root.vault / "dataset-digits.key"
    for damaged, told in ((key[:31], "31 bytes"), (bytes(32), "not the key that sets"), (None, "no such key")):
        if damaged is None:
            path.unlink()
        else:
            path.write_bytes(damaged)
        with pytest.raises(EvidenceError, match=told):
            keys.dataset_key(root, "digits")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[:-1],
        lambda text: text + b"\n",
        lambda text: text.replace(b":", b": ", 1),
        lambda text: text.replace(b"trust/1", b"trust/2"),
        lambda text: text.replace(b'"pipeline"', b'"somebody"'),
        lambda text: text.replace(b'"valid_until":null', b'"valid_until":"2030-13-01T00:00:00+00:00"', 1),
        lambda text: text.replace(b'"keys":[{', b'"keys":[],"x":[{'),
        lambda text: b'{"keys":[],"schema":"trust/1"}\n',
        lambda text: b"",
        lambda text: text.replace(b'"public":"', b'"public":"00', 1),
    ],
)
def test_what_is_no_trust_file_is_refused(root: Workspace, spoil: object) -> None:
    text = trust.file(root).read_bytes()
    with pytest.raises(EvidenceError, match="not a trust/1 file"):
        trust.read(spoil(text), "trust.json")  # type: ignore[operator]


def test_a_key_has_one_name_in_one_place() -> None:
    one, other = sealing.trusted("pipeline", "pipeline"), sealing.trusted("officer", "privacy_officer")
    ordered = sorted([one, other], key=lambda key: key["keyid"])

    def text(*listed: dict[str, object]) -> bytes:
        return sealing.spelled({"schema": "trust/1", "keys": list(listed)}) + b"\n"

    assert len(trust.read(text(*ordered), "x").keys) == 2
    for listed in (ordered[::-1], [one, one], [{**one, "keyid": "ab" * 32}]):
        with pytest.raises(EvidenceError, match="not a trust/1 file"):
            trust.read(text(*listed), "x")


def test_the_first_who_signs_makes_the_keys(tmp_path: Path) -> None:
    made = Workspace(tmp_path / "var")
    signer = keys.signer(made, "pipeline")
    assert trust.key_id(signer.public) in known(made)
    assert keys.trusted(made, "pipeline")[0].public == signer.public
    assert keys.trusted(made, "pipeline")[0].verifies(signer.sign(b"text"), b"text")
    assert not keys.trusted(made, "privacy_officer")[0].verifies(signer.sign(b"text"), b"text")


def test_an_officer_who_is_named_again_is_the_same_one(root: Workspace) -> None:
    public = sealing.public("officer").hex().encode()
    (named,) = keys.init(root, public)
    before = trust.file(root).read_bytes()
    assert keys.init(root, public) == []
    assert trust.file(root).read_bytes() == before
    assert known(root)[named.keyid].valid_until is None
