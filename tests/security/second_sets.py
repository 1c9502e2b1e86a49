"""Trees, tokens, sets and a person's proofs, written from infra/decisions/certificate-spec.md alone.

They share no code with unlearning.evidence: a misreading there is not repeated here. Every tree and path is made in the
direction the specification defines it; the verifier reads them backwards.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Sequence
from typing import Any

DATASET_KEY = bytes(range(32))
IMAGES = {f"img-{number}": b"image %d" % number for number in range(7)}  # stored bytes by the sample's key
FORGOTTEN = ("img-1", "img-4")
BATCH = "2026-11-a"


def sha(data: bytes) -> bytes:
    """SHA-256."""
    return hashlib.sha256(data).digest()


def digest(text: str) -> str:
    """Some digest, a different one for every text."""
    return sha(text.encode()).hex()


def canonical(value: Any) -> bytes:
    """RFC 8785, of values without fractions."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def split(size: int) -> int:
    """The largest power of two below size."""
    k = 1
    while 2 * k < size:
        k *= 2
    return k


def tree(data: Sequence[bytes]) -> bytes:
    """MTH."""
    if len(data) < 2:
        return sha(b"\x00" + data[0]) if data else sha(b"")
    k = split(len(data))
    return sha(b"\x01" + tree(data[:k]) + tree(data[k:]))


def path(at: int, data: Sequence[bytes]) -> bytes:
    """PATH(at, data), its nodes joined."""
    if len(data) == 1:
        return b""
    k = split(len(data))
    return path(at, data[:k]) + tree(data[k:]) if at < k else path(at - k, data[k:]) + tree(data[:k])


def pair(at: int, data: Sequence[bytes]) -> bytes:
    """PAIR(at, data), its nodes joined."""
    k = split(len(data))
    if at + 1 == k:
        return path(k - 1, data[:k]) + path(0, data[k:])
    return pair(at, data[:k]) + tree(data[k:]) if at + 1 < k else pair(at - k, data[k:]) + tree(data[:k])


def salted(kind: str, content: bytes) -> tuple[bytes, bytes, bytes]:
    """m, salt and token of an image's bytes or a sample's key."""
    m, name = sha(content), f"unlearning/{kind}/1".encode()
    salt = hmac.digest(DATASET_KEY, name + m, "sha256")
    return m, salt, sha(name + salt + m)


def tokens(kind: str, contents: Sequence[bytes]) -> list[bytes]:
    """A set."""
    return sorted({salted(kind, one)[2] for one in contents})


SETS = {
    "dataset": tokens("content", list(IMAGES.values())),
    "dataset_keys": tokens("key", [key.encode() for key in IMAGES]),
    "forget": tokens("content", [IMAGES[key] for key in FORGOTTEN]),
    "retain": tokens("content", [content for key, content in IMAGES.items() if key not in FORGOTTEN]),
}


def proof(kind: str, content: bytes, sets: Sequence[str], of: dict[str, list[bytes]] | None = None) -> dict[str, Any]:
    """A subject's proof about these sets: of a member or of none, as it is."""
    m, salt, token = salted(kind, content)
    entries = [entry(which, (of or SETS)[which], token) for which in sets]
    head = {"schema": "subject-proof/1", "batch": BATCH, "kind": kind, "salt": salt.hex(), "sha256": m.hex()}
    return {**head, "sets": entries}


def entry(which: str, data: list[bytes], token: bytes) -> dict[str, Any]:
    """What a proof says of one set."""
    place = {"set": which, "size": len(data), "root": tree(data).hex()}
    if token in data:
        at = data.index(token)
        return {**place, "member": True, "at": at, "path": base64.b64encode(path(at, data)).decode()}
    at = sum(one < token for one in data) - 1
    left, right = (data[at].hex() if at >= 0 else None), (data[at + 1].hex() if at + 1 < len(data) else None)
    nodes = pair(at, data) if left and right else path(max(at, 0), data) if data else b""
    return {**place, "member": False, "at": at, "left": left, "right": right, "path": base64.b64encode(nodes).decode()}
