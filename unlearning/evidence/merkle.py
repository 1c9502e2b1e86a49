"""Merkle trees of RFC 9162, section 2.1, byte for byte, with one proof more: of two neighbours at once.

    MTH([]) = SHA256("")    MTH([d]) = SHA256(0x00 || d)    MTH(D) = SHA256(0x01 || MTH(D[0:k]) || MTH(D[k:n]))

k is the largest power of two below n. Level by level, where an odd last node moves up as it is, gives the same tree.
Hashes and nodes are 32 bytes; `at` is the index of a leaf, `size` how many leaves there are. The place says how many
nodes a proof has: one with another number is none. (infra/decisions/certificate-spec.md, section 2)
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from hashlib import sha256

SIZE = 32  # bytes of a hash
EMPTY = sha256(b"").digest()


def leaf(data: bytes) -> bytes:
    """The hash of one leaf."""
    return sha256(b"\x00" + data).digest()


def node(left: bytes, right: bytes) -> bytes:
    """The hash of two nodes."""
    return sha256(b"\x01" + left + right).digest()


class Tree:
    """The tree over some leaves: 64 bytes a leaf."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        self.size = len(leaves)
        self._leaves = leaves

    @cached_property
    def root(self) -> bytes:
        """MTH of all leaves."""
        return self._levels[-1] or EMPTY

    def path(self, at: int) -> list[bytes]:
        """The inclusion proof of one leaf, section 2.1.3.1, deepest node first. Raises IndexError beyond the leaves."""
        self._within(at)
        return self._upward(at, 0)

    def pair(self, at: int) -> list[bytes]:
        """One proof that leaves `at` and `at + 1` stand side by side: what is left of them, right of them, above."""
        self._within(at)
        self._within(at + 1)
        left, right, height, low = list[bytes](), list[bytes](), 0, at
        while low % 2:  # not yet two children of one node
            left.append(self._node(height, low - 1))
            if low + 2 < self._width(height):
                right.append(self._node(height, low + 2))
            low, height = low // 2, height + 1
        return [*left, *right, *self._upward(low // 2, height + 1)]

    def consistency(self, earlier: int) -> list[bytes]:
        """That the tree continues its own first `earlier` leaves, section 2.1.4.1. Raises IndexError beyond them."""
        self._within(earlier - 1)
        return self._continued(earlier, 0, self.size, known=True)

    def _continued(self, earlier: int, low: int, high: int, known: bool) -> list[bytes]:
        """SUBPROOF of leaves low to high; `known`: the reader has their root already."""
        if low + earlier == high:
            return [] if known else [self._range(low, high)]
        k = _split(high - low)
        if earlier <= k:
            return [*self._continued(earlier, low, low + k, known), self._range(low + k, high)]
        return [*self._continued(earlier - k, low + k, high, known=False), self._range(low, low + k)]

    def _upward(self, at: int, height: int) -> list[bytes]:
        found = list[bytes]()
        for level in range(height, len(self._levels) - 1):
            if at ^ 1 < self._width(level):
                found.append(self._node(level, at ^ 1))
            at //= 2
        return found

    def _range(self, low: int, high: int) -> bytes:
        height = (high - low - 1).bit_length()
        return self._node(height, low >> height)

    def _node(self, height: int, at: int) -> bytes:
        return self._levels[height][SIZE * at : SIZE * at + SIZE]

    def _width(self, height: int) -> int:
        return len(self._levels[height]) // SIZE

    def _within(self, at: int) -> None:
        if not 0 <= at < self.size:
            raise IndexError(f"leaf {at} of a tree of {self.size}")

    @cached_property
    def _levels(self) -> list[bytes]:
        """Every level's hashes, joined: leaves first, the root last."""
        levels = [b"".join([sha256(b"\x00" + data).digest() for data in self._leaves])]
        while len(levels[-1]) > SIZE:
            below = levels[-1]
            whole = len(below) - len(below) % (2 * SIZE)
            pairs = [sha256(b"\x01" + below[i : i + 2 * SIZE]).digest() for i in range(0, whole, 2 * SIZE)]
            levels.append(b"".join(pairs) + below[whole:])
        return levels


def root(leaves: Sequence[bytes]) -> bytes:
    """MTH of some leaves."""
    return Tree(leaves).root


def root_of_path(hashed: bytes, at: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """The root that an inclusion proof leads to from a leaf's hash; None if it is no proof of that place."""
    if not 0 <= at < size or len(path) != path_length(at, size) or not _whole(hashed, *path):
        return None
    last = size - 1
    for above in path:
        while not at % 2 and at == last:  # an odd last node: it moves up as it is
            at, last = at // 2, last // 2
        hashed = node(above, hashed) if at % 2 else node(hashed, above)
        at, last = at // 2, last // 2
    return hashed


def root_of_pair(left: bytes, right: bytes, at: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """The root that the proof of two neighbours leads to from their leaves' hashes; None if it is no such proof."""
    if not 0 <= at < size - 1 or not _whole(left, right, *path):
        return None
    k = _split(size)
    if at + 1 == k:
        cut = path_length(at, k)
        below = root_of_path(left, at, k, path[:cut]), root_of_path(right, 0, size - k, path[cut:])
        return None if below[0] is None or below[1] is None else node(below[0], below[1])
    if not path:
        return None
    if at + 1 < k:
        within = root_of_pair(left, right, at, k, path[:-1])
        return None if within is None else node(within, path[-1])
    within = root_of_pair(left, right, at - k, size - k, path[:-1])
    return None if within is None else node(path[-1], within)


def continues(earlier: int, earlier_root: bytes, size: int, root: bytes, path: Sequence[bytes]) -> bool:
    """Whether a tree of `size` leaves continues one of `earlier` leaves, section 2.1.4.2. Nothing continues nothing."""
    if earlier == size >= 1:
        return not path and earlier_root == root
    if not 1 <= earlier < size or not _whole(earlier_root, *path):  # the other root is compared, not hashed
        return False
    proof = list(path) if earlier & (earlier - 1) else [earlier_root, *path]
    if not proof:
        return False
    at, last = earlier - 1, size - 1
    while at % 2:
        at, last = at // 2, last // 2
    old = new = proof[0]
    for above in proof[1:]:
        if last == 0:
            return False
        if at % 2 or at == last:
            old, new = node(above, old), node(above, new)
            while at and not at % 2:
                at, last = at // 2, last // 2
        else:
            new = node(new, above)
        at, last = at // 2, last // 2
    return last == 0 and old == earlier_root and new == root


def path_length(at: int, size: int) -> int:
    """How many nodes the inclusion proof of a leaf has."""
    length = 0
    while size > 1:
        k = _split(size)
        at, size = (at, k) if at < k else (at - k, size - k)
        length += 1
    return length


def _whole(*hashes: bytes) -> bool:
    """Whether each is a hash: of other lengths, two nodes could be cut in another place and hash the same."""
    return all(len(one) == SIZE for one in hashes)


def _split(size: int) -> int:
    """The largest power of two below `size`, which is 2 or more."""
    return 1 << (size - 1).bit_length() - 1
