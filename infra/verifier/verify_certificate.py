"""Does this erasure certificate hold?  One file: Python >= 3.9 and `cryptography`; no network, no torch, no pickle.

    python verify_certificate.py BUNDLE --trust TRUST [--model FILE] [--log FILE] [--proof FILE [--image FILE]]
                                 [--supersedes FILE] [--json FILE]

0: everything holds; 1: something does not; 2: something needed to judge was not given.

Written from infra/decisions/certificate-spec.md alone, sharing no line with `unlearning verify`. The sections below are
the specification's, in its order, and every problem begins with the clause that it breaks. What "holds" means: these
statements were signed by these keys and agree with each other. It never means that the data is gone from the weights.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class Broken(Exception):
    """Something does not hold: `clause` of the specification, and what breaks it."""

    def __init__(self, clause: str, what: str) -> None:
        super().__init__(f"spec {clause}: {what}")


class Unjudged(Exception):
    """What is needed to judge was not given."""


# === 1  Notation =====================================================================================================

LARGEST = 2**53 - 1  # |n| of an integer
DEEPEST = 32  # arrays and objects within each other

LITERALS = {"null": (None,), "true": (True,), "false": (False,), "boolean": (True, False)}
PATTERNS = {  # matched from the first to the last character
    "hex": r"[0-9a-f]{64}",
    "commit": r"[0-9a-f]{40}",
    "time": r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\+00:00",
    "name": r"[^\x00-\x1f]{1,200}",
    "code": r"[a-z0-9][a-z0-9._:-]{0,63}",
    "parameter": r"[A-Za-z0-9_.:-]{1,64}",
    "string": r"[\s\S]*",
}


def sha256(data: bytes) -> bytes:
    """SHA256."""
    return hashlib.sha256(data).digest()


def unb64(text: str, clause: str, where: str) -> bytes:
    """The bytes of *b64*: standard alphabet, padded, in the canonical one of its spellings."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        raise Broken(clause, f"{where} is not base64") from None
    if base64.b64encode(data).decode() != text:
        raise Broken(clause, f"{where} is not spelled as canonical base64")
    return data


