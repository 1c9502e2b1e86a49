"""What was given beside a bundle, and what was not: every sentence, and all that nobody looked at."""

from __future__ import annotations

from copy import deepcopy
from hashlib import sha256
from typing import Any

import pytest

from tests.evidence.known_sets import IMAGES, MADE, OTHER, K, drafted, found, lines_of, weights
from tests.evidence.sealing import Draft, spelled
from unlearning.evidence import commitment, merkle, proofs
from unlearning.evidence.bundle_verification import NEVER_CHECKED


def test_the_weights_given_are_the_models() -> None:
    draft = drafted()
    assert found(draft, model=weights(draft)).problems == ()
    assert found(draft, model=OTHER).problems == (
        "spec 8: the weights given hash to 0f0f0f0f0f0f, the bundle is about another model",
    )
    nothing = drafted("no_match")
    for model in (OTHER, weights(nothing)):
        assert found(nothing, model=model).problems == ("spec 8: weights were given, and the bundle is about none",)


_NO_LOG = "spec 9: not a log: lines of 64 lower-case hex digits, and nothing else, are right"
_NOT_THEN = "spec 9: the log given does not continue the one that the index was written into"
_NOT_ALL = "spec 9: a payload is not in the log as it was when the index was signed"
_NO_INDEX = "spec 9: the index itself is not in the log after that"


def test_the_log_given_continues_the_one_of_then() -> None:
    draft = drafted()
    content = draft.sealed()
    log, more = lines_of(draft), OTHER.encode() + b"\n"
    for continued in (log, log + more, log[:-65] + more + log[-65:]):
        assert found(draft, content, log=continued).problems == ()
    for no_log in (b"\n", log[:-1], log.upper(), b" " + log, log + b"x", log[1:]):
        assert found(draft, content, log=no_log).problems == (_NO_LOG,)
    assert found(draft, content, log=log[:-65]).problems == (_NO_INDEX,)
    assert found(draft, content, log=log[:-65] + more).problems == (_NO_INDEX,)
    assert found(draft, content, log=more + log[65:]).problems == (_NOT_THEN,)
    assert found(draft, content, log=b"").problems == (_NOT_THEN, _NOT_ALL, _NO_INDEX)
    assert found(draft, content, log=log[65:]).problems[0] == _NOT_THEN
    index, first = log[-65:], log[: 65 * 5]
    assert found(draft, content, log=index + log[65:-65]).problems == (_NOT_THEN, _NO_INDEX)
    assert found(draft, content, log=first + log[65 * 6 :] + log[65 * 5 : 65 * 6]).problems == (
        _NOT_THEN,
        _NOT_ALL,
        _NO_INDEX,
    )


def test_a_payload_that_was_logged_later_was_not_there_then() -> None:
    """The index names a log in which its first payload is another: root and size are right, and a payload is not in."""
    draft = drafted()
    leaves = draft.log()[:-1]
    leaves[5] = bytes.fromhex(OTHER)
    root = merkle.root(leaves).hex()
    draft.late.append(lambda index: index.update(log={"root": root, "size": len(leaves)}))
    content = draft.sealed()
    log = b"".join(one.hex().encode() + b"\n" for one in [*leaves, draft.log()[-1], draft.log()[5]])
    assert found(draft, content, log=log).problems == (_NOT_ALL,)


def proof_of(number: int, *names: str, batch: str = "b1") -> bytes:
    held = {name: MADE[name] for name in names or ("forget", "retain")}
    return proofs.write(batch, K, "content", sha256(IMAGES[number]).digest(), held)


def test_a_proof_is_about_this_batch_and_these_sets() -> None:
    draft = drafted()
    content = draft.sealed()
    for number in (0, 7):
        assert found(draft, content, proof=proof_of(number), content=IMAGES[number]).problems == ()
        assert found(draft, content, proof=proof_of(number)).problems == ()
    assert found(draft, content, proof=proof_of(0), content=b"other").problems == (
        "spec 4: the proof is about other bytes than these",
    )
    assert found(draft, content, proof=proof_of(0, batch="b2")).problems == (
        "spec 4: the proof is about another batch",
    )
    assert found(draft, content, proof=b"{}").problems == (
        "spec 4: the proof: not a subject-proof/1 (at most 65536 bytes that end in a line feed)",
    )
    other = commitment.of(K, "content", [bytes(32)])
    another = proofs.write("b1", K, "content", bytes(32), {"forget": other})
    assert found(draft, content, proof=another).problems == ("spec 4: forget: the certificate commits to another set",)


def test_a_proof_of_a_name_says_nothing_of_an_image() -> None:
    draft = drafted()
    name = sha256(b"img-1").digest()
    names = commitment.of(K, "key", [name])
    tree = deepcopy(draft.statements[0])
    tree["predicate"].update(set="dataset_keys", leaf="key/1", size=1)
    tree["subject"] = [{"digest": {"sha256": names.root.hex()}, "name": "dataset_keys"}]
    draft.statements.insert(1, tree)
    content, proof = draft.sealed(), proofs.write("b1", K, "key", name, {"dataset_keys": names})
    assert found(draft, content, proof=proof).problems == ()
    assert found(draft, content, proof=proof, content=b"img-1").problems == (
        "spec 4: the proof is about a sample's name, and says nothing of an image",
    )


