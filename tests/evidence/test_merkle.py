"""The tree against RFC 9162's own definition, the published roots, and every proof that is not one."""

from __future__ import annotations

import random
from collections.abc import Sequence
from hashlib import sha256

import pytest

from unlearning.evidence import merkle

# The leaves and roots that the Certificate Transparency project publishes with its reference implementation.
LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
SIZES = [*range(1, 34), 63, 64, 65, 100]


def mth(leaves: Sequence[bytes]) -> bytes:
    """Section 2.1.1, as it stands there."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    k = largest_power_below(len(leaves))
    return sha256(b"\x01" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def path(m: int, leaves: Sequence[bytes]) -> list[bytes]:
    """Section 2.1.3.1, as it stands there."""
    if len(leaves) == 1:
        return []
    k = largest_power_below(len(leaves))
    return [*path(m, leaves[:k]), mth(leaves[k:])] if m < k else [*path(m - k, leaves[k:]), mth(leaves[:k])]


def pair(i: int, leaves: Sequence[bytes]) -> list[bytes]:
    """Section 2 of the certificate's specification, as it stands there."""
    k = largest_power_below(len(leaves))
    if i + 1 < k:
        return [*pair(i, leaves[:k]), mth(leaves[k:])]
    if i >= k:
        return [*pair(i - k, leaves[k:]), mth(leaves[:k])]
    return [*path(k - 1, leaves[:k]), *path(0, leaves[k:])]


def subproof(m: int, leaves: Sequence[bytes], known: bool) -> list[bytes]:
    """Section 2.1.4.1, as it stands there."""
    if m == len(leaves):
        return [] if known else [mth(leaves)]
    k = largest_power_below(len(leaves))
    if m <= k:
        return [*subproof(m, leaves[:k], known), mth(leaves[k:])]
    return [*subproof(m - k, leaves[k:], False), mth(leaves[:k])]


def largest_power_below(n: int) -> int:
    k = 1
    while 2 * k < n:
        k *= 2
    return k


def some_leaves(size: int) -> list[bytes]:
    return [f"leaf {number}".encode() for number in range(size)]


@pytest.mark.parametrize("size", range(1, 9))
def test_the_published_roots(size: int) -> None:
    assert merkle.root([bytes.fromhex(leaf) for leaf in LEAVES[:size]]).hex() == ROOTS[size - 1]


def test_the_empty_tree_is_the_hash_of_nothing() -> None:
    assert merkle.root([]) == merkle.EMPTY == sha256(b"").digest()
    with pytest.raises(IndexError):
        merkle.Tree([]).path(0)


@pytest.mark.parametrize("size", SIZES)
def test_root_and_every_proof_are_the_definitions(size: int) -> None:
    leaves = some_leaves(size)
    tree = merkle.Tree(leaves)
    assert (tree.size, tree.root) == (size, mth(leaves))
    for at in range(size):
        assert tree.path(at) == path(at, leaves)
        assert len(tree.path(at)) == merkle.path_length(at, size)
        assert merkle.root_of_path(merkle.leaf(leaves[at]), at, size, tree.path(at)) == tree.root
    for at in range(size - 1):
        assert tree.pair(at) == pair(at, leaves)
        pair_of = merkle.leaf(leaves[at]), merkle.leaf(leaves[at + 1])
        assert merkle.root_of_pair(*pair_of, at, size, tree.pair(at)) == tree.root
    for earlier in range(1, size + 1):
        assert tree.consistency(earlier) == subproof(earlier, leaves, True)
        assert merkle.continues(earlier, mth(leaves[:earlier]), size, tree.root, tree.consistency(earlier))


@pytest.mark.parametrize("at", [-1, 5])
def test_a_leaf_that_is_not_there_has_no_proof(at: int) -> None:
    tree = merkle.Tree(some_leaves(5))
    with pytest.raises(IndexError, match=f"leaf {at} of a tree of 5"):
        tree.path(at)
    with pytest.raises(IndexError):
        tree.pair(4)
    with pytest.raises(IndexError):
        tree.consistency(at + 1)


