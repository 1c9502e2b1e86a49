"""Which shard of a model, and which slice of it, a training image belongs to; tar files have nothing to do with it.

    group(x) = its subject, or its class, or else its pixels
    (shard, slice) = sha256(seed, group) modulo (S, R)

A group's place is a function of its name and the seed, never of what else the data set holds: a deletion moves nobody,
and equal pixels under two keys are together. Near duplicates beyond equal pixels are not looked for, because a grouping
computed over the data would have to be computed again without what is deleted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from unlearning import files
from unlearning.data import index, manifest
from unlearning.errors import CheckpointError, DataError, ManifestError

Numbers = npt.NDArray[np.int64]  # [N]
_COLUMNS = pa.schema(
    [pa.field(name, pa.string(), nullable=False) for name in ("dataset", "key")]
    + [pa.field(name, pa.int32(), nullable=False) for name in ("shard", "slice")]
)


@dataclass(frozen=True, slots=True)
class Rule:
    """How images are dealt out."""

    shards: int
    slices: int
    by: Literal["subject", "image", "class"]
    seed: int

    def place(self, group: str) -> tuple[int, int]:
        """(shard, slice) of a group."""
        digest = hashlib.sha256(files.canonical([str(self.seed), group])).digest()
        return (int.from_bytes(digest[:8], "big") % self.shards, int.from_bytes(digest[8:16], "big") % self.slices)

    def groups(self, table: pa.Table) -> list[str]:
        """The group of every row of an index or manifest: what is deleted together stays together."""
        pixels = [f"pixels {value}" for value in table["pixel_sha256"].to_pylist()]
        if self.by == "image":
            return pixels
        named = table[self.by].to_pylist()
        return [f"{self.by} {name}" if name else other for name, other in zip(named, pixels, strict=True)]


@dataclass(frozen=True, slots=True)
class Dealt:
    """Training rows, each in its slice of its shard; ordered by slice, then data set and key."""

    table: pa.Table  # rows of an index, [N]
    shard: Numbers
    slice: Numbers

    def __len__(self) -> int:
        return len(self.shard)

    @classmethod
    def of(cls, table: pa.Table, shard: Sequence[int] | Numbers, slice_: Sequence[int] | Numbers) -> Dealt:
        """In the one order that a set of rows has."""
        given = table.append_column("place", pa.array(np.asarray(slice_, np.int64)))
        order = pc.sort_indices(given, [("place", "ascending"), ("dataset", "ascending"), ("key", "ascending")])
        rows = order.to_numpy()
        return cls(table.take(order), np.asarray(shard, np.int64)[rows], np.asarray(slice_, np.int64)[rows])

    def member(self, shard: int) -> Dealt:
        """The rows of one shard."""
        mine = self.shard == shard
        return Dealt(self.table.filter(pa.array(mine)), self.shard[mine], self.slice[mine])

    def without(self, gone: pa.Table) -> Dealt:
        """Less every row that shares its key, its stored bytes or its pixels with one of `gone`."""
        kept = np.isin(_keys(self.table), _keys(manifest.minus(self.table, gone)))
        return Dealt(self.table.filter(pa.array(kept)), self.shard[kept], self.slice[kept])

    def up_to(self, slices: int) -> Numbers:
        """How many rows lie in the first 1, 2 .. `slices` slices: [slices]. They come first."""
        return np.searchsorted(self.slice, np.arange(slices), side="right").astype(np.int64)

    def content(self, slices: int) -> list[list[list[str]]]:
        """(data set, key, sha256) of every row, slice by slice: what training on them is a function of."""
        rows = list(zip(*(self.table[name].to_pylist() for name in ("dataset", "key", "sha256")), strict=True))
        ends = self.up_to(slices).tolist()
        return [[list(row) for row in rows[a:b]] for a, b in zip([0, *ends[:-1]], ends, strict=True)]

    def write(self, path: Path) -> None:
        """shards.parquet: keys and places, nothing of a person beyond keys. The same rows give the same bytes."""
        columns = [self.table["dataset"], self.table["key"], self.shard.astype(np.int32), self.slice.astype(np.int32)]
        sink = pa.BufferOutputStream()
        written = pa.table(columns, schema=_COLUMNS)
        pq.write_table(written, sink, compression="zstd", version="2.6", store_schema=False)
        files.write_bytes(path, sink.getvalue().to_pybytes())


def deal(table: pa.Table, rule: Rule) -> Dealt:
    """Every row to its place. Raises ManifestError naming the first shard or slice that is left without an image."""
    places = np.array([rule.place(group) for group in rule.groups(table)], dtype=np.int64).reshape(-1, 2)
    counts = np.zeros((rule.shards, rule.slices), dtype=np.int64)
    np.add.at(counts, (places[:, 0], places[:, 1]), 1)
    empty = np.flatnonzero(counts.sum(1) == 0)
    if len(empty):
        raise ManifestError(
            f"generator.shards: {rule.shards} leaves shard {empty[0]} without an image, of {len(table)} images by "
            f"{rule.by}; fewer shards, by: image, or another generator.seed is right"
        )
    if not counts.all():
        shard, slice_ = np.argwhere(counts == 0)[0]
        raise ManifestError(
            f"generator.slices: {rule.slices} leaves slice {slice_} of shard {shard} without an image, of {len(table)} "
            f"images by {rule.by}; fewer slices, by: image, or another generator.seed is right"
        )
    return Dealt.of(table, places[:, 0], places[:, 1])


def read(path: Path, table: pa.Table) -> Dealt:
    """The rows of the index `table` that shards.parquet names, where it says. Raises CheckpointError or DataError."""
    try:
        named = pq.read_table(path, schema=_COLUMNS, **index.FOOTER)
    except (OSError, pa.ArrowException) as error:
        raise CheckpointError(f"{path}: not a table of shards ({' '.join(str(error).split())[:120]})") from None
    rows = {key: row for row, key in enumerate(_keys(table).tolist())}
    keys = _keys(named).tolist()
    missing = [key for key in keys if key not in rows]
    if missing:
        raise DataError(
            f"{path.name}: the model was trained on {len(missing)} images that the data set no longer has (first: "
            f"{missing[0].split(chr(10))[-1]!r}), so their shards cannot be trained again; ingest them again"
        )
    picked = table.take(pa.array([rows[key] for key in keys], pa.int64()))
    return Dealt.of(picked, named["shard"].to_numpy(), named["slice"].to_numpy())


def _keys(table: pa.Table) -> npt.NDArray[np.object_]:
    keys: npt.NDArray[np.object_] = index.named(table).to_numpy()
    return keys
