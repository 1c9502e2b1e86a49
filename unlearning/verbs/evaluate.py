"""Measure the original, the unlearned and the reference model side by side, and say whether the model may ship.

Four sets: `forget` (images to forget that training saw), `forget_holdout` (images to forget it never saw: the same
class or person), `retain` and `holdout` (no request covers them and no training saw them). A fifth, `siblings`, where
`evaluate.siblings` asks for it: held-out images of kept classes or people that look like the forgotten ones. Everything
is measured on missing pixels, under several draws of the corruption.

Where the corruption leaves nothing, a model is judged by how well it knows whole pictures (verbs/_whole.py), and on
request by what it draws (verbs/_whole_pictures.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from unlearning import digests, files, gates
from unlearning.contracts import Corruption, ImageSource, Metric
from unlearning.data import manifest
from unlearning.data.images import ImageSet
from unlearning.evidence import certificate, lineage, plan
from unlearning.evidence.lineage import Record
from unlearning.log import Log, Progress
from unlearning.metrics import _observer
from unlearning.metrics.mse import Mse
from unlearning.params import Params
from unlearning.training import checkpoint
from unlearning.verbs import (
    _attacked,
    _earlier,
    _eyes,
    _map,
    _planned,
    _scored,
    _sets,
    _siblings,
    _whole,
    _whole_pictures,
    _written,
)
from unlearning.verbs._asset import make
from unlearning.verbs._attacked import Attacked
from unlearning.verbs._earlier import Earlier
from unlearning.verbs._eyes import Eyes
from unlearning.verbs._kinds import check
from unlearning.verbs._measure import Measured, Subjects, measure
from unlearning.verbs._remembered import Memory
from unlearning.verbs._timed import Clock
from unlearning.verbs._whole import Nothing
from unlearning.verbs._whole_pictures import Whole
from unlearning.verbs._written import Beside
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
    return make("evaluation_report", params, batch, log, lambda folder, key: _fill(params, batch, log, folder, key))


def _fill(params: Params, batch: BatchFolder, log: Log, folder: Path, key: str) -> dict[str, Any]:
    clock = Clock.of_evaluation(batch, key)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tables = _sets.chosen(params, batch)
    images: dict[str, ImageSource] = {
        name: ImageSet(table, batch.workspace, params.data) for name, table in tables.items()
    }
    models = {role: checkpoint.load(batch.asset(f"{role}_checkpoint")).eval().to(device) for role in ROLES}
    corruption = Corruption.chosen(params.evaluate.corruption or params.corruption, "evaluate.corruption")
    eyes = _looking(params, batch, tables, images, corruption, device, log)
    siblings = _with_siblings(params, batch, tables, images, eyes)
    mean = _sets.mean_picture(images["retain"])
    subjects = Subjects(models, mean, corruption, eyes.metrics, eyes.extractors, device, forget=eyes.forget)
    whole = _whole.judges(corruption, models)
    known = _whole.nothing(images["retain"], subjects.mean_picture) if whole else None
    measured = {
        name: clock.of(
            f"measure {name}",
            partial(_measured, params, batch, name, tables[name], images[name], subjects, known, log),
        )
        for name in tables
        if len(tables[name])
    }
    if corruption.leaves_nothing and not whole:
        log(Progress("evaluation_report", 0, 0, note=_NO_RECONSTRUCTION.format(kind=corruption.kind)))
    earlier = Earlier()
    if batch.earlier.is_file():
        earlier = clock.of("measure earlier", partial(_earlier.made, params, batch, subjects, known, log))
    attacked = _attacked.made(params, batch, _scored.headline_set(measured), tables, images, subjects, known, log)
    looked = _whole_pictures.look(params, batch, models, images, eyes.auto, device, log)
    points = _map.made(params, batch, tables, images, subjects, log)
    report = _report(params, batch, measured, earlier, attacked, looked, eyes, siblings, corruption)
    _written.write(params, batch, folder, report, measured, Beside(looked, points, clock, attacked.seconds, earlier))
    return {
        "verdict": report["verdict"],
        "goal": report["goal"],
        "scores": {name: score["value"] for name, score in report["scores"].items() if score is not None},
        "images": {name: found.table.num_rows for name, found in measured.items()},
    }


def _looking(
    params: Params,
    batch: BatchFolder,
    tables: dict[str, pa.Table],
    images: dict[str, ImageSource],
    corruption: Corruption,
    device: torch.device,
    log: Log,
) -> Eyes:
    """The metrics and what they see through."""
    metrics = [Metric.chosen(choice, "evaluate.metrics") for choice in params.evaluate.metrics]
    if not any(metric.kind == "mse" for metric in metrics):
        metrics.append(Mse())  # the scores are made of it
    asks = bool(params.evaluate.drawn.images) or params.evaluate.siblings == "nearest"
    if asks or any(metric.through() for metric in metrics):
        log(Progress("evaluation_report", 0, 0, note="finding a feature extractor"))
    return _eyes.open_for(metrics, params, batch, tables, images, corruption, device, also_auto=asks)


def _with_siblings(
    params: Params, batch: BatchFolder, tables: dict[str, pa.Table], images: dict[str, ImageSource], eyes: Eyes
) -> dict[str, Any] | None:
    """Put the nearest siblings' set beside the others where it is asked for; what the report says of them."""
    asked = params.evaluate.siblings
    if asked != "nearest":
        return _siblings.named(asked) if asked else None
    found = _siblings.nearest(manifest.read(batch.forget), manifest.read(batch.holdout), tables, images, eyes.auto)
    if found.table is not None:
        tables["siblings"] = _sets.sampled("siblings", found.table, params.evaluate.max_images)
        images["siblings"] = ImageSet(tables["siblings"], batch.workspace, params.data)
    return found.said


