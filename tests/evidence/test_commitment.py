"""Sets of tokens, the file that one person is given, and everything that must not pass for it."""

from __future__ import annotations

import base64
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from unlearning.errors import EvidenceError
from unlearning.evidence import canonical_text, commitment, merkle, proofs

K = bytes(range(32))
IMAGES = [f"picture {number}".encode() for number in range(40)]
DIGESTS = [sha256(image).digest() for image in IMAGES]


def held(*numbers: int) -> commitment.Committed:
    return commitment.of(K, "content", [DIGESTS[number] for number in numbers])


def roots(**sets: commitment.Committed) -> dict[str, proofs.Root]:
    return {name: (one.size, one.root) for name, one in sets.items()}


def proof_of(number: int, **sets: commitment.Committed) -> bytes:
    return proofs.write("b1", K, "content", DIGESTS[number], sets)


def test_a_token_by_hand() -> None:
    """The specification's formulas, once more in other words."""
    import hmac

    salt = hmac.new(K, b"unlearning/content/1" + DIGESTS[0], "sha256").digest()
    token = sha256(b"unlearning/content/1" + salt + DIGESTS[0]).digest()
    assert commitment.salt(K, "content", DIGESTS[0]) == salt
    assert held(0).tokens == [token]
    assert held(0).root == sha256(b"\x00" + token).digest()
    assert commitment.key_id(K) == sha256(b"unlearning/dataset-key/1" + K).hexdigest()


def test_an_image_under_two_names_is_one_leaf_and_the_order_does_not_matter() -> None:
    assert held(3, 1, 2, 1).tokens == held(1, 2, 3).tokens
    assert held(3, 1, 2, 1).size == 3
    assert held(1).holds(held(1).tokens[0])
    assert not held(1).holds(held(2).tokens[0])


def test_another_key_another_kind_gives_other_tokens() -> None:
    other = commitment.of(bytes(32), "content", DIGESTS)
    named = commitment.of(K, "key", DIGESTS)
    mine = commitment.of(K, "content", DIGESTS)
    assert not set(mine.tokens) & (set(other.tokens) | set(named.tokens))
    assert mine.key_id == named.key_id != other.key_id


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_short_key_is_refused(length: int) -> None:
    with pytest.raises(EvidenceError, match=f"has {length} bytes; 32"):
        commitment.of(bytes(length), "content", DIGESTS)


def test_tokens_are_kept_and_a_changed_file_is_noticed(tmp_path: Path) -> None:
    def never() -> list[bytes]:
        raise AssertionError("they are kept")

    first = commitment.kept(tmp_path, "a" * 64, K, "content", lambda: DIGESTS)
    again = commitment.kept(tmp_path, "a" * 64, K, "content", never)
    assert again == first == commitment.of(K, "content", DIGESTS)
    (path,) = tmp_path.iterdir()
    assert path.name == f"{'a' * 64}.content.{commitment.key_id(K)[:16]}.tokens"
    whole = path.read_bytes()
    for wrong in (whole[:-1], whole[32:64] + whole, whole[:32] + whole):
        path.write_bytes(wrong)
        with pytest.raises(EvidenceError, match="not a sorted list of tokens"):
            commitment.kept(tmp_path, "a" * 64, K, "content", never)


@pytest.mark.parametrize("size", [1, 2, 3, 8, 20])
def test_every_image_is_in_the_one_and_not_in_the_other(size: int) -> None:
    forget, retain = held(*range(size)), held(*range(20, 20 + size))
    said = roots(forget=forget, retain=retain)
    for number in range(size):
        proof = proofs.read(proof_of(number, forget=forget, retain=retain), "proof")
        assert [entry.member for entry in proof.sets] == [True, False]
        assert proofs.problems(proof, said, IMAGES[number]) == []
        assert proofs.problems(proof, said, IMAGES[number + 1]) == ["the proof is about other bytes than these"]


def test_absence_before_the_first_after_the_last_and_from_nothing() -> None:
    order = sorted(range(40), key=lambda number: held(number).tokens[0])
    middle = held(*order[10:30])
    kinds = set()
    for number in order[:10] + order[30:]:
        proof = proofs.read(proof_of(number, retain=middle), "proof")
        (entry,) = proof.sets
        assert isinstance(entry, proofs.Absent)
        kinds.add((entry.left is None, entry.right is None, entry.at))
        assert proofs.problems(proof, roots(retain=middle), IMAGES[number]) == []
    assert kinds == {(True, False, -1), (False, True, 19)}
    nothing = held()
    proof = proofs.read(proof_of(0, retain=nothing), "proof")
    assert proofs.problems(proof, roots(retain=nothing)) == []
    assert proofs.problems(proof, {"retain": (0, bytes(32))}) == ["retain: the certificate commits to another set"]