def canonical(value: Any) -> bytes:
    """The one spelling of a value of canonical JSON (RFC 8785, of which no number but an integer is left)."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode("utf-8")


def parse(text: bytes, where: str) -> Any:
    """The value of a canonical JSON text; a text that another reader could read otherwise is not spelled so."""
    try:
        value = json.loads(text.decode("utf-8"), parse_int=_integer)
        _narrow(value, 1)
        if canonical(value) != text:  # so are keys that are there twice, lone surrogates, white space, -0
            raise ValueError("another spelling")
    except (ValueError, RecursionError):  # the errors of UTF-8 are ValueErrors
        raise Broken("1", f"{where} is not canonical JSON") from None
    return value


def _integer(digits: str) -> int:
    if len(digits) > len(str(-LARGEST)):  # before int(), whose time grows with the square of the length
        raise ValueError("too large")
    return int(digits)


def _narrow(value: Any, depth: int) -> None:
    """Raise ValueError for what canonical JSON does not know: a fraction, 2^53, a key beyond ASCII, a 33rd level."""
    if isinstance(value, (dict, list)):
        if depth > DEEPEST or (isinstance(value, dict) and not all(key.isascii() for key in value)):
            raise ValueError("too deep, or a key beyond ASCII")
        for child in value.values() if isinstance(value, dict) else value:
            _narrow(child, depth + 1)
    elif isinstance(value, float) or (isinstance(value, int) and abs(value) > LARGEST):
        raise ValueError("not a number here")


def file_of(shape: Shape, data: bytes, most: int, clause: str, where: str) -> Any:
    """The value of a file of one canonical JSON text and a line feed, of so many bytes at most."""
    if len(data) > most or not data.endswith(b"\n"):
        raise Broken(clause, f"{where} is larger than {most} bytes, or does not end with a line feed")
    value = parse(data[:-1], where)
    check(value, shape, clause, where)
    return value


# Shapes are written as in the specification. A dictionary: exactly these fields. Many: an array. Keyed: any keys of one
# form. A list: one of these shapes. A string: its alternatives, each one a word of this section or a quoted literal.
Shape = Any


class Many(NamedTuple):
    """An array of at least so many; `once` is the field that no two of them share."""

    of: Shape
    least: int = 0
    once: str = ""


class Keyed(NamedTuple):
    """An object whose keys are not known beforehand."""

    key: str
    of: Shape


def check(value: Any, shape: Shape, clause: str, where: str) -> None:
    """Raise Broken where a value has not this shape."""
    if isinstance(shape, Many):
        _check_array(value, shape, clause, where)
    elif isinstance(shape, Keyed):
        _check_object(value, {}, clause, where)
        for key, one in value.items():
            check(key, shape.key, clause, f"a key of {where}")
            check(one, shape.of, clause, f"{where}.{key}")
    elif isinstance(shape, dict):
        _check_object(value, shape, clause, where)
        for field in shape:
            check(value[field], shape[field], clause, f"{where}.{field}")
    elif isinstance(shape, list):
        if not any(fits(value, one) for one in shape):
            raise Broken(clause, f"{where} has none of its {len(shape)} shapes")
    elif not any(_is(value, word) for word in shape.split("|")):
        raise Broken(clause, f"{where} is not {shape}")


def _check_array(value: Any, shape: Many, clause: str, where: str) -> None:
    if not isinstance(value, list) or len(value) < shape.least:
        raise Broken(clause, f"{where} is not an array of {shape.least} or more")
    for at, one in enumerate(value):
        check(one, shape.of, clause, f"{where}[{at}]")
    if shape.once and len({one[shape.once] for one in value}) < len(value):
        raise Broken(clause, f"{where} has one {shape.once} twice")


def _check_object(value: Any, fields: dict[str, Shape], clause: str, where: str) -> None:
    if not isinstance(value, dict) or (fields and value.keys() != fields.keys()):
        raise Broken(clause, f"{where} is not an object" + (f" of exactly {', '.join(fields)}" if fields else ""))


def fits(value: Any, shape: Shape) -> bool:
    """Whether a value has this shape."""
    try:
        check(value, shape, "", "")
    except Broken:
        return False
    return True


def _is(value: Any, word: str) -> bool:
    if word in LITERALS:
        return any(value is one for one in LITERALS[word])
    if word in ("integer", "count"):  # to Python, and to no one else, true is an integer
        return isinstance(value, int) and not isinstance(value, bool) and (word == "integer" or value >= 0)
    if not isinstance(value, str) or word.startswith('"'):
        return isinstance(value, str) and value == word[1:-1]
    return re.fullmatch(PATTERNS[word], value) is not None and (word != "time" or _is_real(value))


def _is_real(moment: str) -> bool:
    """Whether some calendar has this moment. Two moments compare as their texts do."""
    year, month, day, hour, minute, second, *_ = (int(digits) for digits in re.findall("[0-9]+", moment))
    try:
        datetime(year, month, day, hour, minute, second)  # fromisoformat may know an hour 24
    except ValueError:
        return False
    return True


def rising(values: Sequence[str]) -> bool:
    """Sorted, each once."""
    return list(values) == sorted(set(values))


# === 2  Trees (RFC 9162, section 2.1) ================================================================================


def leaf(data: bytes) -> bytes:
    """MTH([d]) = SHA256(u8(0) || d)."""
    return sha256(b"\x00" + data)


def node(left: bytes, right: bytes) -> bytes:
    """SHA256(u8(1) || left || right)."""
    return sha256(b"\x01" + left + right)


def split(size: int) -> int:
    """k, the largest power of two below size >= 2."""
    return 1 << ((size - 1).bit_length() - 1)


def root_of(leaves: Sequence[bytes]) -> bytes:
    """MTH(D)."""
    if len(leaves) < 2:
        return leaf(leaves[0]) if leaves else sha256(b"")
    k = split(len(leaves))
    return node(root_of(leaves[:k]), root_of(leaves[k:]))


def root_by_path(at: int, size: int, hashed: bytes, path: list[bytes]) -> bytes:
    """The root that PATH(at, D[size]) leads to: 2.1.3.1 read backwards, each step taking a node off the path's end."""
    if size == 1:
        return hashed
    k, other = split(size), _last(path)
    if at < k:
        return node(root_by_path(at, k, hashed, path), other)
    return node(other, root_by_path(at - k, size - k, hashed, path))


def root_by_pair(at: int, size: int, left: bytes, right: bytes, path: list[bytes]) -> bytes:
    """The root that PAIR(at, D[size]) leads to, from the hashed leaves at and at + 1 < size."""
    k = split(size)
    if at + 1 == k:
        upper = root_by_path(0, size - k, right, path)  # its nodes are the later ones of the path
        return node(root_by_path(at, k, left, path), upper)
    other = _last(path)
    if at + 1 < k:
        return node(root_by_pair(at, k, left, right, path), other)
    return node(other, root_by_pair(at - k, size - k, left, right, path))


def _last(path: list[bytes]) -> bytes:
    if not path:
        raise Broken("2", "a path has too few nodes")
    return path.pop()


# === 3  Tokens and sets, 4  Proofs ===================================================================================

SETS = {"content": ("dataset", "forget", "retain"), "key": ("dataset_keys",)}  # of a kind of proof
SET = '"dataset"|"dataset_keys"|"forget"|"retain"'

PLACE = {"set": SET, "size": "count", "root": "hex", "path": "string"}
MEMBER = {**PLACE, "member": "true", "at": "count"}
ABSENT = {**PLACE, "member": "false", "at": "integer", "left": "hex|null", "right": "hex|null"}
PROOF = {
    "schema": '"subject-proof/1"',
    "batch": "code",
    "kind": '"content"|"key"',
    "salt": "hex",
    "sha256": "hex",
    "sets": Many([MEMBER, ABSENT], least=1, once="set"),
}


