"""Attacks on the structure of a bundle and of what is given beside it: each has to be refused by every verifier.

The attacker reads everything that was published, signs with keys of their own, and in some attacks holds the
pipeline's key: never the privacy officer's. Each starts from cases that hold (`HOLDING`).
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable
from typing import Any

from tests.security import second_bundles as signing
from tests.security import second_sets as sets
from tests.security.agreement_cases import Case
from tests.security.second_breaks import edited
from tests.security.second_bundles import ATTACKER, OFFICER, PIPELINE, draft, sealed, trust
from tests.security.second_spellings import LINES, in_line, payload, with_line

SECOND_ATTACKER = signing.Signer(b"second attacker", "privacy_officer")
DEEP = b',"pad":' + b"[" * 100_000 + b"]" * 100_000
ORDER = 2**252 + 27742317777372353535851937790883648493  # of Ed25519's group
TRUST = trust()
ISSUED, REFUSED, NOTHING = (sealed(draft(status)) for status in ("issued", "refused", "no_match"))


def _other_batch() -> signing.Draft:
    """A bundle of the same keys about another batch and another forget set."""
    tokens = {"forget": sets.SETS["forget"][:1], "retain": sets.SETS["retain"][1:]}
    made = signing.of_sets(draft("issued"), tokens)
    return {**made, "index": edited(made["index"], "predicate.batch", "2026-10-a")}


def _next(**changes: Any) -> signing.Sealed:
    """The bundle that replaces the issued one: its purge was looked at again."""
    index = draft("issued")["index"]
    purge = edited(draft("issued")["purge"], "predicate.record_sha256", sets.digest("looked at again"))
    said = {**index["predicate"], "sequence": 1, "supersedes": ISSUED.index, **changes}
    before = [bytes.fromhex(line) for line in ISSUED.log.decode().split()]
    return sealed({**draft("issued"), "purge": purge, "index": {**index, "predicate": said}}, before)


OTHER, LATER = sealed(_other_batch()), _next()
BUNDLES = {"issued": ISSUED, "refused": REFUSED, "nothing": NOTHING, "other": OTHER, "later": LATER}
LINES_OF = {name: made.bundle.splitlines(keepends=True) for name, made in BUNDLES.items()}
WEIGHTS = sets.digest("weights issued")
PROOF = sets.proof("content", b"image 1", ["dataset", "forget", "retain"])
IMAGE = b"image 1"
ABSENT = sets.entry("forget", sets.SETS["forget"], bytes(32))


def file_of(document: Any) -> bytes:
    """Canonical JSON and a line feed."""
    return sets.canonical(document) + b"\n"


HOLDING = {
    "issued": Case(ISSUED.bundle, TRUST, log=LATER.log, model=WEIGHTS, proof=file_of(PROOF), image=IMAGE),
    "refused": Case(REFUSED.bundle, TRUST, log=REFUSED.log),
    "no match": Case(NOTHING.bundle, TRUST, log=NOTHING.log),
    "of another batch": Case(OTHER.bundle, TRUST, log=OTHER.log),
    "later": Case(LATER.bundle, TRUST, log=LATER.log, supersedes=ISSUED.bundle),
}


def of_lines(*lines: bytes, trusted: bytes = TRUST) -> Case:
    """A bundle of these lines."""
    return Case(b"".join(lines), trusted)


def signed(parts: signing.Draft, *signers: signing.Signer) -> Case:
    """A whole bundle signed anew by these; the first signs every line."""
    return Case(sealed(parts, signers=signers).bundle, TRUST)


def pipeline_alone(parts: signing.Draft) -> Case:
    """What who holds the pipeline's key can make: the officer's signature is taken from the published bundle."""
    lines = sealed(parts, signers=(PIPELINE,)).bundle.splitlines(keepends=True)
    published = next(one for one in json.loads(LINES_OF["issued"][-1])["signatures"] if one["keyid"] == OFFICER.keyid)
    both = lambda held: sorted([*held, published], key=lambda one: one["keyid"])  # noqa: E731
    return of_lines(*in_line(-1, "signatures", both)(lines))


def forged(message: Callable[[bytes], bytes], at: int = 0) -> Case:
    """A line signed by the right key, over something else than the PAE of its payload."""
    lines = list(LINES_OF["issued"])
    sig = PIPELINE.private.sign(message(payload(lines[at])))
    return of_lines(*in_line(at, "signatures.0.sig", base64.b64encode(sig).decode())(lines))


def malleable(text: str) -> str:
    """The signature (R, S) as (R, S + L): the same to a verifier that does not look whether S is below L."""
    sig = base64.b64decode(text)
    higher = int.from_bytes(sig[32:], "little") + ORDER
    return base64.b64encode(sig[:32] + higher.to_bytes(32, "little")).decode()


def respelled(old: bytes, new: bytes) -> Case:
    """The envelope of the first line in another spelling; what was signed is the same."""
    line = LINES_OF["issued"][0]
    assert old in line
    return of_lines(line.replace(old, new, 1), *LINES_OF["issued"][1:])


def status_of(parts: signing.Draft, status: str) -> signing.Draft:
    """A draft whose index says another status, and what goes with it."""
    said = {"status": status, "claim_level": "C3" if status == "issued" else "none"}
    return {**parts, "index": {**parts["index"], "predicate": {**parts["index"]["predicate"], **said}}}


def without_failures() -> signing.Draft:
    """The refused bundle without the test that failed, as if it had been issued."""
    made = status_of(draft("refused"), "issued")
    del made["forgetting"]
    made["svr"] = edited(made["svr"], "predicate.properties", ["FORGET_C3", "GATES_PASSED"])
    return made


def upgraded() -> signing.Draft:
    """The issued bundle with the highest claim level, wherever it is said."""
    made = status_of(draft("issued"), "issued")
    return {**made, "svr": edited(made["svr"], "predicate.properties", ["FORGET_C3", "GATES_PASSED"])}


def altered(at: int, path: str, value: Any) -> Case:
    """The issued bundle with another value in the envelope of one line."""
    return of_lines(*in_line(at, path, value)(list(LINES_OF["issued"])))


def proved(proof: Any, image: bytes | None = IMAGE, made: bytes = ISSUED.bundle) -> Case:
    """A proof given beside a bundle."""
    return Case(made, TRUST, proof=file_of(proof), image=image)


def _alias() -> bytes:
    """A trust file in which the pipeline's key has a second id, in the officer's role."""
    return trust([PIPELINE.trusted(), PIPELINE.trusted(keyid=sets.digest("alias"), role="privacy_officer")])


def _own_root() -> dict[str, Any]:
    """A proof of absence in a set of the attacker's own making."""
    return sets.proof("content", IMAGE, ["retain"], {"retain": sets.SETS["retain"][1:]})