def test_a_proof_counts_only_for_the_sets_of_the_certificate() -> None:
    forget, retain = held(0, 1), held(2, 3)
    proof = proofs.read(proof_of(0, forget=forget, retain=retain), "proof")
    swapped = roots(forget=retain, retain=forget)
    assert proofs.problems(proof, swapped) == [
        "forget: the certificate commits to another set",
        "retain: the certificate commits to another set",
    ]
    assert proofs.problems(proof, {}) == proofs.problems(proof, swapped)
    assert proofs.problems(proof, {**roots(retain=retain), "forget": (3, forget.root)}) == [
        "forget: the certificate commits to another set"
    ]


def changed(text: bytes, number: int = 0, **fields: Any) -> bytes:
    tree = json.loads(text)
    tree["sets"][number].update(fields)
    return canonical_text.write(tree) + b"\n"


@pytest.mark.parametrize(
    "fields",
    [
        {"at": 3},
        {"at": -1},
        {"at": 2**40},
        {"path": ""},
        {"path": base64.b64encode(bytes(32 * 5)).decode()},
        {"path": base64.b64encode(bytes(31)).decode()},
        {"path": "AAA"},
        {"path": "not base64!"},
        {"path": "é"},
        {"left": None},
        {"right": None},
        {"left": None, "right": None},
        {"left": "0" * 64},
        {"right": "f" * 64},
    ],
)
def test_a_false_absence_is_not_shown(fields: dict[str, Any]) -> None:
    """Of an image that stands between two others, and one thing told wrong."""
    order = sorted(range(40), key=lambda number: held(number).tokens[0])
    retain = held(*order[:7], *order[8:15])
    text = changed(proof_of(order[7], retain=retain), **fields)
    assert proofs.problems(proofs.read(text, "proof"), roots(retain=retain)) == [
        "retain: the proof does not show that the image is not in it"
    ]


def test_a_member_cannot_be_shown_to_be_absent() -> None:
    """Every absence that could be told of an image that is there: neighbours left, right, around, at the ends."""
    order = sorted(range(12), key=lambda number: held(number).tokens[0])
    retain = held(*order)
    inside = order[5]
    tokens, tree = [token.hex() for token in retain.tokens], retain.tree
    template = json.loads(proof_of(30, retain=retain))
    template.update(json.loads(proof_of(inside, forget=held(inside))) | {"sets": template["sets"]})
    tried = [
        (4, tokens[4], tokens[5], tree.pair(4)),
        (5, tokens[5], tokens[6], tree.pair(5)),
        (4, tokens[4], tokens[6], tree.pair(4)),
        (-1, None, tokens[0], tree.path(0)),
        (11, tokens[11], None, tree.path(11)),
        (-1, None, None, []),
        (-1, None, tokens[6], tree.path(6)),
        (4, tokens[4], None, tree.path(4)),
    ]
    for at, left, right, path in tried:
        joined = base64.b64encode(b"".join(path)).decode()
        template["sets"][0].update(at=at, left=left, right=right, path=joined)
        text = canonical_text.write(template) + b"\n"
        assert proofs.problems(proofs.read(text, "proof"), roots(retain=retain), IMAGES[inside]) == [
            "retain: the proof does not show that the image is not in it"
        ]


@pytest.mark.parametrize("last", [False, True])
def test_the_image_at_an_end_is_no_neighbour_of_itself(last: bool) -> None:
    """Shown to be absent by its own leaf, right of nothing or left of nothing: everything but the order is right."""
    order = sorted(range(12), key=lambda number: held(number).tokens[0])
    retain, at = held(*order), 11 if last else 0
    token, path = retain.tokens[at].hex(), base64.b64encode(b"".join(retain.tree.path(at))).decode()
    tree = json.loads(proof_of(order[at], retain=retain))
    said = {"set": "retain", "size": 12, "root": retain.root.hex(), "member": False, "path": path}
    ends = {"at": 11, "left": token, "right": None} if last else {"at": -1, "left": None, "right": token}
    proof = proofs.read(canonical_text.write({**tree, "sets": [{**said, **ends}]}) + b"\n", "proof")
    assert proofs.problems(proof, roots(retain=retain)) == [
        "retain: the proof does not show that the image is not in it"
    ]