def proof_problems(data: bytes, bundle: Bundle, image: str | None) -> Iterator[str]:
    """Whether a person's proof holds, is one of this bundle and, given the SHA-256 of an image, one of that image."""
    try:
        proof = file_of(PROOF, data, 2**16, "4", "the proof")
        if proof["batch"] != bundle.index["batch"]:
            raise Broken("4", "the proof is one of another batch")
        if image is not None and (proof["kind"] != "content" or proof["sha256"] != image):
            raise Broken("4", "the proof is not one of this image")
        kind = b"unlearning/" + proof["kind"].encode() + b"/1"
        token = sha256(kind + bytes.fromhex(proof["salt"]) + bytes.fromhex(proof["sha256"]))
        for entry in proof["sets"]:
            which = entry["set"]
            if which not in SETS[proof["kind"]] or which not in bundle.sets:
                raise Broken("4", f"the bundle has no {which} for a proof of kind {proof['kind']}")
            if (entry["size"], entry["root"]) != (bundle.sets[which]["size"], bundle.root(which)):
                raise Broken("4", f"size or root of {which} is not what the bundle commits to")
            check_entry(entry, token)
    except Broken as refusal:
        yield str(refusal)


def check_entry(entry: dict[str, Any], token: bytes) -> None:
    """Raise Broken where a set's root does not show that the token is in it, or is not."""
    joined = unb64(entry["path"], "4", f"the path in {entry['set']}")
    path = [joined[start : start + 32] for start in range(0, len(joined), 32)]
    root = (_root_at if entry["member"] else _root_around)(entry, token, path)
    if path or root.hex() != entry["root"]:
        raise Broken("4", f"the path in {entry['set']} has too many nodes, or leads to another root")


def _root_at(entry: dict[str, Any], token: bytes, path: list[bytes]) -> bytes:
    if entry["at"] >= entry["size"]:
        raise Broken("4", f"{entry['set']} has no place {entry['at']}")
    return root_by_path(entry["at"], entry["size"], leaf(token), path)


def _root_around(entry: dict[str, Any], token: bytes, path: list[bytes]) -> bytes:
    """The root by what stands beside the token's place: `left` at `at`, `right` behind it, where there are such."""
    at, size = entry["at"], entry["size"]
    left, right = (None if entry[side] is None else bytes.fromhex(entry[side]) for side in ("left", "right"))
    if (left is not None and left >= token) or (right is not None and right <= token):
        raise Broken("4", f"the token does not stand between its neighbours in {entry['set']}")
    if left is not None and right is not None and 0 <= at < size - 1:
        return root_by_pair(at, size, leaf(left), leaf(right), path)
    if left is None and right is not None and at == -1 and size > 0:
        return root_by_path(0, size, leaf(right), path)
    if left is not None and right is None and 0 <= at == size - 1:
        return root_by_path(at, size, leaf(left), path)
    if left is None and right is None and at == -1 and size == 0:
        return root_of([])
    raise Broken("4", f"the neighbours in {entry['set']} are not those of place {at} of {size}")


# === 5  Keys =========================================================================================================

KEY = {
    "keyid": "hex",
    "public": "hex",
    "role": '"pipeline"|"privacy_officer"',
    "valid_from": "time",
    "valid_until": "time|null",
    "revoked_from": "time|null",
}
TRUST = {"schema": '"trust/1"', "keys": Many(KEY, least=1)}


class Key(NamedTuple):
    """A key that is trusted, in a role and for a time."""

    keyid: str
    public: str
    role: str
    valid_from: str
    valid_until: str | None
    revoked_from: str | None

    def good_at(self, moment: str) -> bool:
        """Whether it is valid then, and not revoked."""
        return self.valid_from <= moment and all(end is None or moment < end for end in self[4:])

    def verifies(self, sig: bytes, message: bytes) -> bool:
        """Ed25519 (RFC 8032)."""
        try:
            Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.public)).verify(sig, message)
        except InvalidSignature:
            return False
        return True


def read_trust(data: bytes) -> dict[str, Key]:
    """The keys of a trust file, by their ids. Raises Unjudged where it is none."""
    try:
        keys = [Key(**one) for one in file_of(TRUST, data, 2**20, "5", "the trust file")["keys"]]
        if not rising([key.keyid for key in keys]):
            raise Broken("5", "the trust file's keys are not sorted by their ids, each once")
        if any(sha256(bytes.fromhex(key.public)).hex() != key.keyid for key in keys):
            raise Broken("5", "an id in the trust file is not the SHA-256 of its public key")
    except Broken as refusal:
        raise Unjudged(str(refusal)) from None
    return {key.keyid: key for key in keys}


# === 6  Bundle =======================================================================================================

LINES, BYTES = 64, 4 * 2**20  # at most
PAYLOAD_TYPE = "application/vnd.in-toto+json"
MODEL = "model.safetensors"
RUN_READS = ("dataset", "forget", "retain")  # the sets among provenance's dependencies
NEEDED = (*RUN_READS, "original_checkpoint")

SIGNATURE = {"keyid": "hex", "sig": "string"}
ENVELOPE = {"payload": "string", "payloadType": f'"{PAYLOAD_TYPE}"', "signatures": Many(SIGNATURE, least=1)}
DIGEST = {"sha256": "hex"}
FILE = {"digest": DIGEST, "name": "name"}

# fmt: off
COMMITMENT = {"counts": Keyed("code", "count"), "dataset": "code", "dataset_sha256": "hex", "key_id": "hex",
              "leaf": '"content/1"|"key/1"', "set": SET, "size": "count", "tree": '"rfc9162-sha256-sorted"'}
