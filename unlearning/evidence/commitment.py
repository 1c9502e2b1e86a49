"""Saying which images a set holds, without a word about any image.

    m     = SHA256(stored bytes of the image), or of a sample's key
    salt  = HMAC-SHA256(K, kind || m)
    token = SHA256(kind || salt || m)

A set is its distinct tokens, sorted; its root is their Merkle tree's. K stays with the privacy officer. Whoever is
told the salt of their own image computes its token from the bytes they hold, and learns nothing of another; whoever is
not cannot tell one image from another by its token. Under one K an image has one token whatever its key, so that one
kept under a second name is found out. (infra/decisions/certificate-spec.md, section 3)
"""

from __future__ import annotations

import hmac
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Literal, TypeAlias

from unlearning import files
from unlearning.errors import EvidenceError
from unlearning.evidence import merkle

Kind: TypeAlias = Literal["content", "key"]

SIZE = 32  # bytes of a data set's key, a digest, a salt and a token
_DOMAIN: dict[Kind, bytes] = {"content": b"unlearning/content/1", "key": b"unlearning/key/1"}


@dataclass(frozen=True)
class Committed:
    """A set, by its tokens."""

    kind: Kind
    key_id: str
    tokens: Sequence[bytes]  # sorted, distinct, 32 bytes each

    @property
    def size(self) -> int:
        """How many tokens: images of equal bytes count once."""
        return len(self.tokens)

    @property
    def root(self) -> bytes:
        """MTH of the tokens, 32 bytes."""
        return self.tree.root

    @cached_property
    def tree(self) -> merkle.Tree:
        """The tree over them."""
        return merkle.Tree(self.tokens)

    def place(self, token: bytes) -> int:
        """Where a token stands, or would stand."""
        return bisect_left(self.tokens, token)

    def holds(self, token: bytes) -> bool:
        """Whether it is one of them."""
        at = self.place(token)
        return at < len(self.tokens) and self.tokens[at] == token


def key_id(key: bytes) -> str:
    """The name of a data set's key, hex: it says nothing about the key."""
    return sha256(b"unlearning/dataset-key/1" + key).hexdigest()


def salt(key: bytes, kind: Kind, digest: bytes) -> bytes:
    """What the person whose image it is is told."""
    return hmac.digest(key, _DOMAIN[kind] + digest, "sha256")


def token(kind: Kind, salt: bytes, digest: bytes) -> bytes:
    """What stands in a tree for an image, or for a sample's key."""
    return sha256(_DOMAIN[kind] + salt + digest).digest()


def of(key: bytes, kind: Kind, digests: Iterable[bytes]) -> Committed:
    """The set of some digests (m above, 32 bytes each). Raises EvidenceError for a key that is not 32 bytes."""
    if len(key) != SIZE:
        raise EvidenceError(f"the key of a data set has {len(key)} bytes; {SIZE} random bytes are right")
    domain = _DOMAIN[kind]
    tokens = sorted(
        sha256(domain + hmac.digest(key, domain + digest, "sha256") + digest).digest() for digest in set(digests)
    )
    return Committed(kind, key_id(key), tokens)


def kept(folder: Path, source: str, key: bytes, kind: Kind, digests: Callable[[], Iterable[bytes]]) -> Committed:
    """The set of a data set's version, from its file of tokens where there is one; else it is computed and kept.

    source   sha256 of what the digests are read from, hex
    digests  asked for only if they are needed
    The file stays when images are purged: a proof about that version can still be made, and it says nothing without K.
    Raises EvidenceError if the file is not a list of tokens.
    """
    found = stored(folder, source, key, kind)
    if found is None:
        found = of(key, kind, digests())
        files.write_bytes(_file(folder, source, key, kind), b"".join(found.tokens))
    return found


def stored(folder: Path, source: str, key: bytes, kind: Kind) -> Committed | None:
    """The set of a version whose tokens were kept; None where they were not. Raises EvidenceError as `kept` does."""
    path = _file(folder, source, key, kind)
    if not path.is_file():
        return None
    joined = path.read_bytes()
    tokens = [joined[i : i + SIZE] for i in range(0, len(joined), SIZE)]
    if len(joined) % SIZE or any(one >= other for one, other in pairwise(tokens)):
        raise EvidenceError(f"{path}: not a sorted list of tokens; delete it, it is made again from the data set")
    return Committed(kind, key_id(key), tokens)


def _file(folder: Path, source: str, key: bytes, kind: Kind) -> Path:
    return folder / f"{source}.{kind}.{key_id(key)[:16]}.tokens"
