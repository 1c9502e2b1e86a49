"""plan.json: which way of forgetting a batch takes, and why. Written by the verb `plan`, read by what follows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from unlearning import files
from unlearning.errors import EvidenceError, StorageError
from unlearning.rules import Tier
from unlearning.workspace import BatchFolder

SCHEMA = "plan/1"
ASSET = "deletion_plan"


def file(batch: BatchFolder) -> Path:
    """Where it lies."""
    return batch.asset(ASSET) / "plan.json"


def read(batch: BatchFolder) -> Mapping[str, Any]:
    """The plan. Raises StorageError where there is none, EvidenceError where it is not one."""
    found = files.read_json(file(batch))
    whole = isinstance(found, Mapping) and found.get("schema") == SCHEMA and found.get("tier") in get_args(Tier)
    if not whole or not isinstance(found.get("unlearn"), Mapping) or not isinstance(found.get("reason"), str):
        raise EvidenceError(f"{file(batch)}: not a {SCHEMA}; `unlearning plan --batch {batch.key}` makes it again")
    return dict(found)


def read_or_empty(batch: BatchFolder) -> Mapping[str, Any]:
    """The plan, {} where there is none that can be read."""
    try:
        return read(batch)
    except (StorageError, EvidenceError):
        return {}


def said(found: Mapping[str, Any]) -> dict[str, Any]:
    """What certificate and report show of it."""
    return {name: found[name] for name in ("tier", "rule", "reason")}
