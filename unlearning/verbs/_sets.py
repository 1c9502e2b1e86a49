"""The images that a batch is judged by: of its evaluation and of its filter."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from unlearning.contracts import ImageSource
from unlearning.data import manifest
from unlearning.errors import ParamsError
from unlearning.params import Params
from unlearning.randomness import generator
from unlearning.workspace import BatchFolder


def chosen(params: Params, batch: BatchFolder) -> dict[str, pa.Table]:
    """Manifest rows of each set, at most `max_images`, sampled by a seed. Siblings only where they are named."""
    forget = manifest.read(batch.forget)
    trained = pc.equal(forget["split"], "train")
    tables = {
        "forget": forget.filter(trained),
        "forget_holdout": forget.filter(pc.invert(trained)),
        "retain": manifest.read(batch.retain),
        "holdout": manifest.read(batch.holdout),
    }
    if isinstance(params.evaluate.siblings, tuple) and params.evaluate.siblings:
        tables["siblings"] = _siblings(params.evaluate.siblings, tables["holdout"], forget, batch)
    return {name: sampled(name, table, params.evaluate.max_images) for name, table in tables.items()}


def sampled(name: str, table: pa.Table, most: int) -> pa.Table:
    """At most so many rows of one set, in their order."""
    if len(table) <= most:
        return table
    rows = torch.randperm(len(table), generator=generator(0, "evaluate", name))[:most]
    return table.take(np.sort(rows.numpy()))


def _siblings(names: tuple[str, ...], holdout: pa.Table, forget: pa.Table, batch: BatchFolder) -> pa.Table:
    """The held-out rows of the classes `names`, none of which may be one to forget. Raises ParamsError."""
    gone = sorted(set(names) & set(forget["class"].to_pylist()))
    if gone:
        raise ParamsError(
            f"evaluate.siblings: class {gone[0]!r} is one to forget in batch {batch.key}; name classes that are kept"
        )
    known = set(holdout["class"].to_pylist())
    unknown = sorted(set(names) - known)
    if unknown:
        exist = ", ".join(sorted(known - set(forget["class"].to_pylist())))
        raise ParamsError(f"evaluate.siblings: no held-out image is of class {unknown[0]!r}; classes that are: {exist}")
    return holdout.filter(pc.is_in(holdout["class"], pa.array(names)))


def mean_picture(retain: ImageSource) -> torch.Tensor:
    """The mean of the retain images, [1, C, H, W]."""
    total = torch.zeros(1, dtype=torch.float64)
    for start in range(0, len(retain), 512):
        total = total + retain(torch.arange(start, min(start + 512, len(retain)))).double().sum(0, keepdim=True)
    return (total / len(retain)).float()
