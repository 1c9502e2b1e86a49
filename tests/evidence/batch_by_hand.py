"""A certified batch in a folder, written by hand: no picture is ingested, no verb is called, no bundle is signed.

What certificate, verification and promotion read of a batch is its records, its reports and the bytes of its assets;
so its assets are a few bytes each, and its records are those that the verbs would have written.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from unlearning import digests, files
from unlearning.evidence import certificate, lineage
from unlearning.evidence.lineage import Record
from unlearning.params import Params
from unlearning.stages import STAGES
from unlearning.workspace import BatchFolder, Workspace

TOYS: dict[str, Any] = {"model.name": "toys-mae", "gates.attacks": {}}
MADE_AT = "2026-03-04T05:06:07+00:00"
ISSUED_AT = "2026-03-04T05:06:08+00:00"
CODE: dict[str, str | bool] = {"revision": "c0" * 20, "dirty": False, "source_sha256": "0f" * 32, "version": "0.1.0"}
DATASET = "d0" * 32  # sha256 of the index that every asset was made from
SCORES = {"forgetting": 0.95, "forgetting_trained": 0.95, "retention": 0.99, "reference_forgetting": 1.1}


def toy_params(**overrides: Any) -> Params:
    return Params.read(Path(__file__).resolve().parents[2] / "params.yaml", {**TOYS, **overrides})


def asked(number: int, state: str = "scheduled") -> dict[str, Any]:
    """A request, and what became of it."""
    return {"controller_id": "shop-1", "request_id": f"r-{number}", "state": state}


def put(batch: BatchFolder, params: Params, asset: str, contents: dict[str, bytes], **facts: Any) -> Record:
    """An asset's files, and the record that its verb would have written."""
    for path, content in contents.items():
        files.write_bytes(batch.asset(asset) / path, content)
    return recorded(batch, params, asset, **facts)


def recorded(batch: BatchFolder, params: Params, asset: str, **facts: Any) -> Record:
    """The record of an asset as its files now are."""
    outputs, stage = digests.of_folder(batch.asset(asset)), STAGES[asset]
    made_from = {
        name: DATASET if name == "image_dataset" else lineage.read(batch, name).sha256 for name in stage.inputs
    }
    sha256 = digests.of_listing(outputs)
    said = params.section_digest(*stage.params)
    record = Record(asset, batch.key, "2e" * 32, sha256, outputs, made_from, said, CODE, MADE_AT, facts)
    files.write_json(batch.lineage(asset), {"schema": lineage.SCHEMA, **asdict(record)})
    return record


def made(
    workspace: Workspace,
    params: Params,
    key: str = "b1",
    *,
    original: dict[str, bytes] | None = None,
    earlier: tuple[dict[str, Any], ...] = (),
    requests: tuple[dict[str, Any], ...] = (asked(2), asked(1), asked(3, "in_review")),
    tier: str = "approximate",
    source: dict[str, Any] | None = None,
    manifest: dict[str, bytes] | None = None,
    **scores: float,
) -> BatchFolder:
    """The batch up to its report.

    original  files of the checkpoint it starts from; `source`: facts of that
    manifest  more files of the forget manifest
    """
    batch = workspace.batch(key)
    lines = b"".join(json.dumps(one).encode() + b"\n" for one in requests)
    sealed = {"requests.jsonl": lines, "batch.json": files.canonical({"goal": "unreconstructable"})}
    put(batch, params, "deletion_requests", sealed)
    resolution = {"requests": list(requests), **({"earlier": list(earlier)} if earlier else {})}
    rows = {"resolution.json": files.canonical(resolution), "forget.parquet": b"rows", **(manifest or {})}
    put(batch, params, "forget_manifest", rows)
    way = params.model_dump(mode="json")["unlearn"]
    plan = {"schema": "plan/1", "tier": tier, "rule": None, "reason": "a test", "unlearn": way}
    put(batch, params, "deletion_plan", {"plan.json": files.canonical(plan)})
    put(batch, params, "retain_proxy_set", {"retain.parquet": b"kept", "holdout.parquet": b"held out"})
    put(batch, params, "original_checkpoint", original or {"model.safetensors": b"original"}, **(source or {}))
    put(batch, params, "reference_checkpoint", {"model.safetensors": f"reference {key}".encode()})
    put(batch, params, "unlearned_checkpoint", unlearned(key))
    report(batch, params, **scores)
    return batch


def unlearned(key: str) -> dict[str, bytes]:
    """The files of the checkpoint that a batch makes."""
    return {"a/b/config.json": b"{}", "model.safetensors": f"new {key}".encode()}


def report(batch: BatchFolder, params: Params, **scores: float) -> None:
    """A report on the checkpoints that lie there."""
    records = {role: lineage.read(batch, f"{role}_checkpoint") for role in certificate.ROLES}
    before = [
        {"batch": one, "sets": {"forget": {"drop": {"value": 0.0, "low": -0.01, "high": 0.01}}}}
        for one in certificate.forgotten_before(batch)
    ]
    tree = {
        "schema": "report/1",
        "batch": batch.key,
        "goal": "unreconstructable",
        "scores": {
            name: {"value": value, "low": value - 0.01, "high": value + 0.01}
            for name, value in {**SCORES, **scores}.items()
        },
        "checkpoints": {role: record.sha256 for role, record in records.items()},
        "weights": {role: certificate._weights(record) for role, record in records.items()},
        "finite": True,
        **({"earlier": {"batches": before}} if before else {}),
    }
    put(batch, params, "evaluation_report", {"report.json": files.canonical(tree)})


def certified(batch: BatchFolder, params: Params) -> dict[str, Any]:
    """The batch's certificate, composed and recorded."""
    records = {asset: lineage.read(batch, asset) for asset in certificate.ASSETS}
    said = certificate.compose(batch, records, params.model_dump(mode="json"), ISSUED_AT)
    put(batch, params, "certificate", {"certificate.json": files.canonical(said) + b"\n"})
    return said