DEPENDENCY = {"digest": [DIGEST, {"gitCommit": "commit"}], "name": "name"}
BUILD = {"buildType": '"urn:unlearning:unlearn:1"', "externalParameters": Keyed("parameter", "string|integer|null"),
         "internalParameters": Keyed("parameter", "string|integer|boolean|null"),
         "resolvedDependencies": Many(DEPENDENCY, once="name")}
RUN = {"builder": {"id": "name"}, "byproducts": Many(FILE),
       "metadata": {"finishedOn": "time", "invocationId": "name", "startedOn": "time"}}
MEASUREMENT = {"blocking": "boolean", "bound": "string", "high": "string|null", "low": "string|null", "name": "code",
               "source": "string", "status": '"pass"|"fail"|"not_measured"', "value": "string|null"}
TEST_RESULT = {"configuration": Many(FILE, least=1, once="name"), "failedTests": Many("code"), "group": "code",
               "measurements": Many(MEASUREMENT, least=1), "passedTests": Many("code"), "reference": "hex|null",
               "result": '"PASSED"|"WARNED"|"FAILED"', "warnedTests": Many("code")}
SVR = {"policy": DIGEST, "properties": Many("string"), "timeCreated": "time", "verifier": {"id": "name"}}
SELECTOR = {"kind": "code", "provable": "boolean"}
NO_MATCH = {"dataset": "code", "request_id": "name", "selectors": Many(SELECTOR, least=1)}
PREVIOUS = {"sha256": "hex", "version": "count"}
PROMOTION = {"approver_role": "code", "at": "time", "certificate_sha256": "hex", "checkpoint_sha256": "hex",
             "model": "code", "pending_requests": "count|null", "previous": [PREVIOUS, "null"], "version": "count"}
LOCATION = {"expires_at": "time|null", "found": "count", "location": "code", "method": '"rewrite"|"delete"|"gc"|"none"',
            "remaining": "count", "removed": "count", "verified_at": "time|null", "why": "code|null"}
PURGE = {"finished_at": "time", "locations": Many(LOCATION, least=1, once="location"), "record_sha256": "hex",
         "scan": {"bytes": "count", "files": "count", "hits": "count"}, "started_at": "time",
         "status": '"complete"|"partial"', "tool": "name"}
CERTIFICATE = {"batch": "code", "certificate_sha256": "hex|null", "cut_off": "time|null", "goal": "code|null",
               "claim_level": '"none"|"C1"|"C2"|"C3"|"C1+R"|"C2+R"|"C3+R"', "issued_at": "time",
               "log": {"root": "hex", "size": "count"}, "not_claimed": Many("string", least=1), "payloads": Many("hex"),
               "requests": Many("name", least=1), "sequence": "count", "status": '"issued"|"refused"|"no_match"',
               "supersedes": "hex|null"}
# fmt: on

PREDICATES = {  # by predicateType: this section's word for it, and the predicate's shape
    "urn:unlearning:set-commitment:1": ("set-commitment", COMMITMENT),
    "https://slsa.dev/provenance/v1": ("provenance", {"buildDefinition": BUILD, "runDetails": RUN}),
    "https://in-toto.io/attestation/test-result/v0.1": ("test-result", TEST_RESULT),
    "https://in-toto.io/attestation/svr/v0.2": ("svr", SVR),
    "urn:unlearning:no-match:1": ("no-match", NO_MATCH),
    "urn:unlearning:promotion:1": ("promotion", PROMOTION),
    "urn:unlearning:purge:1": ("purge", PURGE),
    "urn:unlearning:erasure-certificate:1": ("erasure-certificate", CERTIFICATE),
}
ORDER = re.compile(  # of the statements: each by its word, a set-commitment by its set
    "dataset (dataset_keys )?"
    "(forget retain provenance (test-result )+svr (promotion (purge )?)?|no-match )"
    "erasure-certificate "
)
STATEMENT = {"_type": '"https://in-toto.io/Statement/v1"', "predicateType": "string", "subject": Many(FILE, 1, "name")}
ROLES = {False: ["pipeline"], True: ["pipeline", "privacy_officer"]}  # of the signers of a line, and of the last


class Envelope(NamedTuple):
    """One line: a payload, and its signatures by the ids of their keys."""

    payload: bytes
    signatures: dict[str, bytes]


class Statement(NamedTuple):
    """One payload; `word` is that of its type, `subjects` are hexadecimal digests by name."""

    word: str
    sha256: str
    subjects: dict[str, str]
    said: dict[str, Any]


@dataclass(frozen=True)
class Bundle:
    """Well-formed statements in their order, each signed as it has to be. Whether they agree is section 7's."""

    statements: list[Statement]
    signers: list[Key]  # of the index

    @property
    def index(self) -> dict[str, Any]:
        """The predicate of the erasure-certificate, which lists all others."""
        return self.statements[-1].said

    @property
    def subject(self) -> str:
        """Digest of what the index is about: the model, or the data set in which nothing matched."""
        return next(iter(self.statements[-1].subjects.values()))

    @property
    def status(self) -> str:
        """Issued, refused or no_match."""
        return str(self.index["status"])

    @property
    def sets(self) -> dict[str, dict[str, Any]]:
        """The predicates of the set-commitments, by set."""
        return {said["set"]: said for said in self.all("set-commitment")}

    def root(self, which: str) -> str:
        """The root of a set that is committed to."""
        return next(one.subjects[which] for one in self.statements if one.said.get("set") == which)

    def all(self, word: str) -> list[dict[str, Any]]:
        """The predicates of the statements of one type, in their order."""
        return [one.said for one in self.statements if one.word == word]


