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
    different, counted = np.empty_like(known), np.empty(len(known), dtype=np.uint8)
    of_hash: dict[int, Rows] = {}
    for one in np.unique(sought):
        np.bitwise_xor(known, one, out=different)
        np.bitwise_count(different, out=counted)
        of_hash[int(one)] = np.flatnonzero(counted <= bits)
    return [of_hash[one] for one in sought.tolist()]


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
    with files.new_folder(folder) as partial:
        np.save(partial / "features.npy", (table / np.maximum(length, 1e-12)).astype(np.float32), allow_pickle=False)
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
