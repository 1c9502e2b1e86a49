"""Measure the original, the unlearned and the reference model side by side, and say whether the model may ship.

Four sets: `forget` (images to forget that training saw), `forget_holdout` (images to forget it never saw: the same
class or person), `retain` and `holdout` (no request covers them and no training saw them). A fifth, `siblings`, where
`evaluate.siblings` names classes: their held-out images. Everything is measured on missing pixels, under several draws
of the corruption.

Where the corruption leaves nothing, a model is judged by how well it knows whole pictures (verbs/_whole.py), and on
request by what it draws (verbs/_whole_pictures.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from unlearning import files, gates
from unlearning.contracts import Corruption, ImageSource, Metric
from unlearning.data.images import ImageSet
from unlearning.evidence import lineage, plan
from unlearning.evidence.lineage import Record
from unlearning.log import Log, Progress
from unlearning.metrics import _observer
from unlearning.metrics._extractors import Extractor
from unlearning.metrics.mse import Mse
from unlearning.params import Params
from unlearning.training import checkpoint
from unlearning.verbs import _attacked, _planned, _scored, _sets, _whole, _whole_pictures, _written
from unlearning.verbs._asset import make
from unlearning.verbs._attacked import Attacked
from unlearning.verbs._kinds import check
from unlearning.verbs._measure import Measured, Subjects, measure
from unlearning.verbs._whole import Nothing
from unlearning.verbs._whole_pictures import Whole
from unlearning.workspace import BatchFolder

# A picture drawn from nothing is near or far from a truth it was never shown by chance alone. The gates refuse then.
_NO_RECONSTRUCTION = (
    "no score is measured: under corruption {kind!r} a picture reconstructs nothing, and this generator does not say "
    "how well it knows one; set evaluate.corruption to a hole"
)
ROLES = ("original", "unlearned", "reference")


def run(params: Params, batch: BatchFolder, log: Log) -> Record:
    """Make the asset evaluation_report: report.json, report.html, per_image.parquet, figures/*.png."""
    params = _planned.applied(params, batch)  # `unlearn` as it was carried out
    check(params)
    return make("evaluation_report", params, batch, log, lambda folder, key: _fill(params, batch, log, folder))


def _fill(params: Params, batch: BatchFolder, log: Log, folder: Path) -> dict[str, Any]:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tables = _sets.chosen(params, batch)
    images = {name: ImageSet(table, batch.workspace, params.data) for name, table in tables.items()}
    models = {role: checkpoint.load(batch.asset(f"{role}_checkpoint")).eval().to(device) for role in ROLES}
    corruption = Corruption.chosen(params.evaluate.corruption or params.corruption, "evaluate.corruption")
    metrics = [Metric.chosen(choice, "evaluate.metrics") for choice in params.evaluate.metrics]
    if not any(metric.kind == "mse" for metric in metrics):
        metrics.append(Mse())  # the scores are made of it
    extractor = None
    if any(metric.reads_features for metric in metrics) or params.evaluate.drawn.images:
        log(Progress("evaluation_report", 0, 0, note="finding a feature extractor"))
        extractor = _sets.extractor(params, batch, tables, images, corruption, device)
    subjects = Subjects(models, _sets.mean_picture(images["retain"]), corruption, metrics, extractor, device)
    whole = _whole.judges(corruption, models)
    known = _whole.nothing(images["retain"], subjects.mean_picture) if whole else None
    measured = {
        name: _measured(params, name, tables[name], images[name], subjects, known, log)
        for name in tables
        if len(tables[name])
    }
    if corruption.leaves_nothing and not whole:
        log(Progress("evaluation_report", 0, 0, note=_NO_RECONSTRUCTION.format(kind=corruption.kind)))
    attacked = _attacked.made(params, batch, _scored.headline_set(measured), tables, images, subjects, known, log)
    looked = _whole_pictures.look(params, batch, models, images, extractor, device, log)
    report = _report(params, batch, measured, attacked, looked, extractor, corruption)
    _written.write(params, batch, folder, report, measured, looked)
    return {
        "verdict": report["verdict"],
        "goal": report["goal"],
        "scores": {name: score["value"] for name, score in report["scores"].items() if score is not None},
        "images": {name: found.table.num_rows for name, found in measured.items()},
    }


def _measured(
    params: Params,
    name: str,
    table: pa.Table,
    images: ImageSource,
    subjects: Subjects,
    known: Nothing | None,
    log: Log,
) -> Measured:
    plan, pictures = params.evaluate, params.report.pictures
    if known is not None:
        return _whole.measure(name, table, images, subjects, known, plan.seeds, plan.batch_size, pictures, log)
    observed = _observer.MOST if name in _scored.OBSERVED else 0
    return measure(name, table, images, subjects, plan.seeds, plan.batch_size, pictures, log, observed)


def _report(
    params: Params,
    batch: BatchFolder,
    measured: Mapping[str, Measured],
    attacked: Attacked,
    looked: Whole,
    extractor: Extractor | None,
    corruption: Corruption,
) -> dict[str, Any]:
    scores = _scored.scores(params.evaluate, measured)
    requests = files.read_json(batch.requests.with_name("batch.json"))
    checkpoints = {role: lineage.read(batch, f"{role}_checkpoint").sha256 for role in ROLES}
    error = next(iter(measured.values())).error
    silent = corruption.leaves_nothing and error != _whole.SURPRISE
    report: dict[str, Any] = {
        "schema": "report/1",
        "batch": batch.key,
        "model": params.model.name,
        "goal": requests["goal"],
        "measure": error,
        "scores": dict.fromkeys(scores) if silent else scores,
        **({"note": _NO_RECONSTRUCTION.format(kind=corruption.kind)} if silent else {}),
        "sets": {name: _set_summary(found) for name, found in measured.items()},
        **({"attacks": attacked.entries} if attacked.entries else {}),
        **({"whole_pictures": looked.block} if looked.block else {}),
        "checkpoints": checkpoints,
        "weights": {role: checkpoint.weights_sha256(batch.asset(f"{role}_checkpoint")) for role in ROLES},
        "finite": looked.finite and all(found.finite for found in measured.values()),
        "extractor": None
        if extractor is None
        else {"name": extractor.name, "weights_sha256": extractor.weights_sha256},
        "corruption": (params.evaluate.corruption or params.corruption).model_dump(),
        "seeds": list(params.evaluate.seeds),
        "confidence": params.evaluate.confidence,
        "method": params.unlearn.model_dump(mode="json"),
        "policy": plan.said(plan.read(batch)),
    }
    verdict = gates.evaluate(report, params.gates, checkpoints)
    return {**report, "verdict": verdict.word, "criteria": verdict.as_rows()}


def _set_summary(found: Measured) -> dict[str, Any]:
    """Mean of every metric for every model, and the error of each class: who paid for the forgetting?"""
    classes = np.array(found.table["class"].to_pylist())
    by_class = {
        str(name): {
            role: float(np.mean(errors[found.error][classes == name]))
            for role, errors in found.per_image.items()
            if np.isfinite(errors[found.error]).all()
        }
        for name in np.unique(classes)
    }
    metrics = {
        role: {
            **{
                kind: float(values.mean())
                for kind, values in found.per_image[role].items()
                if np.isfinite(values).all()
            },
            **{kind: float(np.mean(values)) for kind, values in found.per_set[role].items() if values},
        }
        for role in found.per_image
    }
    return {"images": found.table.num_rows, "metrics": metrics, f"{found.error}_by_class": by_class}
