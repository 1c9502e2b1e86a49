"""A sealed checkpoint opens for one key, whole and as it was, or not at all."""

from __future__ import annotations

import io
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.evidence.sealed_by_hand import Cut, cut, made, opened
from unlearning import digests
from unlearning.errors import EvidenceError, StorageError
from unlearning.evidence import access_log, key_files, keys, log, sealed_models, sealing, sealing_key, trust
from unlearning.evidence.sealing import Header
from unlearning.workspace import Workspace

CHUNK = 16
SAID: dict[str, Any] = {
    "batch": "b1",
    "model": "digits",
    "expires_at": "2026-12-24T00:00:00+00:00",
    "sealed_at": "2026-11-24T00:00:00+00:00",
}
OFFICER = X25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = OFFICER.public_key().public_bytes_raw()


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Two files, 40 bytes: chunks of 16, 16 and 8."""
    folder = tmp_path / "checkpoint"
    (folder / "trace").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(bytes(range(33)))
    (folder / "trace" / "steps.bin").write_bytes(b"seven-b")
    return folder


def header(folder: Path, **said: Any) -> Header:
    told = {**SAID, "recipient": trust.key_id(PUBLIC), "chunk_bytes": CHUNK, **said}
    return sealing.described(digests.of_folder(folder), **told)


def sealed(folder: Path, **said: Any) -> bytes:
    out = io.BytesIO()
    sealing.seal(out, folder, header(folder, **said), PUBLIC)
    return out.getvalue()


def unsealed(content: bytes, into: Path, private: X25519PrivateKey = OFFICER) -> dict[str, bytes]:
    """What comes out of a file; EvidenceError as it comes."""
    path, clear = into / "one.sealed", into / "clear"
    shutil.rmtree(clear, ignore_errors=True)
    clear.mkdir(parents=True)
    path.write_bytes(content)
    with path.open("rb") as file:
        sealing.unseal(file, path, private, clear)
    return {one.path: (clear / one.path).read_bytes() for one in digests.of_folder(clear)}


def test_it_comes_back_as_it_was_and_for_its_owner_alone(checkpoint: Path, tmp_path: Path) -> None:
    found = unsealed(sealed(checkpoint), tmp_path / "out")
    assert found == {"model.safetensors": bytes(range(33)), "trace/steps.bin": b"seven-b"}
    written = [path for path in (tmp_path / "out" / "clear").rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in written} == {0o600}


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_every_length_comes_back(tmp_path: Path, size: int) -> None:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    clear = bytes(range(100, 100 + size))
    (folder / "model.safetensors").write_bytes(clear)
    content = sealed(folder)
    assert unsealed(content, tmp_path / "out") == {"model.safetensors": clear}
    assert len(cut(content, CHUNK).chunks) == max(1, -(-size // CHUNK))
    assert size < CHUNK or clear[:CHUNK] not in content


def test_primitives_alone_open_it(checkpoint: Path) -> None:
    assert opened(sealed(checkpoint), OFFICER, CHUNK) == bytes(range(33)) + b"seven-b"


def test_it_opens_what_primitives_alone_made(checkpoint: Path, tmp_path: Path) -> None:
    content = made(
        header(checkpoint).model_dump(by_alias=True), bytes(range(33)) + b"seven-b", OFFICER.public_key(), 16
    )
    assert unsealed(content, tmp_path / "out")["trace/steps.bin"] == b"seven-b"
    assert digests.of_bytes(content) == "51e8520f672950081a73f0dfaebc709fd987cf377b30d9e0d2463bdbcf4ff538"


def test_no_two_files_share_a_key(checkpoint: Path) -> None:
    one, two = (cut(sealed(checkpoint), CHUNK) for _ in range(2))
    assert one.front == two.front
    assert one.wrapped != two.wrapped
    assert not set(one.chunks) & set(two.chunks)


def test_a_byte_that_was_changed_anywhere_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    content = sealed(checkpoint)
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1
        with pytest.raises(EvidenceError):
            unsealed(bytes(changed), tmp_path / "out")


def _forgeries(one: Cut, other: Cut) -> Iterator[tuple[str, bytes]]:
    whole = one.front + one.wrapped
    first, second, last = one.chunks
    for count in range(3):
        yield f"cut after {count} chunks", whole + b"".join(one.chunks[:count])
    yield "cut within the wrapped key", whole[:-1]
    yield "cut within the header", one.front[:-1]
    yield "nothing", b""
    yield "two chunks swapped", whole + second + first + last
    yield "a chunk left out, another twice", whole + first + first + last
    yield "longer", whole + first + second + last + b"\x00"
    yield "a chunk more", whole + b"".join(one.chunks) + last
    yield "the header of another", other.front + one.wrapped + b"".join(one.chunks)
    yield "the key of another", one.front + other.wrapped + b"".join(one.chunks)
    yield "header and key of another", other.front + other.wrapped + b"".join(one.chunks)
    yield "a chunk of another", whole + other.chunks[0] + second + last


def test_what_was_cut_moved_or_put_together_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    later = "2027-12-24T00:00:00+00:00"
    one, other = cut(sealed(checkpoint), CHUNK), cut(sealed(checkpoint, expires_at=later), CHUNK)
    assert unsealed(one.front + one.wrapped + b"".join(one.chunks), tmp_path / "out")
    for what, forged in _forgeries(one, other):
        with pytest.raises(EvidenceError):
            pytest.fail(f"{what}: {unsealed(forged, tmp_path / 'out')}")


@pytest.mark.parametrize("size", [2 * CHUNK, 40])
def test_its_length_is_judged_before_it_is_opened(tmp_path: Path, size: int) -> None:
    """So a purge, which has no key, deletes nothing for a sealed file that was cut off; and a tail is noticed."""
    folder, path = tmp_path / "checkpoint", tmp_path / "one.sealed"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(bytes(size))
    content = sealed(folder)
    for changed in (content + b"\x00", content[:-1], content + content[-CHUNK - 16 :]):
        path.write_bytes(changed)
        with pytest.raises(EvidenceError, match=f"not {len(content)} bytes long, as its header says"):
            sealed_models.header(path)


def test_a_header_that_names_another_checkpoint_than_its_files_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    told = {**header(checkpoint).model_dump(by_alias=True), "checkpoint": "f" * 64}
    with pytest.raises(EvidenceError, match="checkpoint is not the digest of the files"):
        unsealed(made(told, bytes(40), OFFICER.public_key(), CHUNK), tmp_path / "out")


def test_what_was_longer_once_is_refused_by_its_last_chunk(checkpoint: Path, tmp_path: Path) -> None:
    """STREAM: not even where header and length agree with what is left."""
    told, clear = header(checkpoint).model_dump(by_alias=True), bytes(range(33)) + b"seven-b"
    with pytest.raises(EvidenceError, match="was changed since it was sealed"):
        unsealed(made(told, clear, OFFICER.public_key(), CHUNK, ends=False), tmp_path / "out")


def test_another_key_is_told_apart_before_anything_is_written(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match=rf"sealed to key {trust.key_id(PUBLIC)[:12]}; the one given is"):
        unsealed(sealed(checkpoint), tmp_path / "out", X25519PrivateKey.generate())
    assert not list((tmp_path / "out").glob("clear/*"))


@pytest.mark.parametrize("path", ["../model.safetensors", "/etc/passwd", "a/../b", "", "a//b", ".hidden", "a\\b\x00"])
def test_a_file_that_would_lie_elsewhere_is_refused(checkpoint: Path, tmp_path: Path, path: str) -> None:
    """Whoever has the public half may seal anything: what it says of itself is nobody's word."""
    told: dict[str, Any] = header(checkpoint).model_dump(by_alias=True)
    told["files"] = [{"bytes": 3, "path": path, "sha256": digests.of_bytes(b"abc")}]
    told["checkpoint"] = digests.of_listing([digests.FileDigest(path, digests.of_bytes(b"abc"), 3)])
    with pytest.raises(EvidenceError, match="its header is no sealed-checkpoint/1"):
        unsealed(made(told, b"abc", OFFICER.public_key(), CHUNK), tmp_path / "out")


