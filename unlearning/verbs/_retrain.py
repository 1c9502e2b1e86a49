"""The retrain tier: a model from random weights that never saw this batch's images, nor any that went before.

That is the reference's training: if the batch has its reference, its bytes are taken, for training would give the same
ones again.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unlearning import files
from unlearning.contracts import Method
from unlearning.evidence import lineage
from unlearning.log import Log, Progress
from unlearning.methods.retrain import Retrain
from unlearning.params import Params
from unlearning.stages import STAGES
from unlearning.training import checkpoint
from unlearning.training.parallel import World
from unlearning.verbs import _scratch, _served
from unlearning.verbs._together import Fitted, Train
from unlearning.workspace import BatchFolder

REFERENCE = "reference_checkpoint"


def fit(params: Params, batch: BatchFolder, world: World, key: str, log: Log) -> Fitted:
    """Train it. Raises ManifestError if nothing is left to train on."""
    kept = _scratch.without(params, batch, "unlearned", Retrain(), *_served.forgotten(batch))
    return _scratch.fit(kept, params, batch, world, key, log)


def fill(params: Params, batch: BatchFolder, folder: Path, train: Train, log: Log) -> dict[str, Any]:
    """The checkpoint, by training or from the reference where that is the same training; the facts to record."""
    if lineage.current(STAGES[REFERENCE], params, batch) is None:
        return {**train(folder), "trained_as": "unlearned_checkpoint"}
    log(Progress("unlearned_checkpoint", 0, 0, note="the reference is the same training: its weights are taken"))
    described = checkpoint.describe(batch.reference)
    facts = {**described["facts"], **_ours(Retrain())}
    for file in lineage.read(batch, REFERENCE).outputs:
        if file.path != checkpoint.DESCRIPTION:
            (folder / file.path).parent.mkdir(parents=True, exist_ok=True)
            files.link_or_copy(batch.reference / file.path, folder / file.path)
    files.write_json(folder / checkpoint.DESCRIPTION, {**described, "facts": facts})
    spent = {"preparation_seconds": 0.0, "seconds": 0.0, "resumed_from": 0, "processes": 1}
    return {**facts, **spent, "trained_as": REFERENCE}


def _ours(method: Method) -> Mapping[str, Any]:
    return {"role": "unlearned", "method": method.model_dump()}
