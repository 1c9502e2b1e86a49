"""Bundles, logs and trust files, written from infra/decisions/certificate-spec.md alone.

They share no code with unlearning.evidence: a misreading there is not repeated here.
"""

from __future__ import annotations

import base64
import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.security.second_sets import BATCH, DATASET_KEY, SETS, canonical, digest, sha, tree

Draft = dict[str, dict[str, Any]]  # the statements in their order, each by a name that says which

PAYLOAD_TYPE = "application/vnd.in-toto+json"
ISSUED_AT = "2026-11-22T10:00:00+00:00"


# --- keys


@dataclass(frozen=True)
class Signer:
    """A key, trusted or not."""

    seed: bytes
    role: str

    @cached_property
    def private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(sha(self.seed))

    @cached_property
    def public(self) -> bytes:
        return self.private.public_key().public_bytes_raw()

    @property
    def keyid(self) -> str:
        return sha(self.public).hex()

    def trusted(self, **changes: Any) -> dict[str, Any]:
        """Its entry in a trust file."""
        start = "2026-01-01T00:00:00+00:00"
        entry = {"keyid": self.keyid, "public": self.public.hex(), "role": self.role, "valid_from": start}
        return {**entry, "valid_until": None, "revoked_from": None, **changes}


PIPELINE, OFFICER = Signer(b"pipeline", "pipeline"), Signer(b"officer", "privacy_officer")
SECOND_PIPELINE = Signer(b"another pipeline", "pipeline")
ATTACKER = Signer(b"attacker", "pipeline")  # in no trust file


def trust(entries: Sequence[dict[str, Any]] | None = None) -> bytes:
    """A trust file of these entries, sorted; of both roles and a second pipeline's key by default."""
    found = [one.trusted() for one in (PIPELINE, OFFICER, SECOND_PIPELINE)] if entries is None else list(entries)
    return canonical({"schema": "trust/1", "keys": sorted(found, key=lambda one: str(one["keyid"]))}) + b"\n"


# --- statements


def statement(kind: str, subjects: dict[str, str], predicate: dict[str, Any]) -> dict[str, Any]:
    """An in-toto statement."""
    listed = [{"digest": {"sha256": found}, "name": name} for name, found in subjects.items()]
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "predicate": predicate,
        "predicateType": kind,
        "subject": listed,
    }


def commitment(which: str) -> dict[str, Any]:
    """The statement of one set."""
    leaf = "key/1" if which == "dataset_keys" else "content/1"
    said: dict[str, Any] = {
        "counts": {"near_duplicates": 1},
        "dataset": "faces-1",
        "dataset_sha256": digest("faces"),
        "set": which,
    }
    said |= {"key_id": sha(b"unlearning/dataset-key/1" + DATASET_KEY).hex(), "leaf": leaf, "size": len(SETS[which])}
    root = tree(SETS[which]).hex()
    return statement("urn:unlearning:set-commitment:1", {which: root}, {**said, "tree": "rfc9162-sha256-sorted"})


def provenance(model: str) -> dict[str, Any]:
    """The run."""
    roots = {which: tree(SETS[which]).hex() for which in ("dataset", "forget", "retain")}
    read = [{"digest": {"sha256": found}, "name": name} for name, found in roots.items()]
    read += [{"digest": {"sha256": digest("original")}, "name": "original_checkpoint"}]
    read += [{"digest": {"gitCommit": "0123456789abcdef" * 2 + "01234567"}, "name": "code"}]
    build = {
        "buildType": "urn:unlearning:unlearn:1",
        "externalParameters": {"forgetWeight": "0.25", "seed": 7, "view": None},
        "internalParameters": {"deterministic": True, "device": "cpu", "steps": 40, "driver": None},
        "resolvedDependencies": read,
    }
    times = {"startedOn": "2026-11-22T08:00:00+00:00", "finishedOn": "2026-11-22T08:30:00+00:00"}
    run = {
        "builder": {"id": "unlearning 0.1.0"},
        "byproducts": [{"digest": {"sha256": digest("trace")}, "name": "trace.json"}],
        "metadata": {"invocationId": "run-1", **times},
    }
    subjects = {"config.json": digest("config"), "model.safetensors": model}
    return statement("https://slsa.dev/provenance/v1", subjects, {"buildDefinition": build, "runDetails": run})