def _swapped_roles() -> bytes:
    return trust([PIPELINE.trusted(role="privacy_officer"), OFFICER.trusted(role="pipeline")])


_ISSUED = LINES_OF["issued"]
ATTACKS: dict[str, Case] = {
    **{f"lines: {name}": of_lines(*edit(list(_ISSUED))) for name, (_, edit) in LINES.items()},
    # other bundles' lines
    "the index of an earlier bundle": of_lines(*LINES_OF["later"][:-1], _ISSUED[-1]),
    "the index of another batch": of_lines(*_ISSUED[:-1], LINES_OF["other"][-1]),
    "a forget set of another batch": of_lines(*_ISSUED[:2], LINES_OF["other"][2], *_ISSUED[3:]),
    "the sets of another batch": of_lines(*LINES_OF["other"][:4], *_ISSUED[4:]),
    "the test of another model": of_lines(*_ISSUED[:5], LINES_OF["refused"][6], *_ISSUED[6:]),
    "a test that failed left out": of_lines(*LINES_OF["refused"][:5], *LINES_OF["refused"][6:]),
    "the purge left out": of_lines(*(line for line in _ISSUED if line is not _ISSUED[-2])),
    "an issued index on what was refused": of_lines(*LINES_OF["refused"][:-1], _ISSUED[-1]),
    "nothing matched, for what was refused": of_lines(*LINES_OF["refused"][:-1], LINES_OF["nothing"][-1]),
    "two bundles in one": of_lines(*_ISSUED, *LINES_OF["refused"]),
    "a bundle twice": of_lines(*_ISSUED, *_ISSUED),
    "two lines swapped": of_lines(_ISSUED[1], _ISSUED[0], *_ISSUED[2:]),
    "an envelope in an envelope": of_lines(signing.line(_ISSUED[0][:-1], (PIPELINE,)), *_ISSUED[1:]),
    # signatures
    "all by an attacker": signed(draft("issued"), ATTACKER, OFFICER),
    "all by an attacker, both roles": signed(draft("issued"), ATTACKER, SECOND_ATTACKER),
    "refused made issued, without the officer": pipeline_alone(without_failures()),
    "another level, without the officer": pipeline_alone(upgraded()),
    "another batch, without the officer": pipeline_alone(_other_batch()),
    "roles swapped by the signers": signed(draft("issued"), OFFICER, PIPELINE),
    "roles swapped in the trust file": of_lines(*_ISSUED, trusted=_swapped_roles()),
    "one key under two ids": of_lines(*_ISSUED, trusted=_alias()),
    "one key under two ids, in the envelope": altered(-1, "signatures.0.keyid", sets.digest("alias")),
    "only the officer is trusted": of_lines(*_ISSUED, trusted=trust([OFFICER.trusted()])),
    "the officer's key was revoked": of_lines(
        *_ISSUED, trusted=trust([PIPELINE.trusted(), OFFICER.trusted(revoked_from="2026-11-22T09:59:59+00:00")])
    ),
    "the pipeline's key was not yet valid": of_lines(
        *_ISSUED, trusted=trust([PIPELINE.trusted(valid_from="2026-11-22T10:00:01+00:00"), OFFICER.trusted()])
    ),
    "signed without PAE": forged(lambda text: text),
    "signed as base64": forged(base64.b64encode),
    "signed under another type": forged(lambda text: b"DSSEv1 9 text/json %d %b" % (len(text), text)),
    "signed with another length": forged(
        lambda text: b"DSSEv1 28 application/vnd.in-toto+json %d %b" % (len(text) + 1, text)
    ),
    "the signature made otherwise": altered(0, "signatures.0.sig", malleable),
    "the signature of a neutral point": altered(0, "signatures.0.sig", base64.b64encode(b"\x01" + bytes(63)).decode()),
    # one spelling
    "payload twice": respelled(b'{"payload":', b'{"payload":"e30=","payload":'),
    "payload twice, otherwise": respelled(b',"payloadType"', b',"payload":"e30=","payloadType"'),
    "signatures twice": respelled(b',"signatures":', b',"signatures":[],"signatures":'),
    "a look-alike of a field": respelled(b'{"payload":', '{"p\u0430yload":'.encode()),
    "a look-alike in a key's id": altered(0, "signatures.0.keyid", lambda held: held[:-1] + "\u0430"),
    "digits of another script": altered(0, "signatures.0.keyid", lambda held: held[:-1] + "\u0664"),
    "a look-alike of a type": altered(0, "payloadType", "application/vnd.in\u2010toto+json"),
    "an escape in the envelope": respelled(b"application/vnd", b"application\\/vnd"),
    "white space in the envelope": respelled(b',"payloadType"', b', "payloadType"'),
    "a tab behind a line": respelled(b"\n", b"\t\n"),
    "a nought behind a line": respelled(b"\n", b"\x00\n"),
    "a line separator of Unicode": respelled(b"\n", "\u2028\n".encode()),
    "a huge integer beside": respelled(b',"payloadType"', b',"pad":' + b"9" * 10_000 + b',"payloadType"'),
    "a fraction beside": respelled(b',"payloadType"', b',"pad":1.5,"payloadType"'),
    "deep nesting beside": respelled(b',"payloadType"', DEEP + b',"payloadType"'),
    "deep nesting alone": of_lines(*with_line(0, b"[" * 500_000 + b"\n")(list(_ISSUED))),
    "UTF-16": Case(ISSUED.bundle.decode().encode("utf-16"), TRUST),
    "UTF-7": Case(ISSUED.bundle.replace(b"+", b"+-"), TRUST),
    "gzip": Case(gzip.compress(ISSUED.bundle, mtime=0), TRUST),
    "an array of envelopes": Case(b"[" + ISSUED.bundle.replace(b"\n", b",")[:-1] + b"]\n", TRUST),
    "a look-alike of the weights, signed": signed(
        {**draft("issued"), "svr": edited(draft("issued")["svr"], "subject.0.name", "model.safetens\u043ers")},
        PIPELINE,
        OFFICER,
    ),
    # beside the bundle
    "other weights": Case(ISSUED.bundle, TRUST, model=sets.digest("weights refused")),
    "weights for nothing": Case(NOTHING.bundle, TRUST, model=sets.tree(sets.SETS["dataset"]).hex()),
    "a log cut off": Case(ISSUED.bundle, TRUST, log=ISSUED.log[:-65]),
    "a log rewritten": Case(ISSUED.bundle, TRUST, log=LATER.log[65:]),
    "a log of another": Case(ISSUED.bundle, TRUST, log=REFUSED.log),
    "a log of the index alone": Case(ISSUED.bundle, TRUST, log=ISSUED.index.encode() + b"\n"),
    "superseded by another batch": Case(LATER.bundle, TRUST, supersedes=OTHER.bundle),
    "superseded by itself": Case(LATER.bundle, TRUST, supersedes=LATER.bundle),
    "a bundle that is superseded, for a newer one": Case(ISSUED.bundle, TRUST, supersedes=LATER.bundle),
    "superseded twice over": Case(_next(sequence=2).bundle, TRUST, supersedes=ISSUED.bundle),
    "a proof of another batch": proved({**PROOF, "batch": "2026-10-a"}),
    "a proof for another bundle": proved(PROOF, made=OTHER.bundle),
    "a proof of another image": proved(PROOF, image=b"image 2"),
    "a proof with a salt of one's own": proved({**PROOF, "salt": sets.digest("salt")}),
    "a proof of a name for an image": proved(sets.proof("key", b"img-1", ["dataset_keys"])),
    "a proof against a root of one's own": proved(_own_root()),
    "absence, of another token": proved(edited(PROOF, "sets.1", ABSENT)),
    "a leaf where a node stands": proved(edited(PROOF, "sets.0.path", lambda held: held[:44])),
    "a proof with no set": proved({**PROOF, "sets": []}),
    "a proof with a byte more": Case(ISSUED.bundle, TRUST, proof=file_of(PROOF) + b"\n", image=IMAGE),
    "no keys": of_lines(*_ISSUED, trusted=file_of({"schema": "trust/1", "keys": []})),
    "trust spelled otherwise": of_lines(*_ISSUED, trusted=TRUST.replace(b":", b": ")),
}
