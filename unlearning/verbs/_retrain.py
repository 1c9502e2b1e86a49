"""The retrain tier: a model from random weights that never saw this batch's images, nor any that went before.

Where nothing was forgotten before, that is the reference's training: if the batch has its reference, its bytes are
taken, for training would give the same ones again.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from unlearning import files
from unlearning.contracts import Method
from unlearning.data import manifest
from unlearning.errors import EvidenceError, StorageError
from unlearning.evidence import lineage, plan
from unlearning.log import Log, Progress
from unlearning.methods.retrain import Retrain
from unlearning.params import Params
from unlearning.stages import STAGES
from unlearning.training import checkpoint
from unlearning.training.parallel import World
from unlearning.verbs import _scratch
from unlearning.verbs._together import Fitted, Train
from unlearning.workspace import BatchFolder

REFERENCE = "reference_checkpoint"


def fit(params: Params, batch: BatchFolder, world: World, key: str, log: Log) -> Fitted:
    """Train it. Raises ManifestError if nothing is left to train on, EvidenceError where a manifest is gone."""
    forget = manifest.read(batch.forget), *_forgotten(batch)
    kept = _scratch.without(params, batch, "unlearned", Retrain(), *forget)
    return _scratch.fit(kept, params, batch, world, key, log)


def fill(params: Params, batch: BatchFolder, folder: Path, train: Train, log: Log) -> dict[str, Any]:
    """The checkpoint, by training or from the reference where that is the same training; the facts to record."""
    if plan.read(batch)["forgotten"] or lineage.current(STAGES[REFERENCE], params, batch) is None:
        return {**train(folder), "trained_as": "unlearned_checkpoint"}
    log(Progress("unlearned_checkpoint", 0, 0, note="the reference is the same training: its weights are taken"))
    described = checkpoint.describe(batch.reference)
    facts = {**described["facts"], **_ours(Retrain())}
    for file in lineage.read(batch, REFERENCE).outputs:
        if file.path != checkpoint.DESCRIPTION:
            files.link_or_copy(batch.reference / file.path, folder / file.path)
    files.write_json(folder / checkpoint.DESCRIPTION, {**described, "facts": facts})
    spent = {"preparation_seconds": 0.0, "seconds": 0.0, "resumed_from": 0, "processes": 1}
    return {**facts, **spent, "trained_as": REFERENCE}


def _ours(method: Method) -> Mapping[str, Any]:
    return {"role": "unlearned", "method": method.model_dump()}


def _forgotten(batch: BatchFolder) -> list[pa.Table]:
    """The forget manifests that the plan names. Raises EvidenceError where one is not the one that was planned with."""
    tables = []
    for named in plan.read(batch)["forgotten"]:
        other = batch.workspace.batch(named["batch"])
        try:
            record = lineage.read(other, "forget_manifest")
            same = record.sha256 == named["sha256"] and lineage.intact(record, other)
        except StorageError:
            same = False
        if not same:
            raise EvidenceError(
                f"{other.asset('forget_manifest')}: not the manifest that batch {batch.key} was planned with; restore "
                f"it, or a retraining would see again what batch {other.key} forgot"
            )
        tables.append(manifest.read(other.forget))
    return tables
