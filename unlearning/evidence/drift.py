"""How far the served model is from its last clean base: a number of deletions, and a distance of weights. No torch.

    distance = |w - b| / |b|    over every floating-point tensor of model.safetensors

A base is clean: a model that nothing was approximately unlearned from. A promoted batch that trained anew (exact,
retrain) is one; any other is one more deletion since it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from unlearning.errors import EvidenceError, StorageError
from unlearning.evidence import lineage, plan, promotion
from unlearning.evidence.promotion import Champion
from unlearning.policy import Drifted
from unlearning.workspace import BatchFolder

WEIGHTS = "model.safetensors"
FRESH = Drifted(0, 0.0, None)


@dataclass(frozen=True, slots=True)
class Start:
    """What a batch starts from: a served version; both None for a base that no batch made."""

    version: int | None = None
    sha256: str | None = None


def start(batch: BatchFolder, model: str) -> Start:
    """The original that the batch has, or would get now. Raises EvidenceError where champion.json is no champion."""
    try:
        record = lineage.read(batch, "original_checkpoint")
        if lineage.intact(record, batch):
            return Start(record.facts.get("version"), record.facts.get("champion_sha256"))
    except (StorageError, EvidenceError):
        pass
    now = promotion.champion(batch.workspace, model)
    return Start() if now is None else Start(now.version, now.sha256)


def of(begun: Start, batch: BatchFolder, model: str, measured: bool) -> Drifted:
    """How far what the batch starts from has drifted; what cannot be found out is None.

    measured  whether to read the weights for the distance: two checkpoints' worth of them
    """
    if begun.version is None:
        return FRESH
    now = promotion.champion(batch.workspace, model)
    served = next((one for one in _known(now) if (one.version, one.sha256) == (begun.version, begun.sha256)), None)
    if served is None:
        return _planned(begun, batch)
    counted = promotion.since_base(served)
    found = Drifted(counted, None, served.base)
    if not measured or served.base is None:
        return found
    root = batch.workspace.root
    return replace(found, distance=distance(root / served.checkpoint, root / str(served.base["checkpoint"])))


def distance(folder: Path, base: Path) -> float | None:
    """|w - b| / |b|, float64; None where a file is missing or damaged, or the two are not of one shape."""
    squared, norm = 0.0, 0.0
    try:
        with safe_open(folder / WEIGHTS, "numpy") as ours, safe_open(base / WEIGHTS, "numpy") as theirs:
            if set(ours.keys()) != set(theirs.keys()):
                return None
            for name in sorted(ours.keys()):
                one, other = ours.get_tensor(name), theirs.get_tensor(name)
                if one.shape != other.shape:
                    return None
                if np.issubdtype(one.dtype, np.floating):
                    squared += float(np.square(one.astype(np.float64) - other.astype(np.float64)).sum())
                    norm += float(np.square(other.astype(np.float64)).sum())
    except (OSError, SafetensorError, TypeError):
        return None
    found = float(np.sqrt(squared / norm)) if norm else float("inf")
    return found if np.isfinite(found) else None


def _known(now: Champion | None) -> list[Champion]:
    if now is None:
        return []
    return [now, *([] if now.previous is None else [Champion(**now.previous, previous=None)])]


def _planned(begun: Start, batch: BatchFolder) -> Drifted:
    """What the batch's own plan said of it, when it was still served."""
    before: Mapping[str, Any] = plan.read_or_empty(batch)
    if before.get("start") != {"version": begun.version, "sha256": begun.sha256}:
        return Drifted(None, None, None)
    told = before["drift"]
    return Drifted(told["deletions"], told["distance"], told["base"])
