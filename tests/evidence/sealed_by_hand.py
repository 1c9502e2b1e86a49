"""Sealed checkpoints opened, and made, from primitives alone: RFC 9180 and STREAM written out a second time."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

MAGIC = b"unlearning/sealed-checkpoint/1\n"
_KEM = b"KEM" + (0x0020).to_bytes(2, "big")  # DHKEM(X25519, HKDF-SHA256)
_SUITE = b"HPKE" + b"".join(number.to_bytes(2, "big") for number in (0x0020, 0x0001, 0x0002))  # with AES-256-GCM


@dataclass(frozen=True)
class Cut:
    """A sealed file, cut where its parts meet."""

    front: bytes  # magic, length, header
    wrapped: bytes
    chunks: list[bytes]

    @property
    def header(self) -> dict[str, object]:
        return dict(json.loads(self.front[len(MAGIC) + 4 :]))


def cut(content: bytes, chunk_bytes: int) -> Cut:
    start = len(MAGIC) + 4
    end = start + int.from_bytes(content[len(MAGIC) : start], "big")
    body = content[end + 80 :]
    size = chunk_bytes + 16
    return Cut(content[:end], content[end : end + 80], [body[at : at + size] for at in range(0, len(body), size)])


def opened(content: bytes, private: X25519PrivateKey, chunk_bytes: int) -> bytes:
    """The clear bytes."""
    parts = cut(content, chunk_bytes)
    key = _unwrapped(parts.wrapped, private, parts.front)
    about = hashlib.sha256(parts.front + parts.wrapped).digest()
    last = len(parts.chunks) - 1
    return b"".join(AESGCM(key).decrypt(_nonce(i, i == last), one, about) for i, one in enumerate(parts.chunks))


def made(
    header: dict[str, object], clear: bytes, public: X25519PublicKey, chunk_bytes: int, ends: bool = True
) -> bytes:
    """A sealed file of these bytes, whatever the header says of them.

    ends  False: its chunks are the first ones of something longer
    """
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    front = MAGIC + len(text).to_bytes(4, "big") + text
    key = hashlib.sha256(b"a content key").digest()
    wrapped = _wrapped(key, public, front)
    about = hashlib.sha256(front + wrapped).digest()
    chunks = [clear[at : at + chunk_bytes] for at in range(0, len(clear), chunk_bytes)] or [b""]
    sealed = [AESGCM(key).encrypt(_nonce(i, ends and i == len(chunks) - 1), one, about) for i, one in enumerate(chunks)]
    return front + wrapped + b"".join(sealed)


def _nonce(place: int, last: bool) -> bytes:
    return bytes(3) + place.to_bytes(8, "big") + (b"\x01" if last else b"\x00")


def _wrapped(key: bytes, public: X25519PublicKey, info: bytes) -> bytes:
    ephemeral = X25519PrivateKey.from_private_bytes(hashlib.sha256(b"a fresh key").digest())
    enc = ephemeral.public_key().public_bytes_raw()
    agreed = _agreed(ephemeral.exchange(public), enc + public.public_bytes_raw())
    secret, nonce = _schedule(agreed, info)
    return enc + AESGCM(secret).encrypt(nonce, key, b"")


def _unwrapped(wrapped: bytes, private: X25519PrivateKey, info: bytes) -> bytes:
    enc, sealed = wrapped[:32], wrapped[32:]
    shared = private.exchange(X25519PublicKey.from_public_bytes(enc))
    secret, nonce = _schedule(_agreed(shared, enc + private.public_key().public_bytes_raw()), info)
    return AESGCM(secret).decrypt(nonce, sealed, b"")


def _agreed(shared: bytes, context: bytes) -> bytes:
    """RFC 9180, section 4.1: ExtractAndExpand."""
    return _expand(_extract(b"", b"eae_prk", shared, _KEM), b"shared_secret", context, 32, _KEM)


def _schedule(agreed: bytes, info: bytes) -> tuple[bytes, bytes]:
    """Section 5.1: key and base nonce of the base mode; its first message has that nonce."""
    context = b"\x00" + _extract(b"", b"psk_id_hash", b"", _SUITE) + _extract(b"", b"info_hash", info, _SUITE)
    secret = _extract(agreed, b"secret", b"", _SUITE)
    return _expand(secret, b"key", context, 32, _SUITE), _expand(secret, b"base_nonce", context, 12, _SUITE)


def _extract(salt: bytes, label: bytes, material: bytes, suite: bytes) -> bytes:
    return HKDF.extract(hashes.SHA256(), salt or None, b"HPKE-v1" + suite + label + material)


def _expand(secret: bytes, label: bytes, info: bytes, size: int, suite: bytes) -> bytes:
    labelled = size.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    return HKDFExpand(hashes.SHA256(), size, labelled).derive(secret)