def read_bundle(data: bytes, keys: dict[str, Key]) -> Bundle:
    """The statements of a bundle. Raises Broken at the first thing that is not as section 6 says."""
    lines = data.split(b"\n")
    if len(lines) < 2 or lines.pop():
        raise Broken("6", "the bundle has no line, or its last one does not end with a line feed")
    if len(data) > BYTES or len(lines) > LINES:
        raise Broken("6", f"the bundle is larger than {BYTES} bytes or {LINES} lines")
    envelopes = [read_envelope(line, f"line {at}") for at, line in enumerate(lines, 1)]
    for at, envelope in enumerate(envelopes, 1):
        check_signatures(envelope, keys, ROLES[at == len(envelopes)], f"line {at}")
    statements = [read_statement(envelope.payload, f"line {at}") for at, envelope in enumerate(envelopes, 1)]
    words = [one.said["set"] if one.word == "set-commitment" else one.word for one in statements]
    if not ORDER.fullmatch("".join(f"{word} " for word in words)):
        raise Broken("6", "the statements are not those of a bundle, in its order")
    bundle = Bundle(statements, [keys[keyid] for keyid in envelopes[-1].signatures])
    for key in (keys[keyid] for envelope in envelopes for keyid in envelope.signatures):
        if not key.good_at(bundle.index["issued_at"]):
            raise Broken("6", f"the {key.role} key {key.keyid} was not good at the index's issued_at")
    return bundle


def read_envelope(line: bytes, where: str) -> Envelope:
    """A DSSE envelope, not yet believed."""
    envelope = parse(line, where)
    check(envelope, ENVELOPE, "6", where)
    keyids = [one["keyid"] for one in envelope["signatures"]]
    signatures = {one["keyid"]: unb64(one["sig"], "6", f"{where}: a signature") for one in envelope["signatures"]}
    if not rising(keyids) or any(len(sig) != 64 for sig in signatures.values()):
        raise Broken("6", f"{where}: signatures are not of 64 bytes, or not sorted by keyid, each once")
    return Envelope(unb64(envelope["payload"], "6", f"{where}: the payload"), signatures)


def check_signatures(envelope: Envelope, keys: dict[str, Key], roles: list[str], where: str) -> None:
    """Every signature is a trusted key's, and valid; and there is one for each of these roles, and no more."""
    kind, payload = PAYLOAD_TYPE.encode(), envelope.payload
    message = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
    for keyid, sig in envelope.signatures.items():
        if keyid not in keys or not keys[keyid].verifies(sig, message):
            raise Broken("6", f"{where}: key {keyid} is not trusted, or its signature is not valid")
    if sorted(keys[keyid].role for keyid in envelope.signatures) != roles:
        raise Broken("6", f"{where} is not signed by exactly: {', '.join(roles)}")


def read_statement(payload: bytes, where: str) -> Statement:
    """An in-toto statement whose predicate has the shape, and holds the rules, of its type."""
    value = parse(payload, f"the payload of {where}")
    of_type = value.get("predicateType") if isinstance(value, dict) else None
    if not isinstance(of_type, str) or of_type not in PREDICATES:
        raise Broken("6", f"the payload of {where} is no statement of a type that a bundle holds")
    word, shape = PREDICATES[of_type]
    check(value, {**STATEMENT, "predicate": shape}, f"6, {word}", "statement")
    subjects = {one["name"]: one["digest"]["sha256"] for one in value["subject"]}
    statement = Statement(word, sha256(payload).hex(), subjects, value["predicate"])
    for sentence, holds in rules_within(statement):
        if not holds:
            raise Broken(f"6, {word}", f"it does not hold that {sentence}")
    return statement


def rules_within(one: Statement) -> Iterator[tuple[str, bool]]:
    """What has to hold within a statement, in words, and whether it does."""
    said, subjects, about = one.said, one.subjects, list(one.subjects)
    if one.word == "set-commitment":
        yield "the one subject is named as the set", about == [said["set"]]
        yield "leaf is key/1 for dataset_keys only", (said["leaf"] == "key/1") == (said["set"] == "dataset_keys")
        is_empty = root_of([]).hex() in subjects.values()
        yield "size is 0 exactly when the root is MTH([])", is_empty == (said["size"] == 0)
    elif one.word == "provenance":
        read = dependencies(said)
        yield f"{MODEL} is a subject", MODEL in subjects
        yield "the sets and the original are dependencies by sha256", all(read.get(one) for one in NEEDED)
    elif one.word == "no-match" or (one.word == "erasure-certificate" and said["status"] == "no_match"):
        yield "the one subject is named dataset", about == ["dataset"]
    else:
        yield f"the one subject is named {MODEL}", about == [MODEL]
    if one.word == "test-result":
        yield from rules_of_tests(said)
    if one.word == "svr":
        yield "properties are sorted, each once", rising(said["properties"])
    if one.word == "purge":
        kept = [place for place in said["locations"] if place["remaining"] > 0 and place["expires_at"] is None]
        is_done = not kept and said["scan"]["hits"] == 0
        yield "it is complete exactly when nothing stays and no scan hit", (said["status"] == "complete") == is_done


