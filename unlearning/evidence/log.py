"""The append-only log of what was ever signed: `<root>/log/digests`, a hex line a payload, under one Merkle tree.

Whoever keeps a signed checkpoint (size and root) somewhere else can have it shown that today's log continues that one
(RFC 9162, section 2.1.4), and notices if it was rewritten. A checkpoint is a signed note (C2SP tlog-checkpoint):

    <origin> LF <size> LF <base64 of root> LF LF — SP <name of key> SP <base64 of 4 bytes of key hash || signature> LF
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from unlearning import files
from unlearning.errors import EvidenceError
from unlearning.evidence import merkle
from unlearning.workspace import Workspace

ORIGIN = "unlearning/erasure-log"
_LINE = 65  # hex of a digest, and a line feed
_DIGEST = re.compile(rb"[0-9a-f]{64}\n")
_NOTE = re.compile(r"([^\n]+)\n(0|[1-9][0-9]{0,14})\n([A-Za-z0-9+/]{43}=)\n\n— ([^\s]+) ([A-Za-z0-9+/]{91}=)\n")
_ED25519 = b"\x01"  # the algorithm's byte in a note's key hash


@dataclass(frozen=True, slots=True)
class Head:
    """How long the log is, and the root over it."""

    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a signed note says."""

    origin: str
    head: Head
    signer: str
    key_hash: bytes  # 4 bytes
    signature: bytes  # 64 bytes
    text: bytes  # what is signed


def file(workspace: Workspace) -> Path:
    """Where it lies."""
    return workspace.root / "log" / "digests"


def read(path: Path) -> list[bytes]:
    """Every digest, oldest first; none where there is no file. A last line that was cut off was never written.

    Raises EvidenceError naming the line that is no digest.
    """
    content = path.read_bytes() if path.is_file() else b""
    lines = [content[i : i + _LINE] for i in range(0, len(content) - len(content) % _LINE, _LINE)]
    for number, line in enumerate(lines, 1):
        if not _DIGEST.fullmatch(line):
            raise EvidenceError(f"{path}, line {number}: not a sha256; restore the log, it is append-only")
    return [bytes.fromhex(line[:-1].decode()) for line in lines]


def head(path: Path) -> Head:
    """Size and root of the log as it lies there. Raises EvidenceError if it is damaged."""
    digests = read(path)
    return Head(len(digests), merkle.root(digests))


def extend(workspace: Workspace, digests: Iterable[bytes]) -> Head:
    """Append what is not in the log yet, on disk when this returns; the head after it. Raises EvidenceError
    for a damaged log, StorageError where it cannot be written.

    One writer at a time: others wait. A writer that was killed leaves whole lines, or one that the next cuts off.
    """
    path = file(workspace)
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.locked(path.with_name(".log.lock"), "the log of evidence", wait=True):
        there = read(path)
        known = set(there)
        new = [digest for digest in dict.fromkeys(digests) if digest not in known]
        try:
            with path.open("ab") as log:
                log.truncate(_LINE * len(there))
                log.write(b"".join(digest.hex().encode() + b"\n" for digest in new))
                log.flush()
                os.fsync(log.fileno())
            files.sync_folder(path.parent)
        except OSError as error:
            raise files.refused(error, path) from error
    return Head(len(there) + len(new), merkle.root([*there, *new]))


def checkpoint(head: Head, signer: str, public: bytes, sign: Callable[[bytes], bytes], origin: str = ORIGIN) -> bytes:
    """The signed note of a head, to be kept where whoever runs this cannot rewrite it.

    signer  name of the key, without white space; public: its 32 bytes; sign: Ed25519 over what is given
    """
    text = f"{origin}\n{head.size}\n{base64.b64encode(head.root).decode()}\n".encode()
    signed = base64.b64encode(_key_hash(signer, public) + sign(text)).decode()
    return text + f"\n— {signer} {signed}\n".encode()


def read_checkpoint(note: bytes, where: str) -> Checkpoint:
    """What a note says; whose it is, `signed_by` tells. Raises EvidenceError for what is no note of one signature."""
    try:
        match = _NOTE.fullmatch(note.decode())
    except UnicodeDecodeError:
        match = None
    if match is None:
        raise EvidenceError(f"{where}: not a checkpoint: origin, size, root, an empty line, a signature are right")
    root, signed = (base64.b64decode(match[number]) for number in (3, 5))  # the pattern judged them
    text = note[: note.index(b"\n\n") + 1]
    return Checkpoint(match[1], Head(int(match[2]), root), match[4], signed[:4], signed[4:], text)


def signed_by(said: Checkpoint, public: bytes, verify: Callable[[bytes, bytes], bool]) -> bool:
    """Whether the note is of the key with these 32 public bytes; verify(signature, text) is Ed25519's."""
    return said.key_hash == _key_hash(said.signer, public) and verify(said.signature, said.text)


def continues(said: Head, digests: list[bytes]) -> bool:
    """Whether a log continues the one that a checkpoint was made of."""
    return said.size <= len(digests) and merkle.root(digests[: said.size]) == said.root


def _key_hash(signer: str, public: bytes) -> bytes:
    return sha256(signer.encode() + b"\n" + _ED25519 + public).digest()[:4]
