"""The append-only log: what is in it stays, a torn write never was, a signed head tells a log that was rewritten."""

from __future__ import annotations

import base64
import fcntl
import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from unlearning.errors import EvidenceError, StorageError
from unlearning.evidence import log, merkle
from unlearning.workspace import Workspace

DIGESTS = [sha256(bytes([number])).digest() for number in range(9)]
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw()


@pytest.fixture
def root(tmp_path: pytest.TempPathFactory) -> Workspace:
    return Workspace(tmp_path)  # type: ignore[arg-type]


def _good(signature: bytes, text: bytes) -> bool:
    try:
        KEY.public_key().verify(signature, text)
    except InvalidSignature:
        return False
    return True


def test_what_is_in_it_stays_in_its_order(root: Workspace) -> None:
    assert log.head(log.file(root)) == log.Head(0, merkle.EMPTY)
    assert log.extend(root, DIGESTS[:3]) == log.Head(3, merkle.root(DIGESTS[:3]))
    assert log.extend(root, [DIGESTS[5], DIGESTS[1], DIGESTS[5]]).size == 4
    assert log.read(log.file(root)) == [*DIGESTS[:3], DIGESTS[5]]
    assert log.extend(root, []) == log.head(log.file(root))


@pytest.mark.parametrize("torn", [1, 30, 64])
def test_a_line_that_was_cut_off_was_never_written(root: Workspace, torn: int) -> None:
    log.extend(root, DIGESTS[:2])
    path = log.file(root)
    whole = path.read_bytes()
    path.write_bytes(whole + (DIGESTS[2].hex().encode() + b"\n")[:torn])
    assert log.read(path) == DIGESTS[:2]
    log.extend(root, DIGESTS[2:4])
    assert log.read(path) == DIGESTS[:4]
    assert path.stat().st_size == 4 * 65


def test_a_full_disk_is_one_sentence_and_what_was_logged_stays(
    root: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.extend(root, DIGESTS[:2])

    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        with pytest.raises(StorageError, match=r"digests: the disk is full"):
            log.extend(root, DIGESTS[2:3])
    assert log.read(log.file(root))[:2] == DIGESTS[:2]
    assert log.extend(root, DIGESTS[2:3]).size == 3


def test_a_second_writer_waits_for_the_first(root: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    flock, fsync, asked, here = fcntl.flock, os.fsync, threading.Event(), threading.current_thread()
    second = list[Future[log.Head]]()

    def noticed(file: Any, how: int) -> None:
        if threading.current_thread() is not here:
            asked.set()
        flock(file, how)

    with ThreadPoolExecutor(1) as pool:

        def meanwhile(file: int) -> None:
            """The first writer holds the lock here."""
            if not second:
                second.append(pool.submit(log.extend, root, DIGESTS[1:2]))
                assert asked.wait(60)
            fsync(file)

        monkeypatch.setattr("fcntl.flock", noticed)
        monkeypatch.setattr("os.fsync", meanwhile)
        assert log.extend(root, DIGESTS[:1]).size == 1
        assert second[0].result(60).size == 2
    assert log.read(log.file(root)) == DIGESTS[:2]


def test_the_first_writer_makes_the_folder(tmp_path: Path) -> None:
    deep = Workspace(tmp_path / "a" / "root")
    assert log.extend(deep, DIGESTS[:1]).size == 1
    assert log.file(deep) == deep.root / "log" / "digests"


@pytest.mark.parametrize("wrong", [b"G" * 64 + b"\n", b"a" * 65, b"A" * 64 + b"\n"])
def test_a_line_that_is_no_digest_is_named(root: Workspace, wrong: bytes) -> None:
    log.extend(root, DIGESTS[:2])
    path = log.file(root)
    path.write_bytes(path.read_bytes() + wrong)
    before = path.read_bytes()
    for read in (lambda: log.read(path), lambda: log.extend(root, DIGESTS[3:4])):
        with pytest.raises(EvidenceError, match="line 3: not a sha256"):
            read()
    assert path.read_bytes() == before


def test_a_signed_head_is_read_back_and_is_nobody_elses(root: Workspace) -> None:
    head = log.extend(root, DIGESTS[:5])
    note = log.checkpoint(head, "pipeline", PUBLIC, KEY.sign)
    said = log.read_checkpoint(note, "note")
    assert (said.origin, said.head, said.signer) == (log.ORIGIN, head, "pipeline")
    assert log.signed_by(said, PUBLIC, _good)
    assert not log.signed_by(said, bytes(32), _good)
    other = log.read_checkpoint(note.replace(b"\n5\n", b"\n4\n"), "note")
    assert not log.signed_by(other, PUBLIC, _good)
    lines = note.decode().split("\n")
    assert lines[:2] == [log.ORIGIN, "5"]
    hashed = sha256(b"pipeline\n\x01" + PUBLIC).digest()[:4]
    assert base64.b64decode(lines[4].split(" ")[2]) == hashed + KEY.sign("\n".join(lines[:3]).encode() + b"\n")


def test_a_log_continues_the_one_it_was_and_no_other(root: Workspace) -> None:
    head = log.extend(root, DIGESTS[:5])
    assert log.continues(head, DIGESTS)
    assert log.continues(head, DIGESTS[:5])
    assert not log.continues(head, DIGESTS[:4])
    assert not log.continues(head, [DIGESTS[8], *DIGESTS[1:]])
    assert log.continues(log.Head(0, merkle.EMPTY), [])


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"\xff",
        b"origin\n5\nAAAA\n\n",
        lambda note: note + b"\n",
        lambda note: note.replace(b"\n5\n", b"\n05\n"),
        lambda note: note.replace("—".encode(), b"-"),
        lambda note: note.replace(b" pipeline ", b" "),
        lambda note: note + note.split(b"\n\n")[1],
    ],
)
def test_what_is_no_note_is_refused(wrong: object) -> None:
    note = log.checkpoint(log.Head(5, merkle.root(DIGESTS[:5])), "pipeline", PUBLIC, KEY.sign)
    with pytest.raises(EvidenceError, match=r"^note: not a checkpoint"):
        log.read_checkpoint(wrong(note) if callable(wrong) else wrong, "note")