def rules_of_tests(said: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """The lists of names, and the result, follow from the measurements."""
    passed = [one["name"] for one in said["measurements"] if one["status"] == "pass"]
    failed = [one["name"] for one in said["measurements"] if one["status"] != "pass" and one["blocking"]]
    warned = [one["name"] for one in said["measurements"] if one["status"] != "pass" and not one["blocking"]]
    yield "passedTests are those that pass, sorted", said["passedTests"] == sorted(passed)
    yield "failedTests are the blocking ones that do not, sorted", said["failedTests"] == sorted(failed)
    yield "warnedTests are the rest, sorted", said["warnedTests"] == sorted(warned)
    outcome = "FAILED" if failed else "WARNED" if warned else "PASSED"
    yield "the result is that of the lists", said["result"] == outcome


def dependencies(provenance: dict[str, Any]) -> dict[str, str | None]:
    """The SHA-256 of what a run read, by name; None for a commit."""
    return {one["name"]: one["digest"].get("sha256") for one in provenance["buildDefinition"]["resolvedDependencies"]}


# === 7  Rules between the statements =================================================================================


def rules_between(bundle: Bundle) -> Iterator[tuple[str, str, bool]]:
    """Clause, what has to hold, and whether it does."""
    yield from rules_of_parts(bundle)
    yield from rules_of_claims(bundle)
    yield from rules_of_order(bundle)


def rules_of_parts(bundle: Bundle) -> Iterator[tuple[str, str, bool]]:
    """The statements are of one bundle, one model, one data set (7.1 to 7.4, and what section 6 says of several)."""
    tests, sets, nothing = bundle.all("test-result"), bundle.sets, bundle.all("no-match")
    groups, measured = [one["group"] for one in tests], [each["name"] for one in tests for each in one["measurements"]]
    yield "6, test-result", "groups are distinct", len(set(groups)) == len(groups)
    yield "6, test-result", "names are distinct in the bundle", len(set(measured)) == len(measured)
    ends = {one.subjects["dataset"] for one in bundle.statements if list(one.subjects) == ["dataset"]}
    yield "6, no-match", "the subject is the root of dataset", ends == {bundle.root("dataset")}
    together = (bundle.status == "no_match") == bool(nothing)
    yield "6, no-match", "status no_match and a no-match statement go together", together

    listed = [one.sha256 for one in bundle.statements[:-1]]
    yield "7.1", "payloads are the SHA256 of the other payloads, in order", bundle.index["payloads"] == listed
    models = {one.subjects[MODEL] for one in bundle.statements if MODEL in one.subjects}
    yield "7.2", f"all are about one {MODEL}", len(models) < 2
    for field in ("dataset", "dataset_sha256", "key_id"):
        yield "7.3", f"the set-commitments have one {field}", len({one[field] for one in sets.values()}) == 1
    yield "7.3", "no-match is about their dataset", all(one["dataset"] == sets["dataset"]["dataset"] for one in nothing)
    sizes = [sets[which]["size"] for which in ("forget", "dataset") if "forget" in sets]
    yield "7.3", "0 < forget.size <= dataset.size", not sizes or 0 < sizes[0] <= sizes[1]
    for read in map(dependencies, bundle.all("provenance")):
        for which in RUN_READS:
            yield "7.4", f"the dependency {which} has that set's root", read[which] == bundle.root(which)


def rules_of_claims(bundle: Bundle) -> Iterator[tuple[str, str, bool]]:
    """Status, tests, properties and promotion say the same (7.5 to 7.7)."""
    index, status, issued = bundle.index, bundle.status, bundle.status == "issued"
    failed = any(one["result"] == "FAILED" for one in bundle.all("test-result"))
    for properties in (one["properties"] for one in bundle.all("svr")):
        together = issued == (not failed) == ("GATES_PASSED" in properties)
        yield "7.5", "issued, no FAILED and GATES_PASSED go together", together
        claims = [f"FORGET_{index['claim_level']}"] if issued else []
        said = [one for one in properties if one.startswith("FORGET_")]
        yield "7.5", "FORGET_ and the claim level is said when issued, and nothing else", said == claims
    yield "7.6", "there is a claim level exactly when issued", issued == (index["claim_level"] != "none")
    for field in ("certificate_sha256", "goal"):
        yield "7.6", f"{field} is null for no_match only", (index[field] is None) == (status == "no_match")
    for promotion in bundle.all("promotion"):
        same, previous = promotion["certificate_sha256"] == index["certificate_sha256"], promotion["previous"]
        above = previous is None or promotion["version"] > previous["version"]
        yield "7.7", "what is promoted was issued", issued
        yield "7.7", "the promotion's certificate_sha256 is the index's", same
        yield "7.7", "its version is above the previous one", above


def rules_of_order(bundle: Bundle) -> Iterator[tuple[str, str, bool]]:
    """Nothing ends before it began or was certified before it happened; chains and lists are whole (7.8 to 7.10)."""
    index = bundle.index
    issued_at, requests = index["issued_at"], index["requests"]
    for run in (one["runDetails"]["metadata"] for one in bundle.all("provenance")):
        yield "7.8", "startedOn <= finishedOn <= issued_at", run["startedOn"] <= run["finishedOn"] <= issued_at
    for svr in bundle.all("svr"):
        yield "7.8", "timeCreated <= issued_at", svr["timeCreated"] <= issued_at
    for promotion in bundle.all("promotion"):
        yield "7.8", "promotion.at <= issued_at", promotion["at"] <= issued_at
        for purge in bundle.all("purge"):
            yield "7.8", "promotion.at <= purge.started_at", promotion["at"] <= purge["started_at"]
            yield "7.8", "purge.started_at <= purge.finished_at", purge["started_at"] <= purge["finished_at"]
            yield "7.8", "purge.finished_at <= issued_at", purge["finished_at"] <= issued_at
    first = index["sequence"] == 0
    yield "7.9", "supersedes is null exactly when sequence is 0", first == (index["supersedes"] is None)
    yield "7.9", "log.size >= the number of payloads", index["log"]["size"] >= len(index["payloads"])
    yield "7.10", "requests are sorted, each once", rising(requests)
    for nothing in bundle.all("no-match"):
        yield "7.10", "no_match has its one request", requests == [nothing["request_id"]]


# === 8  What a verifier is given, and what it answers ================================================================


class Given(NamedTuple):
    """What was given beside the bundle: contents of files, and hexadecimal SHA-256 of those that may be large."""

    model: str | None = None
    log: bytes | None = None
    proof: bytes | None = None
    image: str | None = None
    supersedes: bytes | None = None


class Report(NamedTuple):
    """The answer. `bundle` is there when it is well formed and signed, whatever else does not hold."""

    problems: list[str]
    not_checked: list[str]
    bundle: Bundle | None = None

    def document(self) -> bytes:
        """`verification/1`: no status can be read off what does not hold."""
        holds = self.bundle is not None and not self.problems
        report = {"schema": "verification/1", "verified": holds, "status": None, "claim_level": None}
        report.update(problems=self.problems, not_checked=self.not_checked)
        if self.bundle is not None and holds:
            report.update(status=self.bundle.status, claim_level=self.bundle.index["claim_level"])
        return canonical(report) + b"\n"


def judge(data: bytes, keys: dict[str, Key], given: Given) -> Report:
    """Judge a bundle and what was given with it. Raises Unjudged for an image without a proof."""
    if given.image is not None and given.proof is None:
        raise Unjudged("spec 8: an image is judged by a proof, and none was given")
    try:
        bundle = read_bundle(data, keys)
    except Broken as refusal:
        return Report([str(refusal)], not_checked(given))
    problems = [
        f"spec {clause}: it does not hold that {what}" for clause, what, holds in rules_between(bundle) if not holds
    ]
    if given.model is not None and (bundle.status == "no_match" or given.model != bundle.subject):
        problems.append("spec 8: the weights are not those that the certificate is about")
    if given.log is not None:
        problems.extend(log_problems(given.log, bundle))
    if given.proof is not None:
        problems.extend(proof_problems(given.proof, bundle, given.image))
    if given.supersedes is not None:
        problems.extend(chain_problems(given.supersedes, keys, bundle))
    return Report(problems, not_checked(given), bundle)


def chain_problems(data: bytes, keys: dict[str, Key], bundle: Bundle) -> Iterator[str]:
    """Whether a bundle is the one that this bundle replaces."""
    replaced = judge(data, keys, Given())
    if replaced.bundle is None or replaced.problems:
        yield f"spec 8: the superseded bundle does not hold ({replaced.problems[0]})"
        return
    old, new = replaced.bundle.index, bundle.index
    rules = {
        "it is the one that is superseded": replaced.bundle.statements[-1].sha256 == new["supersedes"],
        "its sequence is one less": old["sequence"] + 1 == new["sequence"],
        "it is about the same batch": old["batch"] == new["batch"],
        "it is about the same subject": replaced.bundle.statements[-1].subjects == bundle.statements[-1].subjects,
        "it was not issued later": old["issued_at"] <= new["issued_at"],
        "the log has grown since": old["log"]["size"] < new["log"]["size"],
    }
    yield from (
        f"spec 8: it does not hold of the superseded bundle that {what}" for what, holds in rules.items() if not holds
    )


def not_checked(given: Given) -> list[str]:
    """What this answer does not say, in words."""
    missing = {
        "whose weights these are: --model was not given": given.model,
        "whether the log holds this certificate: --log was not given": given.log,
        "any person's proof: --proof was not given": given.proof,
        "whether the proof is one of a certain image: --image was not given": given.image,
        "the bundle that this one may replace: --supersedes was not given": given.supersedes,
    }
    return [
        "that the data is gone from the weights: it cannot be shown from weights (Thudi et al., USENIX Security 2022)",
        "that the keys are whose they are said to be: the trust file has to come from a place that you trust",
        "that run, tests and purge took place as stated: those who hold the keys say so",
        "that the sets are of the images they should be of: whoever holds the data set's key can compute them anew",
        "when it was signed: issued_at is the signers' own word; a stolen key can date back, a log head shows it",
        "that no newer bundle replaces this one",
        *(sentence for sentence, there in missing.items() if there is None),
    ]


# === 9  The log ======================================================================================================


def log_problems(data: bytes, bundle: Bundle) -> Iterator[str]:
    """Whether the log's first leaves have the root that the index names, and the bundle stands in it."""
    lines, index = data.decode("latin-1").split("\n"), bundle.index
    if lines.pop() or not all(re.fullmatch(PATTERNS["hex"], line) for line in lines):
        yield "spec 9: the log is not lines of 64 lower-case hexadecimal digits, each ended by a line feed"
        return
    before, after = lines[: index["log"]["size"]], lines[index["log"]["size"] :]
    if root_of([bytes.fromhex(line) for line in before]).hex() != index["log"]["root"]:
        yield "spec 9: the log's first leaves have not the root that the index names: it was cut off or rewritten"
    if not set(index["payloads"]) <= set(before):
        yield "spec 9: the log lacked a payload of the bundle when the certificate was issued"
    if bundle.statements[-1].sha256 not in after:
        yield "spec 9: the log lacks the certificate itself"


# === At the command line =============================================================================================


def content(path: str) -> bytes:
    """A file's bytes, of a larger one enough to see that it is too large. Raises Unjudged."""
    return b"".join(_chunks(path, BYTES + 1))


def digest(path: str) -> str:
    """Hexadecimal SHA-256 of a file. Raises Unjudged."""
    hashed = hashlib.sha256()
    for chunk in _chunks(path, None):
        hashed.update(chunk)
    return hashed.hexdigest()


def _chunks(path: str, most: int | None) -> Iterator[bytes]:
    try:
        with Path(path).open("rb") as file:
            while chunk := file.read(2**20 if most is None else most):
                yield chunk
                if most is not None:
                    return
    except OSError as error:
        raise Unjudged(f"{path!a} cannot be read ({error.strerror})") from None


def told(report: Report, keys: dict[str, Key]) -> str:
    """The report for people: the status first. Words of the bundle are quoted in ASCII; they may be anyone's."""
    if report.bundle is None or report.problems:
        lines = ["DOES NOT HOLD: nothing that this bundle says is to be relied on"]
    else:
        index = report.bundle.index
        lines = [
            f"{index['status'].upper()}: everything that was given holds; claim level {index['claim_level']}",
            f"  batch {index['batch']}, bundle {index['sequence']} of it, issued {index['issued_at']}",
            f"  about {'data set' if index['status'] == 'no_match' else 'model'} {report.bundle.subject}",
            f"  requests {', '.join(json.dumps(one) for one in index['requests'])}",
            f"  statements {', '.join(one.word for one in report.bundle.statements)}",
            *(f"  signed by {key.role} {key.keyid}" for key in report.bundle.signers),
            *(f"  it does not claim: {json.dumps(one)}" for one in index["not_claimed"]),
        ]
    lines += [f"  {problem}" for problem in report.problems]
    lines += ["Not checked:", *(f"  {one}" for one in report.not_checked)]
    lines += ["Trusted keys (compare them with what you were told elsewhere):"]
    lines += [f"  {key.role} {key.keyid}" for key in keys.values()]
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Judge what the command line names; the exit code is the answer."""
    parser = argparse.ArgumentParser(description="Does this erasure certificate hold? 0: yes, 1: no, 2: not judged.")
    parser.add_argument("bundle", help="*.intoto.jsonl")
    parser.add_argument("--trust", required=True, help="the keys that you trust, from a place that you trust")
    parser.add_argument("--model", help="the weights that the certificate should be about")
    parser.add_argument("--log", help="the log of digests that the certificate should stand in")
    parser.add_argument("--proof", help="a person's proof")
    parser.add_argument("--image", help="the image that the proof should be one of")
    parser.add_argument("--supersedes", help="the bundle that this one should replace")
    parser.add_argument("--json", help="where to write the report")
    args = parser.parse_args(argv)
    keys: dict[str, Key] = {}
    try:
        keys = read_trust(content(args.trust))
        given = Given(
            model=digest(args.model) if args.model else None,
            log=b"".join(_chunks(args.log, None)) if args.log else None,
            proof=content(args.proof) if args.proof else None,
            image=digest(args.image) if args.image else None,
            supersedes=content(args.supersedes) if args.supersedes else None,
        )
        report = judge(content(args.bundle), keys, given)
        code, text = (1 if report.problems else 0), told(report, keys)
    except Unjudged as refusal:
        report = Report([str(refusal)], ["everything"])
        code, text = 2, f"NOT JUDGED: {refusal}\n"
    if args.json:
        try:
            Path(args.json).write_bytes(report.document())
        except OSError as error:
            code, text = 2, f"NOT JUDGED: the report cannot be written to {args.json!a} ({error.strerror})\n"
    sys.stdout.write(text)
    return code


if __name__ == "__main__":
    sys.exit(main())
