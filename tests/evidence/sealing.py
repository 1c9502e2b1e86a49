"""Putting signatures under statements, as infra/decisions/certificate-spec.md, sections 5 and 6, says.

PAE, JSON and signing are written here a second time: what is tested does not make its own test data.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from unlearning.evidence import merkle

Tree = dict[str, Any]
TYPE = "application/vnd.in-toto+json"
WEIGHTS = "model.safetensors"


@cache
def key(name: str) -> Ed25519PrivateKey:
    """The private key of that name: always the same."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(f"a key for tests: {name}".encode()).digest())


@cache
def public(name: str) -> bytes:
    return key(name).public_key().public_bytes_raw()


@cache
def keyid(name: str) -> str:
    return hashlib.sha256(public(name)).hexdigest()


def spelled(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def trusted(name: str, role: str, **times: str | None) -> Tree:
    """A line of a trust file."""
    ends: Tree = {"valid_from": "2026-01-01T00:00:00+00:00", "valid_until": None, "revoked_from": None, **times}
    return {"keyid": keyid(name), "public": public(name).hex(), "role": role, **ends}


@dataclass
class Draft:
    """A bundle before it is sealed: whoever breaks one thing in it has everything else made anew."""

    statements: list[Tree]  # the index last
    keys: list[Tree] = field(
        default_factory=lambda: [trusted("pipeline", "pipeline"), trusted("officer", "privacy_officer")]
    )
    signers: dict[int, list[str]] = field(default_factory=dict)  # line -> names; default: as it is right
    earlier: list[bytes] = field(default_factory=list)  # what the log held before
    late: list[Callable[[Tree], Any]] = field(default_factory=list)  # changes of the index, after it was filled
    text: list[Callable[[bytes], bytes]] = field(default_factory=list)  # changes of the sealed bytes

    @property
    def index(self) -> Tree:
        predicate: Tree = self.statements[-1]["predicate"]
        return predicate

    def of(self, ending: str) -> list[Tree]:
        """The predicates of a type, by the end of its name."""
        return [one["predicate"] for one in self.statements if one["predicateType"].endswith(ending)]

    def statement(self, ending: str, number: int = 0) -> Tree:
        return [one for one in self.statements if one["predicateType"].endswith(ending)][number]

    def log(self) -> list[bytes]:
        """Every digest of the log, the index last."""
        payloads = [hashlib.sha256(spelled(one)).digest() for one in self.statements]
        return [*self.earlier, *payloads]

    def sealed(self) -> bytes:
        """The bundle's bytes."""
        leaves = self.log()[:-1]
        self.index["payloads"] = [one.hex() for one in leaves[len(self.earlier) :]]
        self.index["log"] = {"root": merkle.root(leaves).hex(), "size": len(leaves)}
        for change in self.late:
            change(self.index)
        last = len(self.statements) - 1
        lines = [
            line(spelled(one), self.signers.get(place, ["pipeline", "officer"] if place == last else ["pipeline"]))
            for place, one in enumerate(self.statements)
        ]
        content = b"".join(one + b"\n" for one in lines)
        for change in self.text:
            content = change(content)
        return content

    def trust(self) -> bytes:
        """The trust file's bytes."""
        return spelled({"schema": "trust/1", "keys": sorted(self.keys, key=lambda one: one["keyid"])}) + b"\n"


def line(payload: bytes, names: list[str]) -> bytes:
    """A DSSE envelope."""
    pae = b"DSSEv1 %d %b %d %b" % (len(TYPE), TYPE.encode(), len(payload), payload)
    signatures = [
        {"keyid": keyid(name), "sig": base64.b64encode(key(name).sign(pae)).decode()}
        for name in sorted(set(names), key=keyid)
    ]
    return spelled({"payload": base64.b64encode(payload).decode(), "payloadType": TYPE, "signatures": signatures})


def measurement(name: str, status: str = "pass", blocking: bool = True) -> Tree:
    """One criterion."""
    value = None if status == "not_measured" else "0.95"
    parts = {"bound": ">= 0.9", "high": value, "low": value, "name": name, "source": "a test", "value": value}
    return {"blocking": blocking, "status": status, **parts}


def group(name: str, measured: list[Tree], reference: str | None = None) -> Tree:
    """The predicate of a test-result whose lists follow from its measurements."""
    lists = {
        "passedTests": sorted(one["name"] for one in measured if one["status"] == "pass"),
        "failedTests": sorted(one["name"] for one in measured if one["status"] != "pass" and one["blocking"]),
        "warnedTests": sorted(one["name"] for one in measured if one["status"] != "pass" and not one["blocking"]),
    }
    result = "FAILED" if lists["failedTests"] else "WARNED" if lists["warnedTests"] else "PASSED"
    gates = {"digest": {"sha256": "ab" * 32}, "name": "gates"}
    more = {"configuration": [gates], "group": name, "measurements": measured, "reference": reference, "result": result}
    return {**more, **lists}


def statement(kind: str, predicate: Tree, name: str, digest: str) -> Tree:
    """An in-toto Statement about one thing."""
    subject = [{"digest": {"sha256": digest}, "name": name}]
    about = {"_type": "https://in-toto.io/Statement/v1", "subject": subject}
    return {**about, "predicate": predicate, "predicateType": kind}
