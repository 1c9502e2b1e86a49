"""The erasure certificate: what was run, on which bytes, what was measured, and what is not claimed.

Approximate unlearning cannot be proved from parameters (Thudi et al., USENIX Security 2022: the same model is reachable
with and without the data), so a certificate says "algorithm A at commit C ran on inputs I and passed tests E" and never
"the data is gone". Which level of claim the evidence carries, and what it does not, is `claims`. A refused run gets a
certificate too. No torch: it is composed and checked on an auditor's laptop.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from unlearning import digests, files, gates
from unlearning.errors import EvidenceError, StorageError
from unlearning.evidence import claims, exactness, plan, purge
from unlearning.evidence.lineage import Record
from unlearning.gates import Verdict
from unlearning.rules import OPTIONAL, Gates
from unlearning.stages import STAGES
from unlearning.workspace import BatchFolder

SCHEMA = "erasure-certificate/1"
ASSETS = STAGES["certificate"].inputs
ROLES = ("original", "reference", "unlearned")
WEIGHTS = "model.safetensors"


def compose(
    batch: BatchFolder, records: Mapping[str, Record], params: Mapping[str, Any], issued_at: str
) -> dict[str, Any]:
    """The certificate of a batch, from its files and the records of `ASSETS`. The gates are evaluated here, not copied.

    params     the whole of params.yaml, validated, as JSON values
    issued_at  RFC 3339
    Raises EvidenceError or StorageError if requests, report or thresholds cannot be read.
    """
    report = _report(batch)
    verdict = judged(report, records, params, batch)
    requests = _requests(batch)
    unlearned, planned = records["unlearned_checkpoint"], plan.read(batch)
    exact = _exactness(records, planned["tier"])
    level = claims.level(verdict, planned["tier"], exact, unlearned)
    return {
        "schema": SCHEMA,
        "batch": batch.key,
        "goal": verdict.goal,
        "issued_at": issued_at,
        "status": "issued" if verdict.passed else "refused",
        "claim_level": level,
        "verdict": verdict.word,
        "criteria": verdict.as_rows(),
        "requests": {"count": len(requests), "ids": sorted(request["request_id"] for request in requests)},
        "valid_for": {"unlearned_checkpoint": unlearned.sha256, WEIGHTS: _weights(unlearned)},
        "policy": plan.said(planned),
        "claims": {
            "algorithm": {part: planned["unlearn"][part] for part in ("method", "merge", "scope")},
            "code": unlearned.code,
            "inputs": unlearned.inputs,
            "tests": [row["name"] for row in verdict.as_rows() if row["status"] == "pass"],
        },
        **({} if exact is None else {"exactness": exact}),
        "not_claimed": claims.not_claimed(level, report, verdict, claims.traced(unlearned)),
        "assets": {name: _asset(records[name], batch) for name in ASSETS},
        "params": dict(params),
        "params_sha256": digests.of_value(dict(params)),
    }


def judged(
    report: Mapping[str, Any], records: Mapping[str, Record], params: Mapping[str, Any], batch: BatchFolder
) -> Verdict:
    """The verdict on the checkpoints in the batch; which weights they hold is read there, not in the report.

    Neither does a report decide what it must have measured: the manifest does, and the purge records in it.
    """
    checkpoints = {role: records[f"{role}_checkpoint"].sha256 for role in ROLES}
    weights = {role: _weights(records[f"{role}_checkpoint"]) for role in ROLES}
    bounds = Gates.model_validate(params["gates"])
    measured = {**report, "weights": weights}
    return gates.evaluate(measured, bounds, checkpoints, forgotten_before(batch), purged_before(batch))


def forgotten_before(batch: BatchFolder) -> tuple[str, ...]:
    """The batches that its manifest says were served before this one. Raises StorageError or EvidenceError."""
    path = batch.asset("forget_manifest") / "resolution.json"
    try:
        return tuple(str(one["batch"]) for one in files.read_json(path).get("earlier", ()))
    except (AttributeError, KeyError, TypeError):
        raise EvidenceError(f"{path}: does not say what was forgotten before") from None


def purged_before(batch: BatchFolder) -> dict[str, str]:
    """Those of them whose images are purged, by the records that its manifest holds; a sentence each.

    A record that says that images are kept for measuring excuses nobody. Raises StorageError or EvidenceError.
    """
    home, found = batch.asset("forget_manifest"), dict[str, str]()
    try:
        for one in files.read_json(home / "resolution.json").get("earlier", ()):
            if "purged" in one:
                key, told = str(one["batch"]), one["purged"]
                record = purge.parsed(home / "purged" / f"{batch.workspace.batch(key).key}.json", key)
                kept = record.at(purge.KEPT)
                if kept is None or not kept.remaining:
                    found[key] = f"batch {key} (on {record.finished_at[:10]}, last measured in {told['last_measured']})"
    except (AttributeError, KeyError, TypeError):
        raise EvidenceError(f"{home}: does not say what was purged before") from None
    return found


def sections_sha256(params: Mapping[str, Any], stage: str) -> str:
    """sha256 of the sections a stage reads: equal to `Params.section_digest` and to its record's params_sha256."""
    named = (name for name in STAGES[stage].params if name in params or name not in OPTIONAL)
    return digests.of_value({name: params[name] for name in named})


def _asset(record: Record, batch: BatchFolder) -> dict[str, Any]:
    return {
        "sha256": record.sha256,
        "files": [{"path": file.path, "sha256": file.sha256, "bytes": file.bytes} for file in record.outputs],
        "inputs": record.inputs,
        "params_sha256": record.params_sha256,
        "code": record.code,
        "made_at": record.made_at,
        "lineage_sha256": digests.of_file(batch.lineage(record.asset)),
    }


def _weights(record: Record) -> str | None:
    return next((file.sha256 for file in record.outputs if file.path == WEIGHTS), None)


def _exactness(records: Mapping[str, Record], tier: str) -> dict[str, Any] | None:
    """None for a way that is approximate by its nature."""
    weights = (_weights(records[f"{role}_checkpoint"]) for role in ("unlearned", "reference"))
    if tier == "exact":
        return exactness.replayed(records, *weights)
    return exactness.retrained(records, *weights) if tier == "retrain" else None


def _report(batch: BatchFolder) -> Mapping[str, Any]:
    report = files.read_json(batch.report)
    if not isinstance(report, Mapping):
        raise EvidenceError(f"{batch.report}: not a report")
    goal = files.read_json(batch.asset("deletion_requests") / "batch.json").get("goal")
    if report.get("batch") != batch.key or report.get("goal") != goal:
        raise EvidenceError(
            f"{batch.report}: is about batch {str(report.get('batch'))[:64]!r} and goal "
            f"{str(report.get('goal'))[:64]!r}; batch {batch.key!r} and its sealed goal {goal!r} are right"
        )
    return report


def _requests(batch: BatchFolder) -> list[dict[str, Any]]:
    """The sealed requests, without those that wait for an officer: nothing was forgotten for them."""
    try:
        resolved = files.read_json(batch.asset("forget_manifest") / "resolution.json")["requests"]
        waiting = {(one["controller_id"], one["request_id"]) for one in resolved if one["state"] == "in_review"}
        requests = [json.loads(line) for line in batch.requests.read_bytes().splitlines()]
        if all(isinstance(request["request_id"], str) for request in requests):
            return [one for one in requests if (one["controller_id"], one["request_id"]) not in waiting]
    except (OSError, StorageError, ValueError, KeyError, TypeError):
        pass
    raise EvidenceError(f"{batch.requests}: not the sealed requests, or nothing says what became of them")