def test_other_bytes_than_the_header_names_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    forged = made(header(checkpoint).model_dump(by_alias=True), bytes(40), OFFICER.public_key(), CHUNK)
    with pytest.raises(EvidenceError, match=r"its model\.safetensors is not the one that was served"):
        unsealed(forged, tmp_path / "out")


def test_a_checkpoint_that_changes_while_it_is_sealed_leaves_nothing(checkpoint: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "var")
    found = digests.of_folder(checkpoint)
    (checkpoint / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(EvidenceError, match="was changed while it was sealed"):
        sealed_models.store(workspace, checkpoint, found, PUBLIC, **SAID)
    assert [path for path in workspace.vault.rglob("*") if path.is_file()] == [
        workspace.vault / "sealed" / "digits" / ".lock"
    ]


def test_it_lies_in_the_vault_for_its_owner_alone(checkpoint: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "var")
    path = sealed_models.store(workspace, checkpoint, digests.of_folder(checkpoint), PUBLIC, **SAID)
    assert path == workspace.vault / "sealed" / "digits" / f"{header(checkpoint).checkpoint}.sealed"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {stat.S_IMODE(home.stat().st_mode) for home in list(path.parents)[:3]} == {0o700}
    assert [(one, told.batch) for one, told in sealed_models.listed(workspace, "digits")] == [(path, "b1")]
    sealed_models.drop(path)
    sealed_models.drop(path)
    assert sealed_models.names(workspace, "digits") == []


def test_the_key_for_sealing_is_made_once_beside_the_officers(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "var")
    with pytest.raises(EvidenceError, match="`unlearning keys init` makes one"):
        sealing_key.public(workspace)
    keys.init(workspace)
    first = sealing_key.public(workspace)
    assert stat.S_IMODE(sealing_key.private_file(workspace).stat().st_mode) == 0o600
    keys.init(workspace)
    assert sealing_key.public(workspace) == first
    sealing_key.file(workspace).unlink()  # killed between the two: the private half goes on
    keys.init(workspace)
    assert sealing_key.public(workspace) == first
    assert sealing_key.is_here(workspace)
    private = sealing_key.private_file(workspace)
    private.chmod(0o644)
    with pytest.raises(EvidenceError, match="others than its owner may read"):
        sealing_key.private(private)
    key_files.write_secret(private, (workspace.vault / "privacy-officer.ed25519").read_bytes())
    with pytest.raises(EvidenceError, match="not an X25519 private key"):
        sealing_key.private(private)


def test_an_officer_elsewhere_brings_the_public_half_alone(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "var")
    signing = Ed25519PrivateKey.generate().public_key()
    pem = OFFICER.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    keys.init(workspace, signing.public_bytes_raw().hex().encode())
    assert sealing_key.key_id(workspace) is None  # nobody but the officer may make it
    keys.init(workspace, officer_sealing=pem)
    assert sealing_key.public(workspace) == PUBLIC
    assert not sealing_key.is_here(workspace)
    wrong = signing.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    zeros = pem.replace(pem.splitlines()[1], b"MCowBQYDK2VuAyEA" + b"A" * 43 + b"=")  # agrees on zeros with everybody
    for brought in (wrong, zeros, b"", b"ab" * 32):
        with pytest.raises(EvidenceError, match="not an X25519 public key"):
            keys.init(workspace, officer_sealing=brought)
    assert sealing_key.public(workspace) == PUBLIC


def _opening(workspace: Workspace, reason: str) -> None:
    said = {"at": SAID["sealed_at"], "checkpoint": "c" * 64, "key": "e" * 64, "model": "digits", "reason": reason}
    access_log.append(workspace, {**said, "role": "privacy_officer"})


def test_openings_are_a_chain_that_the_log_of_evidence_holds(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert access_log.read(workspace) == []
    for number in range(3):
        _opening(workspace, f"complaint {number}")
    path = access_log.file(workspace)
    lines = path.read_bytes().splitlines()
    assert [row["before"] for row in access_log.read(workspace)] == [None, *map(digests.of_bytes, lines[:2])]
    assert [one.hex() for one in log.read(log.file(workspace))] == [digests.of_bytes(line) for line in lines]
    with path.open("ab") as cut_off:
        cut_off.write(b'{"at":')  # killed while it was written: that opening did not begin
    assert len(access_log.read(workspace)) == 3
    _opening(workspace, "complaint 3")
    assert [row["reason"][-1] for row in access_log.read(workspace)] == list("0123")
    whole = path.read_bytes()
    for forged in (
        whole.replace(b"complaint 1", b"complaint 7"),
        b"\n".join(lines[1:]) + b"\n",
        whole + b"{}\n",
        lines[0] + b"\n" + lines[2] + b"\n",
    ):
        path.write_bytes(forged)
        with pytest.raises(EvidenceError, match=r"unsealed\.jsonl, line \d"):
            access_log.read(workspace)
        with pytest.raises(EvidenceError, match=r"unsealed\.jsonl, line \d"):
            _opening(workspace, "another")
        assert path.read_bytes() == forged


def test_a_log_that_cannot_be_written_opens_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = Workspace(tmp_path)
    _opening(workspace, "first")
    before = access_log.file(workspace).read_bytes()

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="the disk is full"):
        _opening(workspace, "second")
    assert access_log.file(workspace).read_bytes().startswith(before)