def tested(model: str, group: str, statuses: dict[str, tuple[str, bool]]) -> dict[str, Any]:
    """A group of measurements: status and whether it blocks, by name."""
    measured = [
        {"blocking": blocking, "bound": "<= 0.05", "high": "0.04", "low": None, "name": name, "source": "policy"}
        | {"status": status, "value": None if status == "not_measured" else "0.03"}
        for name, (status, blocking) in statuses.items()
    ]
    passed = sorted(name for name, (status, _) in statuses.items() if status == "pass")
    failed = sorted(name for name, (status, blocks) in statuses.items() if status != "pass" and blocks)
    warned = sorted(set(statuses) - set(passed) - set(failed))
    said: dict[str, Any] = {
        "configuration": [{"digest": {"sha256": digest("policy")}, "name": "policy"}],
        "group": group,
    }
    said |= {"failedTests": failed, "passedTests": passed, "warnedTests": warned, "reference": None}
    said |= {"measurements": measured, "result": "FAILED" if failed else "WARNED" if warned else "PASSED"}
    return statement("https://in-toto.io/attestation/test-result/v0.1", {"model.safetensors": model}, said)


def draft(status: str) -> Draft:
    """The statements of a bundle that holds. An issued one is promoted and purged, and has every optional part."""
    if status == "no_match":
        nothing = no_match(tree(SETS["dataset"]).hex())
        found = {which: commitment(which) for which in ("dataset", "dataset_keys")} | {"no-match": nothing}
        return found | {"index": index(status, {"dataset": tree(SETS["dataset"]).hex()})}
    model, issued = digest(f"weights {status}"), status == "issued"
    forgetting = {"gap": ("pass" if issued else "fail", True), "forgotten": ("pass", True)}
    found = {which: commitment(which) for which in SETS} | {"provenance": provenance(model)}
    found["forgetting"] = tested(model, "forgetting", forgetting)
    found["utility"] = tested(model, "utility", {"drop": ("not_measured", False), "psnr": ("pass", True)})
    said: dict[str, Any] = {"policy": {"sha256": digest("policy")}, "timeCreated": "2026-11-22T09:00:00+00:00"}
    said |= {
        "properties": ["FORGET_C1", "GATES_PASSED"] if issued else ["RETAIN_KEPT"],
        "verifier": {"id": "unlearning"},
    }
    found["svr"] = statement("https://in-toto.io/attestation/svr/v0.2", {"model.safetensors": model}, said)
    if issued:
        found |= {"promotion": promotion(model), "purge": purge(model)}
    return found | {"index": index(status, {"model.safetensors": model})}


def no_match(root: str) -> dict[str, Any]:
    """Nothing belongs to the request."""
    selectors = [{"kind": "sample_key", "provable": True}]
    said = {"dataset": "faces-1", "request_id": "r-1", "selectors": selectors}
    return statement("urn:unlearning:no-match:1", {"dataset": root}, said)


def promotion(model: str) -> dict[str, Any]:
    """The model is the one in use."""
    said: dict[str, Any] = {
        "approver_role": "privacy_officer",
        "at": "2026-11-22T09:30:00+00:00",
        "model": "faces",
        "version": 2,
    }
    said |= {"certificate_sha256": digest("certificate"), "checkpoint_sha256": digest("checkpoint")}
    said |= {"pending_requests": 0, "previous": {"sha256": digest("earlier"), "version": 1}}
    return statement("urn:unlearning:promotion:1", {"model.safetensors": model}, said)


def purge(model: str) -> dict[str, Any]:
    """Nothing remains but backups that expire."""
    clean: dict[str, Any] = {
        "location": "dvc_cache",
        "method": "gc",
        "found": 2,
        "removed": 2,
        "remaining": 0,
        "expires_at": None,
    }
    kept: dict[str, Any] = {
        "location": "backups",
        "method": "none",
        "found": 2,
        "removed": 0,
        "remaining": 2,
        "verified_at": None,
    }
    clean |= {"verified_at": "2026-11-22T09:45:00+00:00", "why": None}
    kept |= {"expires_at": "2027-05-22T00:00:00+00:00", "why": "expires"}
    said: dict[str, Any] = {
        "locations": [clean, kept],
        "record_sha256": digest("purge"),
        "status": "complete",
        "tool": "unlearning 0.1.0",
    }
    said |= {"scan": {"bytes": 1000, "files": 10, "hits": 0}, "started_at": "2026-11-22T09:40:00+00:00"}
    said |= {"finished_at": "2026-11-22T09:50:00+00:00"}
    return statement("urn:unlearning:purge:1", {"model.safetensors": model}, said)


