"""Which images a training reads, from a batch's manifests. No torch: whoever checks a trace asks the same."""

from __future__ import annotations

import pyarrow as pa

from unlearning.data import index, manifest
from unlearning.errors import ManifestError
from unlearning.workspace import BatchFolder


def unlearning(batch: BatchFolder) -> tuple[pa.Table, pa.Table]:
    """Images to forget that training saw (all of them, if it saw none), and images to keep. Raises ManifestError."""
    forget, retain = manifest.read(batch.forget), manifest.read(batch.retain)
    manifest.refuse_overlap({"forget": forget, "retain": retain})
    seen = manifest.only(forget, "train")
    for name, table in (("forget", forget), ("retain", retain)):
        if not len(table):
            raise ManifestError(f"batch {batch.key}: the {name} manifest is empty; at least one image is right")
    return (seen if len(seen) else forget), retain


def without(batch: BatchFolder, dataset: str, role: str, *forget: pa.Table) -> tuple[pa.Table, int]:
    """Every training image of a data set but those in `forget`, and how many those are. Raises ManifestError."""
    every = manifest.only(index.read(batch.workspace.dataset(dataset)), "train")
    kept = manifest.minus(every, *forget)
    if not len(kept):
        raise ManifestError(
            f"batch {batch.key}: no training image of data set {dataset!r} is left for the {role} model; "
            f"requests must leave something to keep"
        )
    return kept, len(every) - len(kept)
