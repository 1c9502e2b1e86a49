"""A checkpoint as one sealed file that the privacy officer alone opens: written and read chunk by chunk. No torch.

    file    = MAGIC || len4(header) || header || wrapped || chunk_0 … chunk_n
    wrapped = HPKE base mode (RFC 9180; X25519, HKDF-SHA256, AES-256-GCM) of K to the officer's key,
              info = MAGIC || len4(header) || header
    chunk_i = AES-256-GCM(K, nonce_i, clear bytes, SHA256(all that stands before chunk_0))
    nonce_i = i as 11 bytes, big endian || 01 for the last chunk, 00 for every other

The last two lines are STREAM (Hoang, Reyhanitabar, Rogaway, Vizár, CRYPTO 2015) as age lays it out: K is fresh for each
file, so no nonce comes twice; a chunk that was changed, moved, left out or added does not open. The clear bytes are
those of the header's files, one behind the other. The header can be read by anybody, and is bound into every chunk.

Whoever has the public half can write such a file. What it holds is known by its hashes alone: whoever opens one
compares `checkpoint` with the digest that the model's history names.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator

from unlearning import digests
from unlearning.digests import FileDigest
from unlearning.errors import EvidenceError
from unlearning.evidence import canonical_text, trust
from unlearning.evidence.provenance import Count, Strict
from unlearning.evidence.trust import Hex, Time
from unlearning.workspace import NAME

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
    from cryptography.hazmat.primitives.hpke import Suite

MAGIC = b"unlearning/sealed-checkpoint/1\n"
CHUNK_BYTES = 2**20
_KEY_BYTES = 32
_TAG_BYTES = 16
_WRAPPED_BYTES = 32 + _KEY_BYTES + _TAG_BYTES  # the sender's fresh public half, K, a tag
_MOST_HEADER_BYTES = 2**24
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")  # of a path: never `..`, a root, or what a shell would hide
FRESH = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW  # a private file that nobody put there


def _inside(path: str) -> str:
    if not all(_PART.fullmatch(part) for part in path.split("/")):
        raise ValueError("is not a plain path inside a folder")
    return path


class ClearFile(Strict):
    """One file of the checkpoint."""

    bytes: Count
    path: Annotated[str, AfterValidator(_inside)]
    sha256: Hex


class Header(Strict):
    """What a sealed file says of itself to everybody."""

    batch: Annotated[str, Field(pattern=f"^{NAME}$")]  # whose purge sealed it
    checkpoint: Hex  # of the folder, as the model's history names it
    chunk_bytes: Annotated[int, Field(ge=1, le=2**24)]
    expires_at: Time
    files: Annotated[list[ClearFile], Field(min_length=1)]
    model: Annotated[str, Field(pattern=f"^{NAME}$")]
    recipient: Hex  # id of the officer's key
    schema_: Annotated[Literal["sealed-checkpoint/1"], Field(alias="schema")]
    sealed_at: Time

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if self.checkpoint != digests.of_listing([FileDigest(one.path, one.sha256, one.bytes) for one in self.files]):
            raise ValueError("checkpoint is not the digest of the files")
        if len({one.path for one in self.files}) != len(self.files):
            raise ValueError("a path comes twice")
        return self

    @property
    def clear_bytes(self) -> int:
        """Size of the checkpoint."""
        return sum(one.bytes for one in self.files)

    @property
    def chunks(self) -> int:
        """How many there are: one at least, the last of which may be shorter."""
        return max(1, -(-self.clear_bytes // self.chunk_bytes))


def described(found: list[FileDigest], **said: str | int) -> Header:
    """The header of a checkpoint with these files; `said` are its other fields. Raises EvidenceError."""
    tree = {
        "schema": "sealed-checkpoint/1",
        "checkpoint": digests.of_listing(found),
        "chunk_bytes": CHUNK_BYTES,
        "files": [asdict(one) for one in found],
    }
    try:
        return Header.model_validate({**tree, **said})
    except ValidationError as error:
        raise EvidenceError(f"a checkpoint cannot be sealed: {_first(error)}") from None


def seal(out: BinaryIO, folder: Path, header: Header, public: bytes) -> None:
    """Write a folder's files, sealed to the key with these 32 public bytes, whose id is `header.recipient`.

    Raises EvidenceError where a file is not, or no longer, what the header says of it.
    """
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    if header.recipient != trust.key_id(public):
        raise EvidenceError(
            f"a checkpoint is sealed to key {trust.key_id(public)[:12]}, which its header does not name"
        )
    said, key = _spelled(header), secrets.token_bytes(_KEY_BYTES)
    front = said + _suite().encrypt(key, X25519PublicKey.from_public_bytes(public), said)
    out.write(front)
    cipher, about = AESGCM(key), hashlib.sha256(front).digest()
    for place, (clear, last) in enumerate(_chunks(_content(folder, header), header.chunk_bytes)):
        out.write(cipher.encrypt(nonce(place, last), clear, about))


def header_of(file: BinaryIO, where: Path) -> Header:
    """What a sealed file says of itself; the file stands behind it then. Raises EvidenceError.

    Nothing of it is proven before the file is opened; that it is all there is.
    """
    front = file.read(len(MAGIC) + 4)
    size = int.from_bytes(front[-4:], "big")
    if front[:-4] != MAGIC or size > _MOST_HEADER_BYTES:
        raise EvidenceError(f"{where}: not a sealed checkpoint; restore it from a backup")
    try:
        header = Header.model_validate(canonical_text.read(file.read(size)))
    except (ValidationError, ValueError) as error:
        why = _first(error) if isinstance(error, ValidationError) else str(error)
        raise EvidenceError(
            f"{where}: its header is no sealed-checkpoint/1 ({why}); restore it from a backup"
        ) from None
    whole = len(front) + size + _WRAPPED_BYTES + header.clear_bytes + header.chunks * _TAG_BYTES
    if os.fstat(file.fileno()).st_size != whole:
        raise EvidenceError(f"{where}: not {whole} bytes long, as its header says; restore it from a backup")
    return header


def unseal(file: BinaryIO, where: Path, private: X25519PrivateKey, folder: Path) -> None:
    """Write the clear files below an empty folder, each for its owner alone, as chunk after chunk proves whole.

    Raises EvidenceError for another key, and for a file that was changed anywhere: what stands in the folder then is
    the caller's to remove.
    """
    file.seek(0)
    header = header_of(file, where)
    require_recipient(header, private, where)
    clear, rest = _opened(file, where, private, header), b""
    for one in header.files:
        digest, missing = hashlib.sha256(), one.bytes
        path = folder / one.path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(path, FRESH, 0o600), "wb") as target:
            while missing:
                rest = rest or next(clear)
                piece, rest = rest[:missing], rest[missing:]
                target.write(piece)
                digest.update(piece)
                missing -= len(piece)
            target.flush()
            os.fsync(target.fileno())
        if digest.hexdigest() != one.sha256:
            raise EvidenceError(f"{where}: its {one.path} is not the one that was served; restore it from a backup")
    for _ in clear:  # of an empty checkpoint, the one empty chunk
        pass


def require_recipient(header: Header, private: X25519PrivateKey, where: Path) -> str:
    """The id of the key that it is sealed to. Raises EvidenceError where this is another."""
    own = trust.key_id(private.public_key().public_bytes_raw())
    if own != header.recipient:
        raise EvidenceError(f"{where}: sealed to key {header.recipient[:12]}; the one given is {own[:12]}")
    return own


def nonce(place: int, last: bool) -> bytes:
    """12 bytes: of the chunk with that number, from 0."""
    return place.to_bytes(11, "big") + bytes([last])


def _opened(file: BinaryIO, where: Path, private: X25519PrivateKey, header: Header) -> Iterator[bytes]:
    """The clear chunks; the file stands behind its header. Raises EvidenceError at the first that does not open."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    said, wrapped = _spelled(header), file.read(_WRAPPED_BYTES)
    about = hashlib.sha256(said + wrapped).digest()
    try:
        cipher = AESGCM(_suite().decrypt(wrapped, private, said))
        for place in range(header.chunks):
            sealed = file.read(header.chunk_bytes + _TAG_BYTES)
            yield cipher.decrypt(nonce(place, place == header.chunks - 1), sealed, about)
    except (InvalidTag, ValueError):
        raise EvidenceError(f"{where}: was changed since it was sealed; restore it from a backup") from None


