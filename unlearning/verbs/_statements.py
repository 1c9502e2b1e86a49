"""What a certified batch's files say, gathered for the statements of its bundle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import unlearning
from unlearning import digests, files
from unlearning.data import index, manifest
from unlearning.errors import EvidenceError, StorageError
from unlearning.evidence import (
    bundle_writing,
    canonical_text,
    claims,
    keys,
    lineage,
    plan,
    promotion,
    purge,
    statements,
)
from unlearning.evidence.bundle import Bundle
from unlearning.evidence.bundle_writing import Contents
from unlearning.evidence.predicates import WEIGHTS
from unlearning.evidence.statements import Sets
from unlearning.requests.entry import Entry
from unlearning.verbs import _commitments
from unlearning.workspace import BatchFolder

LOCKS = ("all.txt", "core.txt", "trainer.txt")  # below infra/requirements, in a checkout of the code
_MACHINE = ("device", "torch", "python", "deterministic")  # of a training trace


def of_certified(batch: BatchFolder, there: Bundle | None, one_machine: bool) -> Contents:
    """Everything a certified batch's bundle says. Raises EvidenceError or StorageError where a file does not say it.

    there  the bundle of before: what it says of this very certificate is kept
    """
    said, sealed = files.read_json(batch.certificate), digests.of_file(batch.certificate)
    weights = str(said["valid_for"][WEIGHTS])
    payloads = bundle_writing.kept_payloads(there, sealed) or _of_run(batch, said)
    served = _served(batch, said, sealed, weights)
    purged = _purged(batch, weights) if served else []
    resolved = _resolution(batch)["requests"]
    index_said = {
        "batch": batch.key,
        "certificate_sha256": sealed,
        "claim_level": said["claim_level"],
        "cut_off": cut_off(batch),
        "goal": said["goal"],
        "not_claimed": claims.of_bundle(said["not_claimed"], one_machine, bool(served), bool(purged)),
        "requests": sorted({one["request_id"] for one in resolved if one["state"] == "scheduled"}),
        "status": said["status"],
    }
    return Contents([*payloads, *served, *purged], index_said, {WEIGHTS: weights})


def of_unmatched(batch: BatchFolder, dataset: str, entry: Entry, there: Bundle | None, one_machine: bool) -> Contents:
    """What the bundle of a request without a match says. Once said, it stays: the data set may change later."""
    ways = [selector.by for selector in entry.request.selectors]
    if there is not None:
        payloads = [line.envelope.payload for line in there.lines[:-1]]
        subject = {one.name: one.digest.sha256 for one in there.lines[-1].statement.subject}
    else:
        sets = _stored(batch, dataset)
        payloads = [*statements.commitments(sets), statements.no_match(entry.request_id, ways, sets)]
        subject = {"dataset": sets.root("dataset")}
    index_said = {
        "batch": batch.key,
        "certificate_sha256": None,
        "claim_level": "none",
        "cut_off": cut_off(batch),
        "goal": None,
        "not_claimed": claims.of_no_match(any(way in statements.PROVABLE for way in ways), one_machine),
        "requests": [entry.request_id],
        "status": "no_match",
    }
    return Contents(payloads, index_said, subject)


def cut_off(batch: BatchFolder) -> str | None:
    """The moment up to which requests were taken into the batch; None in one from before that was written."""
    found = files.read_json(batch.requests.with_name("batch.json")).get("cut_off")
    return None if found is None else canonical_text.as_time(found)


def _of_run(batch: BatchFolder, said: Mapping[str, Any]) -> list[bytes]:
    """Sets, run, tests and decision."""
    names = ("unlearned_checkpoint", "original_checkpoint", "reference_checkpoint", "evaluation_report")
    records = {name: lineage.read(batch, name) for name in names}
    sets = _sets(batch, str(said["params"]["data"]["name"]))
    trace = _trace(batch)
    more = {
        "locks": _locks(str(records["unlearned_checkpoint"].code.get("source_sha256"))),
        "trace": trace.get("root"),
        "versions": {name: trace[name] for name in _MACHINE if isinstance(trace.get(name), str | bool)},
    }
    reference = said["assets"]["reference_checkpoint"]["files"]
    return [
        *statements.commitments(sets),
        statements.provenance(said, records, sets, plan.read(batch), more),
        *statements.tests(
            said,
            next(file.sha256 for file in records["evaluation_report"].outputs if file.path == "report.json"),
            next((file["sha256"] for file in reference if file["path"] == WEIGHTS), None),
        ),
        statements.decision(said),
    ]


def _sets(batch: BatchFolder, dataset: str) -> Sets:
    committed = _commitments.of_batch(batch, dataset, keys.dataset_key(batch.workspace, dataset))
    counts = {
        "forget": statements.found_by(_resolution(batch)),
        "retain": {"rows": len(manifest.read(batch.retain))},
    }
    return Sets(dataset, _commitments.dataset_sha256(batch), committed, counts)


def _stored(batch: BatchFolder, dataset: str) -> Sets:
    """The data set as it is stored now: a request without a match has no manifest."""
    version = str(index.describe(batch.workspace.dataset(dataset))["index_sha256"])
    key = keys.dataset_key(batch.workspace, dataset)
    committed = _commitments.of_dataset(batch.workspace, dataset, version, key)
    return Sets(dataset, version, committed)


def _served(batch: BatchFolder, said: Mapping[str, Any], sealed: str, weights: str) -> list[bytes]:
    """Its promotion, where this very certificate was promoted."""
    model = str(said["params"]["model"]["name"])
    lines = promotion.generations(batch.workspace, model)
    places = [
        place
        for place, row in enumerate(lines)
        if row["certificate_sha256"] == sealed and row["batch"] == batch.key and row.get("rollback_of") is None
    ]
    if not places:
        return []
    row, previous = lines[places[-1]], lines[places[-1] - 1] if places[-1] else None
    at = row.get("at") or said["issued_at"]  # a history from before moments were written
    return [statements.promotion(model, row, previous, weights, at)]


def _purged(batch: BatchFolder, weights: str) -> list[bytes]:
    if purge.read(batch) is None:
        return []
    record = files.read_json(purge.file(batch))
    return [statements.purged(record, digests.of_file(purge.file(batch)), weights)]


def _resolution(batch: BatchFolder) -> Mapping[str, Any]:
    path = batch.asset("forget_manifest") / "resolution.json"
    found = files.read_json(path)
    if not isinstance(found, Mapping) or "requests" not in found or "forget" not in found:
        raise EvidenceError(f"{path}: does not say what became of the requests")
    return found


def _trace(batch: BatchFolder) -> Mapping[str, Any]:
    """The training trace of the unlearned checkpoint; {} of one that has none."""
    try:
        found = files.read_json(batch.unlearned / "trace.json")
    except StorageError:
        return {}
    return found if isinstance(found, Mapping) else {}


def _locks(source_sha256: str) -> dict[str, str]:
    """sha256 of the lock files of the code that ran; nothing where other code lies here by now, or no checkout does."""
    home = Path(unlearning.__file__).parents[1] / "infra" / "requirements"
    if lineage.code_identity()["source_sha256"] != source_sha256:
        return {}
    return {f"infra/requirements/{name}": digests.of_file(home / name) for name in LOCKS if (home / name).is_file()}