def chain(**changes: Any) -> tuple[Draft, bytes, Draft]:
    """A bundle, its bytes, and the one that supersedes it; `changes` are of the second's index."""
    first = drafted()
    content = first.sealed()
    second = deepcopy(first)
    second.earlier = first.log()
    told = {"sequence": 1, "supersedes": sha256(spelled(first.statements[-1])).hexdigest(), **changes}
    second.index.update(told)
    return first, content, second


_ANOTHER = "spec 8: it does not supersede the bundle given, but another"
_ABOUT = "spec 8: the bundle given is about another batch or another model"
_EARLIER = "spec 8: the bundle given is not earlier than this one"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, ()),
        ({"issued_at": "2026-09-20T00:00:01+00:00"}, ()),
        ({"sequence": 2}, (_ANOTHER,)),
        ({"supersedes": OTHER}, (_ANOTHER,)),
        ({"batch": "b2"}, (_ABOUT,)),
        ({"issued_at": "2026-09-19T23:59:59+00:00"}, (_EARLIER,)),
    ],
)
def test_the_bundle_before_is_the_one_that_this_supersedes(changes: dict[str, Any], told: tuple[str, ...]) -> None:
    _, content, second = chain(**changes)
    assert found(second, supersedes=content).problems == told


def test_the_bundle_before_was_written_into_a_shorter_log() -> None:
    first, content, second = chain()
    second.earlier = first.earlier
    assert found(second, supersedes=content).problems == (_EARLIER,)


def test_the_bundle_before_is_about_the_same_model() -> None:
    _, content, second = chain()
    for one in second.statements:
        for subject in one["subject"]:
            if subject["name"] == "model.safetensors":
                subject["digest"]["sha256"] = OTHER
    assert found(second, supersedes=content).problems == (_ABOUT,)


def test_the_bundle_before_holds_too() -> None:
    _, _, second = chain()
    assert found(second, supersedes=b"").problems == (
        "spec 8: the bundle before it does not hold: spec 6: 1 to 64 lines, each ended by one line feed, are right",
    )
    first = drafted()
    first.late.append(lambda index: index.update(not_claimed=[]))
    broken = first.sealed()
    second.index["supersedes"] = sha256(spelled(first.statements[-1])).hexdigest()
    second.earlier = first.log()
    assert found(second, supersedes=broken).problems == (
        "spec 8: the bundle before it does not hold: spec 7.10: a bundle that leaves nothing unclaimed",
    )


def test_what_the_index_is_about_is_what_the_bundle_is_about() -> None:
    """Where other statements are about another model, that is told by its own rule."""
    torn = "spec 7.2: the statements are not all about the same weights"
    draft = drafted()
    right = weights(draft)
    draft.statements[-1]["subject"][0]["digest"]["sha256"] = OTHER
    assert found(draft, model=OTHER).problems == (torn,)
    assert found(draft, model=right).problems[1:] == (
        f"spec 8: the weights given hash to {right[:12]}, the bundle is about another model",
    )
    _, content, second = chain()
    second.statements[-1]["subject"][0]["digest"]["sha256"] = OTHER
    assert found(second, supersedes=content).problems == (torn, _ABOUT)
    before = draft.sealed()
    second = deepcopy(drafted())
    second.earlier = draft.log()
    second.index.update(sequence=1, supersedes=sha256(spelled(draft.statements[-1])).hexdigest())
    assert found(second, supersedes=before).problems == (f"spec 8: the bundle before it does not hold: {torn}", _ABOUT)


_MODEL = "any weights: give them with --model"
_LOG = "the log: give it with --log"
_PROOF = "whether one image is in a set: a person's proof says so, with --proof"
_IMAGE = "whose image the proof is about: give the image with --image"
_BEFORE = "the bundle that it supersedes (number {}): give it with --supersedes"
_LATER = ("that no later bundle supersedes it: ask for the newest", *NEVER_CHECKED)
_RULES = "whether statements, sets, run, tests, decision and times agree (spec 7, ten rules)"
_SIGNED = "the form of {} statements, and {} signatures, against the keys that are trusted"


def test_what_was_looked_at_and_what_was_not() -> None:
    _, content, second = chain()
    count = len(second.statements)
    signed = _SIGNED.format(count, count + 1)
    bare = found(second)
    assert bare.checked == (signed, _RULES)
    assert bare.not_checked == (_MODEL, _LOG, _PROOF, _BEFORE.format(0), *_LATER)
    proved = found(second, proof=proof_of(0))
    asked = "the proof given, about {}, against the sets that are committed to"
    assert proved.checked == (signed, _RULES, asked.format("the image it names"))
    assert proved.not_checked == (_MODEL, _LOG, _IMAGE, _BEFORE.format(0), *_LATER)
    whole = found(
        second,
        model=weights(second),
        log=lines_of(second),
        proof=proof_of(0),
        content=IMAGES[0],
        supersedes=content,
    )
    assert whole.checked == (
        signed,
        _RULES,
        "the weights given: whether they are the model that the bundle is about",
        "the log given: whether it holds every statement, and continues the log of then",
        asked.format("the bytes given"),
        "the bundle given: whether it is the one that this supersedes",
    )
    assert (whole.not_checked, whole.problems) == (_LATER, ())


def test_an_answer_without_a_match_has_no_weights_to_give_and_a_first_bundle_no_bundle_before() -> None:
    assert found(drafted("no_match")).not_checked == (_LOG, _PROOF, *_LATER)
    assert found(drafted()).not_checked == (_MODEL, _LOG, _PROOF, *_LATER)
