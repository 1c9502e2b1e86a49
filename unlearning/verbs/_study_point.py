"""One point of a study: a batch folder that shares its base's assets, and makes only `unlearn` and `evaluate` anew."""

from __future__ import annotations

import importlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import unlearning
from unlearning import digests, files
from unlearning.errors import EvidenceError, StorageError, UnlearningError
from unlearning.evidence import lineage
from unlearning.log import Log
from unlearning.params import Params
from unlearning.process import machine
from unlearning.report import attacked
from unlearning.stages import STAGES
from unlearning.studies import Plans, Point
from unlearning.verbs import _study_base, stage
from unlearning.workspace import BatchFolder, Workspace

SCHEMA = "point/1"
FINISHED, FAILED = "finished", "failed"

Record = dict[str, Any]


def folder(plans: Plans, point: Point, workspace: Workspace) -> BatchFolder:
    """Where the point lies."""
    return _study_base.home(plans, workspace).batch(point.id)


def file(plans: Plans, point: Point, workspace: Workspace) -> Path:
    """What came of it: point.json."""
    return folder(plans, point, workspace).path / "point.json"


def read(plans: Plans, point: Point, workspace: Workspace) -> Record | None:
    """point.json; None where there is none that can be read, or one of other parameters or of another base."""
    try:
        found: Record = files.read_json(file(plans, point, workspace))
        if found["schema"] != SCHEMA or found["id"] != point.id:
            return None
        current = found["key"] == _key_now(plans, point, workspace)
    except (StorageError, KeyError, TypeError):
        return None
    return found if current else None


def run(plans: Plans, point: Point, workspace: Workspace, log: Log) -> Record:
    """Make the point, or find it made; its base must be there. Run again after a crash to resume.

    A refusal (UnlearningError) is recorded in point.json with its sentence, and raised.
    """
    done = read(plans, point, workspace)
    if done is not None and done["status"] == FINISHED:
        return done
    try:
        found = _made(plans, point, workspace, log)
    except UnlearningError as error:
        fail(plans, point, workspace, " ".join(str(error).split()))
        raise
    files.write_json(file(plans, point, workspace), found)
    return found


def fail(plans: Plans, point: Point, workspace: Workspace, sentence: str) -> Record:
    """Record that the point came to nothing, and why."""
    found = {**_named(point, _key_now(plans, point, workspace)), "status": FAILED, "sentence": sentence}
    files.write_json(file(plans, point, workspace), found)
    return found


def _made(plans: Plans, point: Point, workspace: Workspace, log: Log) -> Record:
    params, batch = plans.params(point), folder(plans, point, workspace)
    base = _study_base.folder(plans, point.base, workspace)
    _study_base.require(plans.base_params(point.base), base)
    key = _key(params, base)
    _study_base.share(params, base, batch)
    stage.run("deletion_plan", params, batch, log)
    costs = _unlearn(params, batch, log)
    stage.run("evaluation_report", params, batch, log)
    report, records = files.read_json(batch.report), {name: lineage.read(batch, name) for name in _assets()}
    trained = records["unlearned_checkpoint"].facts
    return {
        **_named(point, key),
        "status": FINISHED,
        **said(report),
        "confidence": report["confidence"],
        "steps": trained["steps"],
        "seconds": trained["preparation_seconds"] + trained["seconds"],
        "resumed_from": trained["resumed_from"],
        **costs,
        "unlearn": params.unlearn.model_dump(mode="json"),
        "corruption_recipe": report["corruption"],
        "evaluate_seeds": report["seeds"],
        "lineage": {name: record.sha256 for name, record in records.items()},
        "code": records["unlearned_checkpoint"].code,
    }


def said(report: Record) -> Record:
    """What a point keeps of its report: scores, what they are made of, and whole pictures and attacks where there are.

    Of each attack a line; its curves stay in report.json.
    """
    kept: Record = {name: report[name] for name in ("scores", "measure", "whole_pictures") if name in report}
    return {**kept, "attacks": attacked.headlines(report)} if report.get("attacks") else kept


def _unlearn(params: Params, batch: BatchFolder, log: Log) -> dict[str, Any]:
    """The stage, and what it took: written down at once, for a run that is killed before its evaluation ends."""
    path = batch.path / "costs.json"
    if lineage.current(STAGES["unlearned_checkpoint"], params, batch) is None:
        compute = importlib.import_module("unlearning.verbs._study_compute")  # needs torch
        compute.check(params)  # imports what there is, which is not to be counted as memory of unlearning
        before = compute.memory()
        stage.run("unlearned_checkpoint", params, batch, log)
        files.write_json(path, {"memory": {"before": before, "peak": compute.memory()}, "machine": compute.machine()})
    try:
        costs: dict[str, Any] = files.read_json(path)
    except StorageError:
        return {"memory": None, "machine": machine()}
    return costs


def _named(point: Point, key: str) -> Record:
    return {
        "schema": SCHEMA,
        "id": point.id,
        "key": key,
        "family": point.base.family,
        "forget": point.base.forget,
        "corruption": point.base.corruption,
        "method": point.method,
        "varied": point.varied,
        "value": point.value,
        "seed": point.seed,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _key(params: Params, base: BatchFolder) -> str:
    """Everything a point is a function of. Raises ManifestError or StorageError if the base is not there."""
    shared = {name: lineage.read(base, name).sha256 for name in _study_base.SHARED}
    return digests.of_value([params.model_dump(mode="json"), shared, unlearning.__version__])


def _key_now(plans: Plans, point: Point, workspace: Workspace) -> str:
    """`_key` over the base as it lies there now; empty where it lacks an asset."""
    try:
        return _key(plans.params(point), _study_base.folder(plans, point.base, workspace))
    except (StorageError, EvidenceError):
        return ""


def _assets() -> tuple[str, ...]:
    return (*_study_base.SHARED, "deletion_plan", "unlearned_checkpoint", "evaluation_report")
