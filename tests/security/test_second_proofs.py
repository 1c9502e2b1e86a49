"""The second verifier on what is given beside a bundle: proofs, weights, the log, the bundle before."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest

from infra.verifier import verify_certificate as verifier
from tests.security import second_breaks as breaks
from tests.security import second_bundles as signing
from tests.security import second_sets as sets
from tests.security import second_spellings as spellings
from tests.security.second_breaks import edited
from tests.security.second_judge import KEYS, clauses, sealed

# --- proofs


def of_content(content: bytes = b"image 1") -> dict[str, Any]:
    return sets.proof("content", content, ["dataset", "forget", "retain"])


def proved(proof: dict[str, Any], draft: signing.Draft | None = None, **given: Any) -> set[str]:
    """The clauses that a bundle with this proof breaks."""
    return clauses(sealed(draft or signing.draft("issued")), proof=sets.canonical(proof) + b"\n", **given)


@pytest.mark.parametrize("content", [*sets.IMAGES.values(), *(b"nobody's %d" % number for number in range(20))])
def test_every_person_can_prove_what_is_so(content: bytes) -> None:
    proof = of_content(content)
    assert proof["sets"][0]["member"] == (content in sets.IMAGES.values())
    assert proved(proof, image=sets.sha(content).hex()) == set()


def test_a_name_is_proved_against_the_set_of_names() -> None:
    assert proved(sets.proof("key", b"img-3", ["dataset_keys"])) == set()
    assert proved(sets.proof("key", b"img-3", ["dataset_keys"]), image=breaks.A) == {"4"}
    assert proved(sets.proof("key", b"img-3", ["dataset_keys"]), signing.draft("no_match")) == set()


def nodes(joined: bytes) -> list[bytes]:
    return [joined[start : start + 32] for start in range(0, len(joined), 32)]


@pytest.mark.parametrize("size", [*range(2, 18), 31, 32, 33])
def test_every_place_of_every_tree_is_proved_by_one_number_of_nodes(size: int) -> None:
    data = sorted(sets.sha(b"%d" % number) for number in range(size))
    hashed = [verifier.leaf(one) for one in data]
    for at in range(size):
        path = nodes(sets.path(at, data))
        with pytest.raises(verifier.Broken, match="too few"):
            verifier.root_by_path(at, size, hashed[at], path[1:])
        assert verifier.root_by_path(at, size, hashed[at], path) == sets.tree(data)
        assert path == []
    for at in range(size - 1):
        path = nodes(sets.pair(at, data))
        assert verifier.root_by_pair(at, size, hashed[at], hashed[at + 1], path) == sets.tree(data)
        assert path == []


def test_trees_have_the_roots_of_rfc_9162() -> None:
    data = [bytes(number) for number in range(9)]
    assert [verifier.root_of(data[:size]) for size in range(10)] == [sets.tree(data[:size]) for size in range(10)]
    assert verifier.root_of([]).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert verifier.root_of([b""]).hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"


@pytest.mark.parametrize(
    ("path", "value", "clause"),
    [
        ("schema", "subject-proof/2", "4"),
        ("batch", "2026-10-a", "4"),
        ("kind", "key", "4"),
        ("salt", breaks.A, "4"),
        ("sha256", breaks.A, "4"),
        ("sets", [], "4"),
        ("sets", lambda held: [held[0], held[0]], "4"),
        ("sets.0.set", "dataset_keys", "4"),
        ("sets.0.size", 8, "4"),
        ("sets.0.size", 2**53 - 1, "4"),
        ("sets.0.root", breaks.A, "4"),
        ("sets.0.at", lambda held: held ^ 1, "4"),
        ("sets.0.at", 7, "4"),
        ("sets.0.at", -1, "4"),
        ("sets.0.path", "", "2"),
        ("sets.0.path", lambda held: base64.b64encode(base64.b64decode(held) + bytes(32)).decode(), "4"),
        ("sets.0.path", lambda held: base64.b64encode(base64.b64decode(held) + b"1").decode(), "4"),
        ("sets.0.path", lambda held: base64.b64encode(base64.b64decode(held)[:-1]).decode(), "4"),
        ("sets.0.path", lambda held: spellings.loose(held), "4"),
        ("sets.0.member", False, "4"),
        ("sets.0.member", 1, "4"),
        ("sets.2.left", None, "4"),
        ("sets.2.right", None, "4"),
        ("sets.2.left", breaks.A, "4"),
        ("sets.2.at", lambda held: held + 1, "2"),
        ("sets.2.at", None, "4"),
        ("sets.2.member", True, "4"),
        ("sets.2.more", 1, "4"),
        ("comment", "", "4"),
    ],
)
def test_a_proof_says_what_is_so_or_is_refused(path: str, value: Any, clause: str) -> None:
    assert proved(edited(of_content(), path, value)) == {clause}


@pytest.mark.parametrize(
    "spell",
    [
        lambda text: text,
        lambda text: text + b"\n\n",
        lambda text: text + b" \n",
        lambda text: b"[]\n",
        lambda text: text.ljust(2**16) + b"\n",
    ],
)
def test_a_proof_has_one_spelling(spell: Callable[[bytes], bytes]) -> None:
    bundle = sealed(signing.draft("issued"))
    assert clauses(bundle, proof=spell(sets.canonical(of_content()))) <= {"1", "4"}
    assert clauses(bundle, proof=spell(sets.canonical(of_content())))


def test_a_proof_is_small() -> None:
    proof = sets.canonical(edited(of_content(), "sets.0.path", "A" * 2**16)) + b"\n"
    report = verifier.judge(sealed(signing.draft("issued")), KEYS, verifier.Given(proof=proof))
    assert [problem.partition(" bytes")[0] for problem in report.problems] == ["spec 4: the proof is larger than 65536"]


def test_a_proof_is_one_of_this_image_of_this_bundle_and_of_its_sets() -> None:
    assert proved(of_content(), image=breaks.A) == {"4"}
    other = signing.draft("issued")
    assert proved(of_content(), {**other, "index": edited(other["index"], "predicate.batch", "2026-10-a")}) == {"4"}
    assert proved(sets.proof("content", b"image 1", ["forget"]), signing.draft("no_match")) == {"4"}
    assert proved(sets.proof("key", b"img-1", ["dataset"])) == {"4"}
    assert proved(sets.proof("content", b"image 1", ["dataset_keys"])) == {"4"}
    with pytest.raises(verifier.Unjudged, match="an image is judged by a proof"):
        clauses(sealed(signing.draft("issued")), image=breaks.A)


@pytest.mark.parametrize("at", range(7))
def test_no_member_is_proved_absent(at: int) -> None:
    data = sets.SETS["dataset"]
    content = next(one for one in sets.IMAGES.values() if sets.salted("content", one)[2] == data[at])
    honest = sets.proof("content", content, ["dataset"])["sets"][0]
    place = {name: honest[name] for name in ("set", "size", "root")} | {"member": False}
    left, right = (data[at - 1].hex() if at else None), (data[at + 1].hex() if at < 6 else None)
    lies: list[dict[str, Any]] = [
        {"at": at - 1, "left": left, "right": right, "path": sets.pair(at - 1 if at else 0, data)},
        {"at": at, "left": data[at].hex(), "right": right, "path": sets.pair(min(at, 5), data)},
        {"at": at - 1, "left": left, "right": data[at].hex(), "path": sets.pair(max(at - 1, 0), data)},
        {"at": -1, "left": None, "right": right or data[0].hex(), "path": sets.path(min(at + 1, 6), data)},
        {"at": 6, "left": left or data[6].hex(), "right": None, "path": sets.path(max(at - 1, 0), data)},
        {"at": -1, "left": None, "right": None, "path": b""},
    ]
    for lie in lies:
        said = {**place, **lie, "path": base64.b64encode(lie["path"]).decode()}
        assert proved({**sets.proof("content", content, []), "sets": [said]}) & {"2", "4"}


def test_nobody_is_in_an_empty_set() -> None:
    draft = signing.draft("issued")
    read = "predicate.buildDefinition.resolvedDependencies.2.digest.sha256"
    draft["provenance"] = edited(draft["provenance"], read, breaks.NOTHING)
    draft["retain"] = edited(edited(draft["retain"], "predicate.size", 0), "subject.0.digest.sha256", breaks.NOTHING)
    proof = sets.proof("content", b"image 1", ["retain"], {"retain": []})
    assert proved(proof, draft) == set()
    assert proved(edited(proof, "sets.0.right", breaks.A), draft) == {"4"}
    assert proved(edited(proof, "sets.0.at", 0), draft) == {"4"}


# --- the weights, the log, the bundle before


def test_the_weights_are_those_that_it_is_about() -> None:
    assert clauses(sealed(signing.draft("issued")), model=breaks.A) == {"8"}
    subject = signing.draft("no_match")["index"]["subject"][0]["digest"]["sha256"]
    assert clauses(sealed(signing.draft("no_match")), model=subject) == {"8"}  # it is about no weights


@pytest.mark.parametrize(
    "edit",
    [
        lambda log: b"",
        lambda log: log[:-1],
        lambda log: log[:-65],  # without the certificate itself
        lambda log: log[65:],
        lambda log: breaks.A.encode() + log[64:],
        lambda log: log[:-65] + breaks.A.encode() + b"\n",
        lambda log: log.upper(),
        lambda log: log.replace(b"\n", b"\r\n"),
        lambda log: log + b"\n",
        lambda log: log + b"\xff\n",
        lambda log: log[65:130] + log[:65] + log[130:],
    ],
)
def test_a_log_that_was_rewritten_or_cut_off_is_seen(edit: Callable[[bytes], bytes]) -> None:
    made = signing.sealed(signing.draft("issued"))
    assert clauses(made.bundle, log=edit(made.log)) == {"9"}
    assert clauses(made.bundle, log=made.log + breaks.A.encode() + b"\n") == set()  # it only grows


def test_a_log_holds_every_payload_before_the_index() -> None:
    made = signing.sealed(signing.draft("issued"))
    lines = [line for line in made.log.split() if line not in made.log.split()[4:5]]
    leaves = [bytes.fromhex(line.decode()) for line in lines[:-1]]
    draft = signing.draft("issued")
    shorter = {"root": sets.tree(leaves).hex(), "size": len(leaves)}
    cut = signing.sealed({**draft, "index": edited(draft["index"], "predicate.log", shorter)})
    log = b"".join(line + b"\n" for line in [*lines[:-1], cut.index.encode()])
    assert clauses(cut.bundle, log=log) == {"9"}


def chained(**changes: Any) -> tuple[bytes, bytes]:
    """A bundle without a purge, and the one that replaces it with one; the first's or the second's index is changed."""
    draft = signing.draft("issued")
    first = signing.sealed({name: part for name, part in draft.items() if name != "purge"})
    said = {"sequence": 1, "supersedes": first.index, **changes}
    index = {**draft["index"], "predicate": {**draft["index"]["predicate"], **said}}
    before = [bytes.fromhex(line) for line in first.log.decode().split()]
    return first.bundle, signing.sealed({**draft, "index": index}, before).bundle


@pytest.mark.parametrize(
    "changes",
    [
        {"supersedes": breaks.A},
        {"sequence": 2},
        {"batch": "2026-11-b"},
        {"issued_at": "2026-11-22T09:59:59+00:00"},
        {"log": {"root": breaks.A, "size": 12}},
    ],
)
def test_a_bundle_replaces_the_one_before_it(changes: dict[str, Any]) -> None:
    first, second = chained()
    assert clauses(second, supersedes=first) == set()
    assert clauses(second, supersedes=first[:-1]) == {"8"}
    assert clauses(second, supersedes=second) == {"8"}
    first, second = chained(**changes)
    assert clauses(second, supersedes=first) == {"8"}
    assert clauses(first, supersedes=second) == {"8"}


def test_a_bundle_of_another_model_is_not_replaced() -> None:
    first, _ = chained()
    draft = signing.draft("refused")
    said = {"sequence": 1, "supersedes": signing.sealed(signing.draft("issued")).index}
    other = {**draft["index"], "predicate": {**draft["index"]["predicate"], **said}}
    assert clauses(signing.sealed({**draft, "index": other}).bundle, supersedes=first) == {"8"}
