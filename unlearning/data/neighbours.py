"""Which stored images are near to which: by perceptual hash (hashes.npy) or by embedding (a feature table). No torch.

    <root>/data/<name>/hashes.npy                  [N, 8] uint8, a row for each row of the index, made at ingest
    <root>/work/hashes-<sha256 of the index>.npy   the same, of a data set that was ingested before there were any
    <root>/features/<name>/<extractor>/            features.npy [N, F] float32, each row of length 1; features.json

Two hashes are near where they differ by few bits (Zauner, "Implementation and Benchmarking of Perceptual Image Hash
Functions", 2010, for pHash); two features where their cosine is high.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unlearning import digests, files
from unlearning.data import index, tombstones
from unlearning.errors import DataError, StorageError
from unlearning.workspace import Workspace

Rows = npt.NDArray[np.int64]  # row numbers of the index, ascending, each once
Hashes = npt.NDArray[np.uint64]  # [N], the 64 bits of a hash each
Features = npt.NDArray[np.float32]  # [N, F], of length 1

FEATURES = "features/1"
_ROWS = 2**16  # compared at once: memory, not the result, depends on it
_SEEDS = 256
_MANY = 64  # hashes sought
_FEW_BITS = 7  # beyond, a part is so short that too many hashes share one
_WIDTH = 16  # bits of a part, at most


def hashes(workspace: Workspace, dataset: str) -> Hashes:
    """The perceptual hashes of a data set, [N]. Raises DataError for a damaged file or image."""
    folder = workspace.dataset(dataset)
    described = index.describe(folder)
    path = folder / "hashes.npy"
    if "hashes_sha256" not in described:
        path = workspace.work(f"hashes-{described['index_sha256']}.npy")
        if not path.is_file():
            _make_hashes(workspace, folder, path)
    try:
        content = path.read_bytes()
    except OSError:
        raise DataError(f"{path}: there are no such perceptual hashes; ingest the source again") from None
    if digests.of_bytes(content) != described.get("hashes_sha256", digests.of_bytes(content)):
        raise DataError(f"{path}: its sha256 is not the one in dataset.json; ingest the source again")
    bits: npt.NDArray[np.uint8] = np.load(io.BytesIO(content), allow_pickle=False)
    return as_numbers(bits)


def as_numbers(bits: npt.NDArray[np.uint8]) -> Hashes:
    """[N, 8] uint8 -> [N] uint64."""
    return np.ascontiguousarray(bits).view(np.uint64).reshape(-1)


def near_by_hash(known: Hashes, sought: Hashes, bits: int) -> list[Rows]:
    """For each of `sought` [S]: the rows of `known` [N] that differ from it by at most so many bits."""
    wanted = np.unique(sought)
    # Sorting the parts of every hash takes as long as comparing a few dozen with all.
    search = _Parts(known, bits) if len(wanted) >= _MANY and bits <= _FEW_BITS else _All(known, bits)
    of_hash = {int(one): search(one) for one in wanted}
    return [of_hash[one] for one in sought.tolist()]


class _All:
    """Compare with every hash."""

    def __init__(self, known: Hashes, bits: int) -> None:
        self._known, self._bits = known, bits
        self._different, self._counted = np.empty_like(known), np.empty(len(known), dtype=np.uint8)

    def __call__(self, one: np.uint64) -> Rows:
        np.bitwise_xor(self._known, one, out=self._different)
        np.bitwise_count(self._different, out=self._counted)
        return np.flatnonzero(self._counted <= self._bits)


class _Parts:
    """Compare with those that share a part: of r + 1 parts of two hashes r bits apart, at least one is the same.

    Norouzi, Punjani and Fleet, "Fast Search in Hamming Space with Multi-Index Hashing", CVPR 2012, section 2.
    """

    def __init__(self, known: Hashes, bits: int) -> None:
        self._known, self._bits = known, bits
        self._parts = []
        edges = np.linspace(0, 64, bits + 2).astype(np.uint64)
        for low, high in pairwise(edges.tolist()):
            width = min(high - low, _WIDTH)  # whatever shares the part shares its first bits
            values = self._part(known, low, width)
            order = np.argsort(values, kind="stable")
            starts = np.searchsorted(values[order], np.arange(2**width + 1))
            self._parts.append((low, width, order.astype(np.int32), starts))

    def __call__(self, one: np.uint64) -> Rows:
        sharing = []
        for low, width, order, starts in self._parts:
            value = int(self._part(one, low, width))
            sharing.append(order[starts[value] : starts[value + 1]])
        rows = np.concatenate(sharing)
        near: Rows = np.unique(rows[np.bitwise_count(self._known[rows] ^ one) <= self._bits]).astype(np.int64)
        return near

    def _part(self, of: Any, low: int, width: int) -> Any:
        return (of >> np.uint64(low) & np.uint64(2**width - 1)).astype(np.uint16)


def near_by_feature(known: Features, seeds: Rows, cosine: float) -> list[Rows]:
    """For each row of `seeds` [S]: the rows of `known` [N, F] whose cosine with it is at least so much, it among them.

    `known` may lie in a file: it is read in blocks.
    """
    found: list[list[Rows]] = [[seeds[place : place + 1]] for place in range(len(seeds))]
    for first in range(0, len(known), _ROWS):
        block = np.asarray(known[first : first + _ROWS])
        for start in range(0, len(seeds), _SEEDS):
            alike = block @ known[seeds[start : start + _SEEDS]].T  # [rows, F] @ [F, S] -> [rows, S]
            rows, places = np.nonzero(alike >= cosine)
            order = np.argsort(places, kind="stable")
            edges = np.searchsorted(places[order], np.arange(alike.shape[1] + 1))
            for place in range(alike.shape[1]):
                found[start + place].append(rows[order[edges[place] : edges[place + 1]]] + first)
    return [np.unique(np.concatenate(rows)) for rows in found]


def feature_folder(workspace: Workspace, dataset: str, extractor: str) -> Path:
    """Where the feature table of that extractor lies."""
    return workspace.root / "features" / dataset / extractor


def features(workspace: Workspace, dataset: str, extractor: str) -> Features:
    """The feature table, [N, F], left in its file. Raises DataError: there is none, of another index, or damaged."""
    folder = feature_folder(workspace, dataset, extractor)
    again = f"run `unlearning embed {dataset} --extractor {extractor}`"
    try:
        said = files.read_json(folder / "features.json")
        whole = said["schema"] == FEATURES and digests.of_file(folder / "features.npy") == said["features_sha256"]
    except (StorageError, OSError, KeyError, TypeError):
        raise DataError(f"{folder}: data set {dataset!r} has no features of {extractor!r}; {again}") from None
    if not whole:
        raise DataError(f"{folder / 'features.npy'}: not the features that features.json describes; {again}")
    if said["index_sha256"] != index.describe(workspace.dataset(dataset))["index_sha256"]:
        raise DataError(f"{folder}: features of an earlier data set {dataset!r}; {again}")
    table: Features = np.load(folder / "features.npy", mmap_mode="r", allow_pickle=False)
    return table


def write_features(folder: Path, table: Features, said: dict[str, Any]) -> dict[str, Any]:
    """Keep a feature table [N, F], its rows brought to length 1; features.json, which `said` begins."""
    length = np.linalg.norm(table, axis=1, keepdims=True)
    return keep_features(folder, (table / np.maximum(length, 1e-12)).astype(np.float32), said)


def keep_features(folder: Path, table: Features, said: dict[str, Any]) -> dict[str, Any]:
    """Keep a feature table as it is, its rows of length 1 already."""
    with files.new_folder(folder) as partial:
        np.save(partial / "features.npy", table, allow_pickle=False)
        described = {"schema": FEATURES, **said, "features_sha256": digests.of_file(partial / "features.npy")}
        files.write_json(partial / "features.json", described)
    return described


def union(rows: Sequence[Rows]) -> Rows:
    """All of them, ascending, each once."""
    return np.unique(np.concatenate(rows)) if rows else np.empty(0, dtype=np.int64)


def _make_hashes(workspace: Workspace, folder: Path, path: Path) -> None:
    bits = [tombstones.perceptual_hash(image) for image in tombstones.images(workspace, index.read(folder))]
    sink = io.BytesIO()
    np.save(sink, np.stack(bits), allow_pickle=False)
    files.write_bytes(path, sink.getvalue())
