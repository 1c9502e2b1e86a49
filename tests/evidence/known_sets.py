"""Bundles about sets whose images are known, and what a verifier finds in them: for what is given beside a bundle."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from tests.evidence import bundles
from tests.evidence.sealing import Draft, trusted
from unlearning.evidence import commitment, trust
from unlearning.evidence.bundle_verification import Beside, Verification, verify

K = bytes(range(32))
IMAGES = [f"picture {number}".encode() for number in range(12)]
MADE = {
    name: commitment.of(K, "content", [sha256(IMAGES[number]).digest() for number in numbers])
    for name, numbers in (("dataset", range(12)), ("forget", range(4)), ("retain", range(4, 12)))
}
OTHER = "0f" * 32  # no digest of anything
_NOW = "2026-09-20T00:00:00+00:00"


def drafted(status: str = "issued") -> Draft:
    """A bundle about sets that are known; five digests were in the log before."""
    draft = bundles.draft(3, status)
    draft.statements = [one for one in draft.statements if one["predicate"].get("set") != "dataset_keys"]
    draft.earlier, draft.keys = [bytes([n]) * 32 for n in range(5)], draft.keys[:2]
    draft.keys[0] = trusted("pipeline", "pipeline")
    draft.index.update(sequence=0, supersedes=None, issued_at=_NOW, batch="b1")
    roots = {name: made.root.hex() for name, made in MADE.items()}
    for one in draft.statements:
        if "set-commitment" in one["predicateType"]:
            name = one["predicate"]["set"]
            one["predicate"]["size"], one["subject"][0]["digest"]["sha256"] = MADE[name].size, roots[name]
    if status == "no_match":
        for one in (draft.statement("no-match:1"), draft.statements[-1]):
            one["subject"][0]["digest"]["sha256"] = roots["dataset"]
    else:
        for one in draft.of("provenance/v1")[0]["buildDefinition"]["resolvedDependencies"]:
            if one["name"] in roots:
                one["digest"]["sha256"] = roots[one["name"]]
    return draft


def weights(draft: Draft) -> str:
    return str(draft.statements[-1]["subject"][0]["digest"]["sha256"])


def found(draft: Draft, text: bytes | None = None, **beside: Any) -> Verification:
    known = trust.read(draft.trust(), "trust.json")
    return verify(draft.sealed() if text is None else text, known, Beside(**beside))


def lines_of(draft: Draft) -> bytes:
    return b"".join(one.hex().encode() + b"\n" for one in draft.log())