def _measured(
    params: Params,
    batch: BatchFolder,
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
    memory = _memory(params, batch, name, table, subjects)
    return measure(name, table, images, subjects, plan.seeds, plan.batch_size, pictures, log, observed, memory)


def _memory(params: Params, batch: BatchFolder, name: str, table: pa.Table, subjects: Subjects) -> Memory:
    """What was measured of this set before, by these models, this code and this machine's kind of device."""
    plan = params.evaluate
    pictures = {
        "code": lineage.code_identity()["source_sha256"],
        "torch": torch.__version__,
        "device": subjects.device.type,
        "set": name,
        "images": digests.of_value(table["sha256"].to_pylist()),
        "data": params.section_digest("data"),
        "corruption": subjects.corruption.model_dump(mode="json"),
        "seeds": list(plan.seeds),
        "batch_size": plan.batch_size,
    }
    described = {role: checkpoint.describe(batch.asset(f"{role}_checkpoint")) for role in ROLES}
    models = {role: [each["weights_sha256"], each["generator"]] for role, each in described.items()}
    mean = digests.of_bytes(subjects.mean_picture.numpy().tobytes())
    forget = {each: digests.of_bytes(features.numpy().tobytes()) for each, features in subjects.forget.items()}
    folder = batch.workspace.work("measured")
    rest = {"models": models, "mean_picture": mean, "forget": forget}
    return Memory(folder, batch.workspace.work("features"), pictures, rest)


def _report(
    params: Params,
    batch: BatchFolder,
    measured: Mapping[str, Measured],
    earlier: Earlier,
    attacked: Attacked,
    looked: Whole,
    eyes: Eyes,
    siblings: dict[str, Any] | None,
    corruption: Corruption,
) -> dict[str, Any]:
    scores = _scored.scores(params.evaluate, measured) | earlier.scores
    if params.gates.class_retention_at_least is not None:
        scores |= _scored.of_classes(params.evaluate, measured)
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
        **({"earlier": earlier.block} if earlier.block else {}),
        **({"attacks": attacked.entries} if attacked.entries else {}),
        **({"whole_pictures": looked.block} if looked.block else {}),
        "checkpoints": checkpoints,
        "weights": {role: checkpoint.weights_sha256(batch.asset(f"{role}_checkpoint")) for role in ROLES},
        "finite": looked.finite and all(found.finite for found in measured.values()),
        **eyes.block,
        **({"siblings": siblings} if siblings is not None else {}),
        "corruption": (params.evaluate.corruption or params.corruption).model_dump(),
        "seeds": list(params.evaluate.seeds),
        "confidence": params.evaluate.confidence,
        "method": params.unlearn.model_dump(mode="json"),
        "policy": plan.said(plan.read(batch)),
    }
    before, purged = certificate.forgotten_before(batch), certificate.purged_before(batch)
    verdict = gates.evaluate(report, params.gates, checkpoints, before, purged)
    return {**report, "verdict": verdict.word, "criteria": verdict.as_rows()}


def _set_summary(found: Measured) -> dict[str, Any]:
    """Mean of every metric for every model, and the error of each class and person: who paid for the forgetting?"""
    metrics = {
        role: {
            **{
                name: float(values.mean())
                for name, values in found.per_image[role].items()
                if np.isfinite(values).all()
            },
            **{name: float(np.mean(values)) for name, values in found.per_set[role].items() if values},
        }
        for role in found.per_image
    }
    summary = {"images": found.table.num_rows, "metrics": metrics, f"{found.error}_by_class": _by_group(found, "class")}
    subjects = set(found.table["subject"].to_pylist()) if "subject" in found.table.column_names else set()
    if subjects - {""} and len(subjects) < found.table.num_rows:
        # By number: the report goes to places that must name nobody. per_image.parquet has who is who.
        people = enumerate(_by_group(found, "subject").values(), 1)
        summary[f"{found.error}_by_subject"] = {f"person {place}": by_role for place, by_role in people}
    return summary


def _by_group(found: Measured, column: str) -> dict[str, dict[str, float]]:
    """Group -> model -> mean error; a model that made what is not finite is left out."""
    groups = np.array(found.table[column].to_pylist())
    return {
        str(name): {
            role: float(np.mean(errors[found.error][groups == name]))
            for role, errors in found.per_image.items()
            if np.isfinite(errors[found.error]).all()
        }
        for name in np.unique(groups)
    }