def _content(folder: Path, header: Header) -> Iterator[bytes]:
    """The clear bytes, in pieces of a chunk at most."""
    for one in header.files:
        digest, size = hashlib.sha256(), 0
        with (folder / one.path).open("rb") as file:
            while piece := file.read(header.chunk_bytes):
                digest.update(piece)
                size += len(piece)
                yield piece
        if (digest.hexdigest(), size) != (one.sha256, one.bytes):
            raise EvidenceError(f"{folder / one.path}: was changed while it was sealed; purge again")


def _chunks(pieces: Iterator[bytes], size: int) -> Iterator[tuple[bytes, bool]]:
    """Chunks of `size` bytes, and whether it is the last; that one may be shorter, and of nothing it is empty."""
    held = b""
    for piece in pieces:
        held += piece
        while len(held) > size:  # not at equality: it may be the last
            yield held[:size], False
            held = held[size:]
    yield held, True


def _spelled(header: Header) -> bytes:
    """All that stands before the wrapped key."""
    text = canonical_text.write(header.model_dump(by_alias=True))
    return MAGIC + len(text).to_bytes(4, "big") + text


def _suite() -> Suite:
    from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

    return Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def _first(error: ValidationError) -> str:
    found = error.errors()[0]
    return f"{'.'.join(map(str, found['loc'])) or 'it'}: {found['msg']}"
