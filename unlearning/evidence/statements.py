"""What a batch's files say, as in-toto Statements: certificate-spec.md, section 6, from records that exist anyway.

Everything here is a function of files, never of the clock: the same batch gives the same bytes, whoever asks and when.
No hash of a person's image, no key, no class and no subject goes in; what is said of images are counts and roots.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import unlearning
from unlearning.evidence import canonical_text, certificate, predicates
from unlearning.evidence.commitment import Committed
from unlearning.evidence.lineage import Record
from unlearning.evidence.predicates import WEIGHTS
from unlearning.evidence.provenance import BUILD_TYPE

BUILDER = "urn:unlearning:local-pipeline:1"  # SLSA Build L1: provenance exists, and who runs the pipeline signs it
TOOL = f"unlearning {unlearning.__version__}"
GROUPS = {
    "integrity": ("integrity", "goal"),
    "forgetting": ("forgetting", "forgetting_trained", "reference_distance", "over_forgetting"),
    "retention": ("retention", "sibling_retention", "class_retention"),
    "earlier": ("earlier", "earlier_purged"),
}
PROVABLE = ("content_sha256", "sample_key")  # selectors that name what tokens are made of
_LARGEST = canonical_text.LARGEST


@dataclass(frozen=True, slots=True)
class Sets:
    """What is committed to."""

    dataset: str
    dataset_sha256: str  # of its index
    committed: Mapping[str, Committed]  # by set
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # by set

    def root(self, name: str) -> str:
        """Hex."""
        return self.committed[name].root.hex()


def commitments(sets: Sets) -> list[bytes]:
    """One payload a set, in the order of the specification."""
    return [
        _payload(
            predicates.SET_COMMITMENT,
            {
                "counts": dict(sets.counts.get(name, {})),
                "dataset": sets.dataset,
                "dataset_sha256": sets.dataset_sha256,
                "key_id": committed.key_id,
                "leaf": f"{committed.kind}/1",
                "set": name,
                "size": committed.size,
                "tree": predicates.TREE,
            },
            {name: sets.root(name)},
        )
        for name in ("dataset", "dataset_keys", "forget", "retain")
        if (committed := sets.committed.get(name)) is not None
    ]


def found_by(resolution: Mapping[str, Any]) -> dict[str, int]:
    """Of resolution.json: how many selectors of each way there were, and what else was found by what they named."""
    served = [one for one in resolution["requests"] if one["state"] == "scheduled"]
    counts: dict[str, int] = {"rows": int(resolution["forget"]), "requests": len(served)}
    for one in served:
        for way, number in one["selectors"].items():
            counts[f"by.{way}"] = counts.get(f"by.{way}", 0) + number
        counts["same_pixels"] = counts.get("same_pixels", 0) + one["same_pixels"]
        for part in ("train", "holdout"):
            counts[part] = counts.get(part, 0) + one[part]
        for way in ("perceptual", "embedding"):
            if way in one:
                counts[f"near.{way}"] = counts.get(f"near.{way}", 0) + one[way]
    return counts


def provenance(
    said: Mapping[str, Any], records: Mapping[str, Record], sets: Sets, plan: Mapping[str, Any], more: Mapping[str, Any]
) -> bytes:
    """How the unlearned checkpoint was made.

    said     certificate.json
    records  of `unlearned_checkpoint`, `original_checkpoint` and `evaluation_report`
    more     `locks`: file name -> sha256, `versions`: library -> version, `trace`: root of the training trace or None
    """
    record = records["unlearned_checkpoint"]
    began, ended = _span(record)
    definition = {
        "buildType": BUILD_TYPE,
        "externalParameters": _asked(said, plan),
        "internalParameters": _inside(record, more["versions"]),
        "resolvedDependencies": [*_read(records, sets), *_code(record), *_files(more["locks"])],
    }
    trace = {} if more["trace"] is None else {"training_trace": more["trace"]}
    logs = {file.path: file.sha256 for file in record.outputs if file.path == "log.jsonl"}
    details = {
        "builder": {"id": BUILDER},
        "byproducts": _files({**logs, **trace, "report.json": _of(records["evaluation_report"], "report.json")}),
        "metadata": {"finishedOn": ended, "invocationId": f"{record.batch}/{_of(record)[:16]}", "startedOn": began},
    }
    subject = {file.path: file.sha256 for file in record.outputs}
    return _payload(predicates.PROVENANCE, {"buildDefinition": definition, "runDetails": details}, subject)


def tests(said: Mapping[str, Any], report_sha256: str, reference: str | None) -> list[bytes]:
    """One payload a group of criteria, in which no group is empty."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in said["criteria"]:
        rows.setdefault(_group(row["name"]), []).append(row)
    made = []
    for name, group in rows.items():
        measured = [_measurement(row) for row in group]
        passed, failed, warned = predicates.sorted_tests([predicates.Measurement(**one) for one in measured])
        predicate = {
            "configuration": _files({"gates": _gates(said), "report.json": report_sha256}),
            "failedTests": failed,
            "group": name,
            "measurements": measured,
            "passedTests": passed,
            "reference": reference,
            "result": predicates.result_of(failed, warned),
            "warnedTests": warned,
        }
        made.append(_payload(predicates.TEST_RESULT, predicate, {WEIGHTS: _model(said)}))
    return made


