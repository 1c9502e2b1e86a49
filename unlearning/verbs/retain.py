"""retain_proxy_set: what the model must keep, or what stands in for it; and a held-out set that is in neither."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from unlearning import files
from unlearning.data import duplicates, index, manifest, relocation
from unlearning.errors import ManifestError
from unlearning.evidence.lineage import Record
from unlearning.log import Log
from unlearning.params import Params, Retain
from unlearning.verbs import _asset, _served
from unlearning.workspace import BatchFolder


def run(params: Params, batch: BatchFolder, log: Log) -> Record:
    """Write retain.parquet, holdout.parquet and sets.json, disjoint from each other and from the forget set.

    Disjoint by key, by stored bytes and by pixels; neither holds a near duplicate of an image to forget. Raises
    ManifestError if a set would be empty.
    """

    def fill(folder: Path, key: str) -> dict[str, Any]:
        table = index.read(batch.workspace.dataset(params.data.name))
        forget = manifest.read(batch.forget)
        gone = _served.forgotten(batch)  # also what earlier batches forgot: it is stored, and must not be taught again
        near_to_gone = _served.near_to_purged(batch)  # what is purged can be compared with nothing any more
        held_out = manifest.minus(manifest.only(table, "holdout"), *gone, *near_to_gone)
        holdout, near_held_out = _apart(params, batch, held_out, gone)
        eligible = manifest.minus(_eligible(params, batch, table, forget), *gone, *near_to_gone, holdout)
        eligible, near = _apart(params, batch, eligible, gone)
        retain = _balanced(eligible, params.retain)
        for name, rows in (("retain", retain), ("holdout", holdout)):
            if not len(rows):
                raise ManifestError(_empty(name, params, batch))
        manifest.refuse_overlap({"forget": forget, "retain": retain, "holdout": holdout})
        manifest.write(folder / "retain.parquet", retain)
        manifest.write(folder / "holdout.parquet", holdout)
        source = params.retain.dataset or params.data.name
        counted = {"forget": _counts(forget), "retain": _counts(retain), "holdout": _counts(holdout)}
        files.write_json(
            folder / "sets.json",
            {
                "schema": "sets/1",
                "batch": batch.key,
                "mode": params.retain.mode,
                "dataset": source,
                "dataset_index_sha256": index.describe(batch.workspace.dataset(source))["index_sha256"],
                "seed": params.retain.seed,
                "eligible": len(eligible),
                "sets": counted,
                "disjoint_by": ["key", *manifest.IDENTITIES],
                **({"forgotten_earlier": sum(map(len, gone[1:]))} if gone[1:] else {}),
                "near_duplicates": {
                    "at_most": params.retain.duplicate,
                    "left_out": {"retain": near, "holdout": near_held_out},
                },
            },
        )
        return {"mode": params.retain.mode, **{name: said["images"] for name, said in counted.items()}}

    return _asset.make("retain_proxy_set", params, batch, log, fill)


def _eligible(params: Params, batch: BatchFolder, table: pa.Table, forget: pa.Table) -> pa.Table:
    """Training rows that the mode allows, before anything shared with another set is taken out."""
    retain = params.retain
    if retain.dataset is not None:
        return manifest.only(index.read(batch.workspace.dataset(retain.dataset)), "train")
    train = manifest.only(table, "train")
    if retain.mode == "real":
        return train
    forgotten = pc.unique(forget["class"])
    known = set(pc.unique(table["class"]).to_pylist())
    unknown = sorted(set(retain.proxy_classes) - known)
    if unknown:
        raise ManifestError(
            f"retain.proxy_classes: data set {params.data.name!r} has no class {unknown[0]!r}; "
            f"classes that exist: {', '.join(sorted(known))}"
        )
    wrong = sorted(set(retain.proxy_classes) & set(forgotten.to_pylist()))
    if wrong:
        raise ManifestError(
            f"retain.proxy_classes: class {wrong[0]!r} is one to forget in batch {batch.key}; name other classes"
        )
    if retain.proxy_classes:
        return train.filter(pc.is_in(train["class"], pa.array(retain.proxy_classes)))
    return train.filter(pc.invert(pc.is_in(train["class"], forgotten)))


def _apart(params: Params, batch: BatchFolder, table: pa.Table, gone: list[pa.Table]) -> tuple[pa.Table, int]:
    """The rows that are no near duplicate of an image to forget, and how many are: they would teach it again."""
    if not params.retain.duplicate:
        return table, 0
    kept = table
    for forgotten in gone:
        stored = relocation.stored(forgotten, batch.workspace)
        same = duplicates.near(kept, stored, params.retain.duplicate, batch.workspace, params.data)
        kept = kept.filter(pc.invert(same))
    return kept, len(table) - len(kept)


def _balanced(table: pa.Table, retain: Retain) -> pa.Table:
    """`ratio` of the rows, as equally many of each class as there are; all of them where ratio is 1."""
    wanted = max(1, round(retain.ratio * len(table)))
    if wanted >= len(table):
        return table
    labels, codes = np.unique(table["class"].to_numpy(zero_copy_only=False), return_inverse=True)
    shares = _shares(np.bincount(codes, minlength=len(labels)), wanted)
    order = np.random.default_rng(retain.seed).permutation(len(table))
    chosen = [order[codes[order] == code][:share] for code, share in enumerate(shares)]
    return table.take(np.sort(np.concatenate(chosen)))


def _shares(sizes: npt.NDArray[np.int64], wanted: int) -> npt.NDArray[np.int64]:
    """How many of each class, `wanted` in all: the same number each, except where a class has fewer."""
    shares = np.zeros_like(sizes)
    while (left := wanted - int(shares.sum())) > 0:
        open_ = np.flatnonzero(shares < sizes)
        each, extra = divmod(left, len(open_))
        shares[open_] = np.minimum(sizes[open_], shares[open_] + each + (np.arange(len(open_)) < extra))
    return shares


def _counts(table: pa.Table) -> dict[str, Any]:
    """Images, splits and the number of classes; class names may be people, so they are not spelt out."""
    return {
        "images": len(table),
        "splits": dict(Counter(table["split"].to_pylist())),
        "classes": len(pc.unique(table["class"])),
        "per_class": sorted(Counter(table["class"].to_pylist()).values()),
    }


def _empty(name: str, params: Params, batch: BatchFolder) -> str:
    if name == "holdout":
        return (
            f"batch {batch.key}: no image of data set {params.data.name!r} is held out and not to be forgotten; "
            "ingest it with a test part"
        )
    return (
        f"batch {batch.key}: no image is left to retain in mode {params.retain.mode!r}; another retain.mode, more "
        "retain.proxy_classes or another retain.dataset is right"
    )
