"""interim_filter: withhold what a batch asks to forget, beside the model that still knows it, until one is promoted.

FAST (unlearning/metrics/_suppression.py). Seconds, no training of the generator: suppression (C0), never deletion.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unlearning import files
from unlearning.contracts import Corruption, ImageSource
from unlearning.data.images import ImageSet
from unlearning.errors import ManifestError, PolicyError
from unlearning.evidence import suppression
from unlearning.evidence.lineage import Record
from unlearning.evidence.suppression import InForce
from unlearning.log import Log
from unlearning.metrics import _suppression
from unlearning.metrics.extractors.extractor import Extractor
from unlearning.params import Params
from unlearning.verbs import _asset, _eyes, _ledger, _served, _sets, _suppressed
from unlearning.verbs._kinds import register
from unlearning.verbs._suppressed import Guard
from unlearning.workspace import BatchFolder

SCHEMA = "interim_filter/1"
_SETS = ("forget", "forget_holdout", "retain", "holdout")
_SEEN = "pictures as they are stored; the served model's own pictures were not looked at"


def run(params: Params, batch: BatchFolder, log: Log) -> Record:
    """Make the filter, and name it in suppression.json beside the champion; again: nothing changes.

    Raises PolicyError once the batch is served, ManifestError where no filter can be learnt or an input is not made;
    files are then as they were.
    """
    register()
    _refuse_served(batch)
    record = _asset.make(suppression.ASSET, params, batch, log, lambda folder, key: _fill(params, batch, folder))
    place = batch.asset(suppression.ASSET).relative_to(batch.workspace.root).as_posix()
    entry = InForce(batch.key, place, record.sha256, suppression.requests(batch))
    suppression.put(batch.workspace, params.model.name, entry)
    return record


def _refuse_served(batch: BatchFolder) -> None:
    states = {entry.state for entry in _ledger.of(batch.workspace).entries(batch.key)}
    done = sorted(states & _served.FORGOTTEN)
    if done:
        raise PolicyError(
            f"batch {batch.key}: its requests are {done[0]}, so the served model has forgotten them; a filter is for a "
            f"batch that is not promoted yet"
        )


def _fill(params: Params, batch: BatchFolder, folder: Path) -> dict[str, Any]:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tables = _sets.chosen(params, batch)
    if not len(tables["forget"]):
        raise ManifestError(
            f"batch {batch.key}: none of its images to forget was trained on, so there is nothing to learn a filter "
            f"from; a request that covers training images is right"
        )
    images = {name: ImageSet(tables[name], batch.workspace, params.data) for name in _SETS}
    corruption = Corruption.chosen(params.evaluate.corruption or params.corruption, "evaluate.corruption")
    extractor = _eyes.auto(params, batch, tables, images, corruption, device)
    if extractor is None:
        raise ManifestError(
            f"batch {batch.key}: there is no feature extractor: the retain images are of one class, too few to train "
            f"a classifier, and Inception's weights are not on this machine; put them there (TORCH_HOME)"
        )
    features = {name: _features(extractor, images[name], params.evaluate.batch_size) for name in _SETS}
    made = _suppression.fit(features["forget"], features["retain"], params.suppress)
    _suppressed.write(folder, Guard(made, extractor, _sets.mean_picture(images["retain"])))
    told = _told(params, batch, made, extractor, features)
    files.write_json(folder / "filter.json", told)
    held_out = {name: None if found is None else _value(found) for name, found in told["held_out"].items()}
    return {"claim_level": told["claim_level"], "claim": told["claim"], **held_out, "extractor": extractor.name}


def _features(extractor: Extractor, images: ImageSource, batch_size: int) -> Tensor:
    """[N, F] float64; [0, 0] of no image."""
    if not len(images):
        return torch.empty(0, 0, dtype=torch.float64)
    rows = torch.split(torch.arange(len(images)), batch_size)
    return torch.cat([extractor(images(part)) for part in rows])


def _told(
    params: Params,
    batch: BatchFolder,
    made: _suppression.Filter,
    extractor: Extractor,
    features: Mapping[str, Tensor],
) -> dict[str, Any]:
    """filter.json."""
    confidence = params.evaluate.confidence
    return {
        "schema": SCHEMA,
        "batch": batch.key,
        "model": params.model.name,
        "claim_level": suppression.CLAIM_LEVEL,
        "claim": suppression.CLAIM,
        "measured_on": _SEEN,
        "threshold": {**params.suppress.model_dump(mode="json"), "score": made.threshold},
        "extractor": {"name": extractor.name, "weights_sha256": extractor.weights_sha256},
        "confidence": confidence,
        "trained_on": _suppression.measured(made, features["forget"], features["retain"], confidence),
        "held_out": _suppression.measured(made, features["forget_holdout"], features["holdout"], confidence),
    }


def _value(found: Mapping[str, Any]) -> float:
    return float(found["rate"] if "rate" in found else found["value"])