def decision(said: Mapping[str, Any]) -> bytes:
    """What the gates decided."""
    level = said["claim_level"]
    issued = said["status"] == "issued"
    properties = [f"FORGET_{level}", "GATES_PASSED"] if issued else ["GATES_REFUSED"]
    predicate = {
        "policy": {"sha256": _gates(said)},
        "properties": sorted([*properties, f"TIER_{said['policy']['tier']}".upper()]),
        "timeCreated": canonical_text.as_time(said["issued_at"]),
        "verifier": {"id": TOOL},
    }
    return _payload(predicates.SVR, predicate, {WEIGHTS: _model(said)})


def no_match(request_id: str, selectors: Sequence[str], sets: Sets) -> bytes:
    """That no stored image belongs to a request; `selectors` are the ways in which it named some."""
    ways = [{"kind": way, "provable": way in PROVABLE} for way in dict.fromkeys(selectors)]
    predicate = {"dataset": sets.dataset, "request_id": request_id, "selectors": ways}
    return _payload(predicates.NO_MATCH, predicate, {"dataset": sets.root("dataset")})


def promotion(model: str, row: Mapping[str, Any], previous: Mapping[str, Any] | None, weights: str, at: str) -> bytes:
    """That a model is served: `row` and `previous` are lines of the model's history, `at` its moment."""
    predicate = {
        "approver_role": "pipeline",  # the gates decide; the officer signs the index that says so
        "at": canonical_text.as_time(at),
        "certificate_sha256": row["certificate_sha256"],
        "checkpoint_sha256": row["sha256"],
        "model": model,
        "pending_requests": row.get("pending_requests"),
        "previous": None if previous is None else {"sha256": previous["sha256"], "version": previous["version"]},
        "version": row["version"],
    }
    return _payload(predicates.PROMOTION, predicate, {WEIGHTS: weights})


def purged(record: Mapping[str, Any], record_sha256: str, weights: str) -> bytes:
    """What became of stored copies, from purge.json. Raises EvidenceError for a time that is none."""
    times = ("verified_at", "expires_at")
    locations = [
        {**one, **{name: None if one[name] is None else canonical_text.as_time(one[name]) for name in times}}
        for one in record["locations"]
    ]
    predicate = {
        "finished_at": canonical_text.as_time(record["finished_at"]),
        "locations": locations,
        "record_sha256": record_sha256,
        "scan": record["scan"],
        "started_at": canonical_text.as_time(record["started_at"]),
        "status": record["status"],
        "tool": f"{record['tool']['name']} {record['tool']['version']}",
    }
    return _payload(predicates.PURGE, predicate, {WEIGHTS: weights})


