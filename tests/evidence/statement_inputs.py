"""A certificate and committed sets, by hand: what statements are made from in their tests."""

from __future__ import annotations

import json
from typing import Any

from unlearning.evidence import certificate, commitment, predicates
from unlearning.evidence.statements import Sets

K = bytes(range(32))
IMAGES = [bytes([number]) * 32 for number in range(6)]
WEIGHTS, OTHER, COMMIT = "ab" * 32, "0f" * 32, "0123456789abcdefc0c0c0c0c0c0c0c0c0c0c0c0"
COMMITTED = {
    "retain": commitment.of(K, "content", IMAGES[4:]),
    "forget": commitment.of(K, "content", IMAGES[:2]),
    "dataset": commitment.of(K, "content", IMAGES),
}
SETS = Sets("toys", OTHER, COMMITTED, {"forget": {"rows": 2, "requests": 1}})
PARAMS = {"gates": {"forgetting": 0.9}, "model": {"name": "toys-mae"}}
GATES = certificate.sections_sha256(PARAMS, "certificate")


SAID = {
    "batch": "b1",
    "goal": "never_seen",
    "params": PARAMS,
    "params_sha256": "8e" * 32,
    "valid_for": {"model.safetensors": WEIGHTS},
    "claim_level": "C1",
    "status": "issued",
    "issued_at": "2026-03-04T05:06:08+01:00",
    "policy": {"tier": "approximate"},
}


def read(payload: bytes) -> dict[str, Any]:
    """A payload's value; it is of its form."""
    tree: dict[str, Any] = json.loads(payload)
    predicates.statement(tree)
    return tree


def file(name: str, sha256: str) -> dict[str, Any]:
    return {"digest": {"sha256": sha256}, "name": name}