@pytest.mark.parametrize(
    ("at", "size", "root", "path"),
    [
        (0, 0, merkle.EMPTY, b""),
        (-1, 1, merkle.EMPTY, b""),
        (-1, 0, bytes(32), b""),
        (-1, 0, merkle.EMPTY, bytes(32)),
        (-1, 0, bytes(32), bytes(32)),
    ],
)
def test_only_the_empty_set_holds_nothing(at: int, size: int, root: bytes, path: bytes) -> None:
    said = {"at": at, "size": size, "root": root.hex(), "path": base64.b64encode(path).decode()}
    proof = proofs.read(changed(proof_of(0, retain=held()), **said), "proof")
    assert proofs.problems(proof, {"retain": (size, root)}) == [
        "retain: the proof does not show that the image is not in it"
    ]


@pytest.mark.parametrize("fields", [{"at": 1}, {"path": ""}, {"path": "AAAA"}, {"path": "!"}])
def test_a_false_membership_is_not_shown(fields: dict[str, Any]) -> None:
    forget = held(0, 1, 2)
    place = forget.place(held(0).tokens[0])
    text = changed(proof_of(0, forget=forget), **{**fields, **({"at": (place + 1) % 3} if "at" in fields else {})})
    assert proofs.problems(proofs.read(text, "proof"), roots(forget=forget)) == [
        "forget: the proof does not show that the image is in it"
    ]


def test_a_salt_of_another_image_shows_nothing() -> None:
    forget = held(0, 1, 2)
    tree = json.loads(proof_of(0, forget=forget))
    tree["salt"] = commitment.salt(K, "content", DIGESTS[1]).hex()
    proof = proofs.read(canonical_text.write(tree) + b"\n", "proof")
    assert proofs.problems(proof, roots(forget=forget), IMAGES[0])


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (lambda tree: tree.update(schema="subject-proof/2"), "schema"),
        (lambda tree: tree.update(more=1), "more"),
        (lambda tree: tree.pop("salt"), "salt"),
        (lambda tree: tree.update(salt="A" * 64), "salt"),
        (lambda tree: tree.update(batch="no spaces"), "batch"),
        (lambda tree: tree.update(sets=[]), "sets"),
        (lambda tree: tree["sets"].append(tree["sets"][0]), "each set once"),
        (lambda tree: tree["sets"][0].update(set="dataset_keys"), "sets of content tokens only"),
        (lambda tree: tree["sets"][0].update(at=True), "at"),
        (lambda tree: tree["sets"][0].update(size=-1), "size"),
        (lambda tree: tree["sets"][0].update(set="everything"), "set"),
    ],
)
def test_what_is_no_proof_is_refused_with_its_reason(wrong: Any, why: str) -> None:
    tree = json.loads(proof_of(0, forget=held(0, 1)))
    wrong(tree)
    with pytest.raises(EvidenceError, match=why):
        proofs.read(canonical_text.write(tree) + b"\n", "proof")


def test_a_proof_has_one_spelling() -> None:
    text = proof_of(0, forget=held(0, 1))
    tree = json.loads(text)
    for other in (text[:-1], text + b"\n", b" " + text, json.dumps(tree).encode() + b"\n", b"[" * 70000, b"\xff"):
        with pytest.raises(EvidenceError, match=r"^proof: "):
            proofs.read(other, "proof")
    with pytest.raises(EvidenceError, match=r"^proof: "):
        proofs.read(b"[" * 30000, "proof")
    size = r"not a subject-proof/1 \(at most 65536 bytes that end in a line feed\)$"
    longest = changed(text, path="A" * 4 * ((proofs.MOST_BYTES - len(changed(text, path=""))) // 4))
    padded = json.loads(longest)
    padded["batch"] += "b" * (proofs.MOST_BYTES - len(longest))
    longest = canonical_text.write(padded) + b"\n"
    assert len(longest) == proofs.MOST_BYTES
    assert proofs.read(longest, "proof").batch.startswith("b1")
    padded["batch"] += "b"
    for other in (canonical_text.write(padded) + b"\n", text[:-1], text.strip() + b" "):
        with pytest.raises(EvidenceError, match=size):
            proofs.read(other, "proof")


def test_a_key_that_is_not_there() -> None:
    """Of samples' names, for a request that found nothing."""
    names = [sha256(f"img-{number}".encode()).digest() for number in range(5)]
    stored = commitment.of(K, "key", names)
    text = proofs.write("b1", K, "key", sha256(b"img-9").digest(), {"dataset_keys": stored})
    assert proofs.problems(proofs.read(text, "proof"), roots(dataset_keys=stored), b"img-9") == []


def test_a_proof_in_a_million_is_small() -> None:
    """The length of a path is a function of the place: the longest that a million can have, without the million."""
    longest = max(merkle.path_length(at, 10**6) for at in (0, 2**19 - 1, 10**6 - 1))
    assert longest == 20
    worst_pair = merkle.path_length(2**19 - 1, 2**19) + merkle.path_length(0, 10**6 - 2**19)
    assert 4 * (32 * worst_pair) / 3 < 2000