def index(status: str, subject: dict[str, str]) -> dict[str, Any]:
    """The last statement; what it lists of the others is written when the bundle is sealed."""
    nothing = status == "no_match"
    said: dict[str, Any] = {
        "batch": BATCH,
        "certificate_sha256": None if nothing else digest("certificate"),
        "cut_off": None,
    }
    said |= {"claim_level": "C1" if status == "issued" else "none", "goal": None if nothing else "erase"}
    said |= {"issued_at": ISSUED_AT, "not_claimed": ["that the data is gone"], "requests": ["r-1"], "status": status}
    return statement("urn:unlearning:erasure-certificate:1", subject, {**said, "sequence": 0, "supersedes": None})


# --- sealing

EARLIER = [sha(b"earlier %d" % number) for number in range(3)]  # in the log, by other batches


@dataclass(frozen=True)
class Sealed:
    """A bundle, the log that holds it, and the digest of its index's payload."""

    bundle: bytes
    log: bytes
    index: str


@lru_cache(1024)
def line(payload: bytes, signers: tuple[Signer, ...], payload_type: str = PAYLOAD_TYPE) -> bytes:
    """An envelope."""
    message = b"DSSEv1 %d %b %d %b" % (len(payload_type), payload_type.encode(), len(payload), payload)
    found = [{"keyid": one.keyid, "sig": base64.b64encode(one.private.sign(message)).decode()} for one in signers]
    found.sort(key=lambda one: one["keyid"])
    said = {"payload": base64.b64encode(payload).decode(), "payloadType": payload_type, "signatures": found}
    return canonical(said) + b"\n"


def sealed(
    parts: Draft,
    before: Sequence[bytes] = EARLIER,
    respelled: Callable[[bytes], bytes] = bytes,
    signers: tuple[Signer, ...] = (PIPELINE, OFFICER),
) -> Sealed:
    """Sign statements. The index lists the others and the log, where the draft does not say otherwise.

    `respelled` changes the text of the payloads before they are listed and signed; `signers` are the index's, of whom
    the first signs every other line too. The index stands where it stands in the draft.
    """
    payloads = [respelled(canonical(part)) for name, part in parts.items() if name != "index"]
    leaves = [*before, *(sha(one) for one in payloads)]
    lines = [line(payload, signers[:1]) for payload in payloads]
    if "index" in parts:
        last = respelled(canonical(_listing(parts, leaves, len(before))))
        leaves.append(sha(last))
        lines.insert(list(parts).index("index"), line(last, signers))
    return Sealed(b"".join(lines), "".join(f"{one.hex()}\n" for one in leaves).encode(), leaves[-1].hex())


def filled(parts: Draft, before: Sequence[bytes] = EARLIER) -> Draft:
    """A draft whose index says what it lists, so that it can be changed."""
    leaves = [*before, *(sha(canonical(part)) for name, part in parts.items() if name != "index")]
    return {**parts, "index": _listing(parts, leaves, len(before))}


def emptied(parts: Draft) -> Draft:
    """A draft whose index lists nothing yet: it will list what the others are when it is sealed."""
    said = parts["index"].get("predicate")
    if not isinstance(said, dict):
        return parts
    left = {name: held for name, held in said.items() if name not in ("payloads", "log")}
    return {**parts, "index": {**parts["index"], "predicate": left}}


def _listing(parts: Draft, leaves: Sequence[bytes], before: int) -> dict[str, Any]:
    """The index, with what it does not say yet of the others and of the log."""
    said = parts["index"].get("predicate")
    if not isinstance(said, dict):
        return parts["index"]
    log = {"root": tree(leaves).hex(), "size": len(leaves)}
    return {**parts["index"], "predicate": {"payloads": [one.hex() for one in leaves[before:]], "log": log, **said}}


def of_sets(parts: Draft, sets: dict[str, list[bytes]]) -> Draft:
    """A draft about other sets; its run read them."""
    made = copy.deepcopy(parts)
    for which in [name for name in sets if name in made]:
        made[which]["subject"][0]["digest"]["sha256"] = tree(sets[which]).hex()
        made[which]["predicate"]["size"] = len(sets[which])
    for one in made["provenance"]["predicate"]["buildDefinition"]["resolvedDependencies"]:
        if one["name"] in sets:
            one["digest"]["sha256"] = tree(sets[one["name"]]).hex()
    return made