@pytest.mark.parametrize("size", [2, 3, 7, 8, 13])
def test_no_other_path_leads_to_the_root(size: int) -> None:
    leaves, tree = some_leaves(size), merkle.Tree(some_leaves(size))
    for at in range(size):
        hashed, proof = merkle.leaf(leaves[at]), tree.path(at)
        for other in range(-1, size + 2):
            if other != at:
                assert merkle.root_of_path(hashed, other, size, proof) != tree.root
        for wrong in altered(proof):
            assert merkle.root_of_path(hashed, at, size, wrong) != tree.root
        assert merkle.root_of_path(merkle.leaf(b"another"), at, size, proof) != tree.root


@pytest.mark.parametrize("size", [2, 3, 7, 8, 13])
def test_no_other_pair_leads_to_the_root(size: int) -> None:
    leaves, tree = some_leaves(size), merkle.Tree(some_leaves(size))
    hashed = [merkle.leaf(leaf) for leaf in leaves]
    for at in range(size - 1):
        proof = tree.pair(at)
        for left in range(size):
            for right in range(size):
                for place in range(-1, size + 1):
                    holds = merkle.root_of_pair(hashed[left], hashed[right], place, size, proof) == tree.root
                    assert holds == ((left, right, place) == (at, at + 1, at))
        for wrong in altered(proof):
            assert merkle.root_of_pair(hashed[at], hashed[at + 1], at, size, wrong) != tree.root


@pytest.mark.parametrize("size", [1, 2, 5, 8, 13])
def test_a_log_that_was_rewritten_continues_nothing(size: int) -> None:
    tree = merkle.Tree(some_leaves(size))
    for earlier in range(1, size + 1):
        before, proof = mth(some_leaves(earlier)), tree.consistency(earlier)
        for wrong in altered(proof):
            assert not merkle.continues(earlier, before, size, tree.root, wrong)
        for other in range(-1, size + 3):
            if other != earlier:
                assert not merkle.continues(other, before, size, tree.root, proof)
        assert not merkle.continues(earlier, mth([b"x", *some_leaves(earlier)[1:]]), size, tree.root, proof)
        assert not merkle.continues(earlier, before, size, mth([*some_leaves(size), b"x"]), proof)
    assert not merkle.continues(3, mth(some_leaves(3)), 2, mth(some_leaves(2)), [])
    assert not merkle.continues(0, merkle.EMPTY, size, tree.root, [])


def test_what_is_no_hash_is_no_node() -> None:
    """Two nodes of 31 and 33 bytes, cut where the right ones meet, would hash to the right root."""
    leaves = some_leaves(4)
    tree, hashed = merkle.Tree(leaves), [merkle.leaf(leaf) for leaf in leaves]
    first, second = hashed[0] + hashed[1][:1], hashed[1][1:]
    assert merkle.node(first, second) == merkle.node(hashed[0], hashed[1])
    above = tree.path(0)[1]
    assert merkle.root_of_path(first, 0, 4, [second, above]) is None
    assert merkle.root_of_pair(first, second, 0, 4, [above]) is None
    assert merkle.root_of_pair(hashed[0], hashed[1], 0, 4, [above + b"x"]) is None
    assert merkle.root_of_path(b"", 0, 1, []) is None
    assert merkle.root_of_path(hashed[0], 0, 2, [hashed[1] + b"x"]) is None
    assert not merkle.continues(1, b"", 2, merkle.node(b"", hashed[0]), [hashed[0]])


def altered(proof: list[bytes]) -> list[list[bytes]]:
    """Proofs of one node more, one less, two in another order, one with a bit changed."""
    rng = random.Random(len(proof))
    others = [[*proof, bytes(32)], [bytes(32), *proof]]
    for at in range(len(proof)):
        changed = bytearray(proof[at])
        changed[rng.randrange(32)] ^= 1 << rng.randrange(8)
        others += [proof[:at] + proof[at + 1 :], [*proof[:at], bytes(changed), *proof[at + 1 :]]]
        others += [[*proof[:at], proof[at + 1], proof[at], *proof[at + 2 :]]] if at + 1 < len(proof) else []
    return others