def index(predicate: Mapping[str, Any], subject: Mapping[str, str]) -> bytes:
    """The last statement."""
    return _payload(predicates.INDEX, predicate, subject)


def _payload(kind: str, predicate: Mapping[str, Any], subject: Mapping[str, str]) -> bytes:
    return canonical_text.write(
        {"_type": predicates.STATEMENT, "predicate": predicate, "predicateType": kind, "subject": _files(subject)}
    )


def _files(digests: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"digest": {"sha256": sha256}, "name": name} for name, sha256 in digests.items()]


def _asked(said: Mapping[str, Any], plan: Mapping[str, Any]) -> dict[str, str | int | None]:
    """What was asked for, by kind; every parameter of it is in params_sha256, and in certificate.json."""
    way, budget = plan["unlearn"], plan["unlearn"].get("budget", {})
    kinds = {part: way[part]["kind"] for part in ("method", "merge", "scope")}
    numbers = {name: _number(budget.get(name)) for name in ("seed", "steps", "batch_size", "learning_rate")}
    model = {"model": said["params"]["model"]["name"], "goal": said["goal"], "batch": said["batch"]}
    return {**model, **kinds, **numbers, "tier": plan["tier"], "params_sha256": said["params_sha256"]}


def _inside(record: Record, versions: Mapping[str, str]) -> dict[str, str | int | bool | None]:
    """What the run was on and with."""
    code, facts = record.code, record.facts
    found: dict[str, str | int | bool | None] = {
        "git_commit": str(code.get("revision")),
        "git_dirty": bool(code.get("dirty")),
        "source_sha256": str(code.get("source_sha256")),
        "version": str(code.get("version")),
    }
    for name in ("device", "processes", "resumed_from", "steps"):
        if name in facts:
            found[name] = _number(facts[name])
    return {**found, **versions}


def _read(records: Mapping[str, Record], sets: Sets) -> list[dict[str, Any]]:
    roots = {name: sets.root(name) for name in ("dataset", "forget", "retain")}
    return _files({**roots, "original_checkpoint": _of(records["original_checkpoint"])})


def _code(record: Record) -> list[dict[str, Any]]:
    """The revision, where it is one."""
    commit = str(record.code.get("revision"))
    whole = len(commit) == 40 and set(commit) <= set("0123456789abcdef")
    return [{"digest": {"gitCommit": commit}, "name": "code"}] if whole else []


def _span(record: Record) -> tuple[str, str]:
    """When it began and ended: recorded is the end, and how many seconds it took, where anybody counted."""
    ended, seconds = datetime.fromisoformat(record.made_at), record.facts.get("seconds")
    took = timedelta(seconds=float(seconds) if isinstance(seconds, int | float) else 0.0)
    return canonical_text.as_time(ended - took), canonical_text.as_time(ended)


def _measurement(row: Mapping[str, Any]) -> dict[str, Any]:
    numbers = {name: None if row[name] is None else repr(float(row[name])) for name in ("value", "low", "high")}
    return {**{name: row[name] for name in ("blocking", "bound", "name", "source", "status")}, **numbers}


def _group(name: str) -> str:
    known = next((group for group, names in GROUPS.items() if name in names), None)
    return known or ("attacks" if name.startswith("attack_") else "metrics")


def _number(value: Any) -> str | int | None:
    """An integer that every reader holds exactly stays one; any other number is spelled."""
    whole = isinstance(value, int) and abs(value) < _LARGEST
    return value if whole or value is None else str(value)


def _gates(said: Mapping[str, Any]) -> str:
    """sha256 of the section `gates` of params.yaml, as the lineage record of a certificate has it."""
    return certificate.sections_sha256(said["params"], "certificate")


def _model(said: Mapping[str, Any]) -> str:
    return str(said["valid_for"][WEIGHTS])


def _of(record: Record, name: str = WEIGHTS) -> str:
    return next(file.sha256 for file in record.outputs if file.path == name)
