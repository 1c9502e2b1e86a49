"""What one batch has to do with an image, and what it made of it: from its manifests and records alone. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from unlearning import digests, files
from unlearning.data import index
from unlearning.errors import EvidenceError, StorageError
from unlearning.evidence import lineage
from unlearning.evidence.lineage import Record
from unlearning.stages import BESIDE, STAGES
from unlearning.workspace import BatchFolder

ROLES = ("forget", "earlier", "retain", "holdout")
_KNEW = {  # (role of the image, checkpoint) -> what that checkpoint has to do with it
    ("forget", "original"): "learnt it",
    ("forget", "reference"): "was trained without it",
    ("forget", "unlearned"): "was made to forget it",
    ("earlier", "original"): "had been made to forget it by an earlier batch",
    ("earlier", "reference"): "was trained without it",
    ("earlier", "unlearned"): "must not have restored it",
    ("retain", "original"): "learnt it",
    ("retain", "reference"): "learnt it",
    ("retain", "unlearned"): "was kept from forgetting it",
}
_HELD_OUT = "never saw it in training"


@dataclass(frozen=True, slots=True)
class Stood:
    """Where images stood in one batch."""

    roles: dict[str, int]  # role -> how many of the images
    requests: tuple[str, ...]  # ids that cover one of them
    trained: bool  # one of them, at least, was of the training split


def manifests(batch: BatchFolder) -> list[Path]:
    """Those it has."""
    return [path for role in ROLES if (path := getattr(batch, role)).is_file()]


def of_images(batch: BatchFolder, keys: Sequence[tuple[str, str]]) -> Stood | None:
    """Where the images (data set, key) stand in its manifests; None where nowhere."""
    roles, requests, trained = dict[str, int](), set[str](), False
    for role in ROLES:
        path: Path = getattr(batch, role)
        if not path.is_file():
            continue
        rows = index.columns(path, filters=[("key", "in", [key for _, key in keys])])
        rows = rows.filter(pc.is_in(_both(rows), pa.array([f"{dataset}\n{key}" for dataset, key in keys])))
        if len(rows):
            roles[role] = len(rows)
            trained |= "train" in rows["split"].to_pylist()
            if role == "forget":
                requests |= {one for each in rows["requests"].to_pylist() for one in each}
    return Stood(roles, tuple(sorted(requests)), trained) if roles else None


def of_request(batch: BatchFolder, request_id: str) -> Stood:
    """How many images the request covers in the batch."""
    if not batch.forget.is_file():
        return Stood({}, (request_id,), False)
    rows = index.columns(batch.forget, "split", "requests")
    owner = pc.list_parent_indices(rows["requests"])
    mine = owner.filter(pc.equal(pc.list_flatten(rows["requests"]), request_id))
    splits = rows["split"].take(pc.unique(mine)).to_pylist()
    return Stood({"forget": len(splits)} if splits else {}, (request_id,), "train" in splits)


def described(batch: BatchFolder, stood: Stood | None) -> dict[str, Any]:
    """The batch as the answer has it: its requests, runs, records, checkpoints and certificate."""
    records = list(_records(batch))
    return {
        "batch": batch.key,
        "model": _certified(batch).get("params", {}).get("model", {}).get("name"),
        "requests": _said(batch.requests.with_name("batch.json")).get("count"),
        **({} if stood is None else {"roles": stood.roles}),
        "assets": [_asset(record) for record in records],
        "checkpoints": [_checkpoint(record, stood) for record in records if record.asset.endswith("_checkpoint")],
        "certificate": certificate(batch),
    }


def certificate(batch: BatchFolder) -> dict[str, Any] | None:
    """{sha256, status, verdict, issued_at} of its certificate; None where there is none."""
    said = _certified(batch)
    if not said:
        return None
    shown = {name: said.get(name) for name in ("status", "verdict", "claim_level", "issued_at")}
    return {"sha256": digests.of_file(batch.certificate), **shown}


def named(batch: BatchFolder, sha256: str) -> list[dict[str, Any]]:
    """What of the batch has that sha256, or one that begins so: assets, files, records, parameters."""
    found = []
    for record in _records(batch):
        if record.sha256.startswith(sha256):
            found.append({"asset": record.asset, "what": "the whole of it", "inputs": record.inputs})
        found += [
            {"asset": record.asset, "what": file.path, "inputs": record.inputs}
            for file in record.outputs
            if file.sha256.startswith(sha256)
        ]
    return found


def _records(batch: BatchFolder) -> list[Record]:
    """Every record that can be read, in the order of the stages."""
    found = []
    for name in (*STAGES, *BESIDE):
        try:
            found.append(lineage.read(batch, name))
        except (StorageError, EvidenceError):
            continue
    return found


def _asset(record: Record) -> dict[str, Any]:
    revision = record.code.get("revision")
    return {"asset": record.asset, "sha256": record.sha256, "made_at": record.made_at, "code": revision}


def _checkpoint(record: Record, stood: Stood | None) -> dict[str, Any]:
    role = record.asset.removesuffix("_checkpoint")
    told = {"role": role, "sha256": record.sha256}
    if stood is None or not stood.roles:
        return told
    where = next(name for name in ROLES if name in stood.roles)
    learnt = _KNEW.get((where, role), _HELD_OUT)
    return {**told, "knows": learnt if stood.trained or learnt.startswith("was made") else _HELD_OUT}


def _certified(batch: BatchFolder) -> dict[str, Any]:
    return _said(batch.certificate)


def _said(path: Path) -> dict[str, Any]:
    try:
        found = files.read_json(path)
    except StorageError:
        return {}
    return found if isinstance(found, dict) else {}


def _both(rows: pa.Table) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(rows["dataset"], rows["key"], "\n")
