"""What one person is given to check: that their image is in one set and not in another, and nothing else.

The file is `subject-proof/1` of infra/decisions/certificate-spec.md, section 4. A proof is about the roots of a
certificate: it is checked against these, never against what it says of itself.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, TypeAdapter, ValidationError

from unlearning.errors import EvidenceError
from unlearning.evidence import canonical_text, commitment, merkle
from unlearning.evidence.commitment import Committed, Kind
from unlearning.evidence.provenance import Code, Count, Strict
from unlearning.evidence.trust import Hex

SCHEMA: Literal["subject-proof/1"] = "subject-proof/1"
MOST_BYTES = 64 * 1024
Root: TypeAlias = tuple[int, bytes]  # size and root of a set, as a certificate states them
KINDS: dict[str, Kind] = {"dataset": "content", "dataset_keys": "key", "forget": "content", "retain": "content"}


class _Entry(Strict):
    set: Literal["dataset", "dataset_keys", "forget", "retain"]
    size: Count
    root: Hex
    path: str


class Member(_Entry):
    """The token is the set's leaf `at`."""

    member: Literal[True]
    at: Count


class Absent(_Entry):
    """The token would stand right of leaf `at`, between two neighbours, and does not."""

    member: Literal[False]
    at: Annotated[int, Field(ge=-1)]
    left: Hex | None
    right: Hex | None


class Proof(Strict):
    """The whole file."""

    schema_: Annotated[Literal["subject-proof/1"], Field(alias="schema")]
    batch: Code
    kind: Kind
    salt: Hex
    sha256: Hex  # m: of the image's stored bytes, or of the key's
    sets: Annotated[tuple[Member | Absent, ...], Field(strict=False, min_length=1)]


def write(batch: str, key: bytes, kind: Kind, digest: bytes, sets: Mapping[str, Committed]) -> bytes:
    """The file about one image, or one sample's key, in some sets, by name. One spelling."""
    salt = commitment.salt(key, kind, digest)
    token = commitment.token(kind, salt, digest)
    said = {
        "schema": SCHEMA,
        "batch": batch,
        "kind": kind,
        "salt": salt.hex(),
        "sha256": digest.hex(),
        "sets": [_entry(name, committed, token) for name, committed in sets.items()],
    }
    return canonical_text.write(said) + b"\n"


def read(text: bytes, where: str) -> Proof:
    """The proof in a file. Raises EvidenceError for any spelling but the one."""
    try:
        if len(text) > MOST_BYTES or not text.endswith(b"\n"):
            raise ValueError(f"at most {MOST_BYTES} bytes that end in a line feed")
        found = _PROOF.validate_python(canonical_text.read(text[:-1]))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        raise EvidenceError(f"{where}: not a {SCHEMA} ({place}: {first['msg']})") from None
    except ValueError as error:
        raise EvidenceError(f"{where}: not a {SCHEMA} ({error})") from None
    names = [entry.set for entry in found.sets]
    if len(set(names)) < len(names) or any(KINDS[name] != found.kind for name in names):
        raise EvidenceError(f"{where}: each set once, and sets of {found.kind} tokens only, are right")
    return found


def problems(proof: Proof, roots: Mapping[str, Root], content: bytes | None = None) -> list[str]:
    """What does not hold, one sentence each; none where the proof holds.

    roots    size and root of every set that the certificate commits to
    content  the image (or UTF-8 of the key) that whoever checks holds; None leaves unchecked whose proof it is
    """
    digest = bytes.fromhex(proof.sha256)
    token = commitment.token(proof.kind, bytes.fromhex(proof.salt), digest)
    found = list[str]()
    if content is not None and hashlib.sha256(content).digest() != digest:
        found.append("the proof is about other bytes than these")
    for entry in proof.sets:
        if roots.get(entry.set) != (entry.size, bytes.fromhex(entry.root)):
            found.append(f"{entry.set}: the certificate commits to another set")
        elif not _holds(entry, token):
            claim = "is in it" if entry.member else "is not in it"
            found.append(f"{entry.set}: the proof does not show that the image {claim}")
    return found


def _entry(name: str, committed: Committed, token: bytes) -> dict[str, object]:
    tree, place = committed.tree, committed.place(token)
    said: dict[str, object] = {"set": name, "size": committed.size, "root": committed.root.hex()}
    if committed.holds(token):
        return {**said, "member": True, "at": place, "path": _joined(tree.path(place))}
    left, right = place > 0, place < committed.size
    path = tree.pair(place - 1) if left and right else tree.path(place - left) if left or right else []
    return {
        **said,
        "member": False,
        "at": place - 1,
        "left": committed.tokens[place - 1].hex() if left else None,
        "right": committed.tokens[place].hex() if right else None,
        "path": _joined(path),
    }


def _holds(entry: Member | Absent, token: bytes) -> bool:
    path = _nodes(entry.path)
    if path is None:
        return False
    if isinstance(entry, Member):
        return merkle.root_of_path(merkle.leaf(token), entry.at, entry.size, path) == bytes.fromhex(entry.root)
    return _outside(entry, token, path)


def _outside(entry: Absent, token: bytes, path: Sequence[bytes]) -> bool:
    """Whether the two neighbours, or the one at an end, or the empty set, leave the token no place."""
    root, size, at = bytes.fromhex(entry.root), entry.size, entry.at
    left, right = (None if one is None else bytes.fromhex(one) for one in (entry.left, entry.right))
    if left is not None and right is not None:
        between = left < token < right
        return between and merkle.root_of_pair(merkle.leaf(left), merkle.leaf(right), at, size, path) == root
    if right is not None:
        return at == -1 and token < right and merkle.root_of_path(merkle.leaf(right), 0, size, path) == root
    if left is not None:
        last = at == size - 1 and left < token
        return last and merkle.root_of_path(merkle.leaf(left), at, size, path) == root
    return at == -1 and size == 0 and not path and root == merkle.EMPTY


def _joined(path: Sequence[bytes]) -> str:
    return base64.b64encode(b"".join(path)).decode()


def _nodes(path: str) -> list[bytes] | None:
    """The nodes of a path in its one spelling; None for any other."""
    try:
        joined = canonical_text.from_base64(path)
    except ValueError:
        return None
    if len(joined) % merkle.SIZE:
        return None
    return [joined[i : i + merkle.SIZE] for i in range(0, len(joined), merkle.SIZE)]


_PROOF = TypeAdapter(Proof)
