"""Tensors computed once, a row an image, on disk: whole or not there, named by what they are a function of.

Safe to delete at any time. A folder that is damaged, half written or of something else is as good as none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unlearning import digests, files
from unlearning.errors import StorageError

SCHEMA = "cache/1"
RECORD = "cache.json"


@dataclass(frozen=True, slots=True)
class Cache:
    """`cache(keys)` are the rows of these keys, by tensor name. Read through the page cache, never held whole."""

    keys: NDArray[np.int64]  # [K], ascending
    arrays: dict[str, NDArray[Any]]  # each [K, ...]

    def __call__(self, keys: Tensor) -> dict[str, Tensor]:
        """[B] int64 -> each [B, ...]. Every key must be one that was written."""
        places = np.searchsorted(self.keys, keys.numpy())
        return {name: torch.from_numpy(np.array(array[places])) for name, array in self.arrays.items()}

    @property
    def bytes(self) -> int:
        """On disk."""
        return sum(array.nbytes for array in self.arrays.values())


def opened(folder: Path, identity: dict[str, Any]) -> Cache | None:
    """What was written there for this very identity; None if there is none, or a byte of it is not as written."""
    try:
        record = files.read_json(folder / RECORD)
        if record["schema"] != SCHEMA or record["identity_sha256"] != digests.of_value(identity):
            return None
        kept = {name: _array(folder, name, entry) for name, entry in record["arrays"].items()}
    except (StorageError, OSError, KeyError, TypeError, ValueError):
        return None
    return Cache(np.array(kept.pop("keys")), kept)


def write(folder: Path, identity: dict[str, Any], keys: Tensor, parts: Iterable[dict[str, Tensor]]) -> None:
    """Rows for `keys` [K] ascending, part by part in their order. Raises StorageError for a full disk."""
    with files.new_folder(folder) as partial:
        arrays: dict[str, dict[str, Any]] = {}
        opened: dict[str, BinaryIO] = {}
        try:
            for part in parts:
                for name, rows in part.items():
                    if name not in opened:
                        opened[name] = (partial / f"{name}.bin").open("wb")
                        arrays[name] = {"dtype": rows.numpy().dtype.str, "shape": [len(keys), *rows.shape[1:]]}
                    opened[name].write(rows.numpy().tobytes())
        finally:
            for file in opened.values():
                file.close()
        (partial / "keys.bin").write_bytes(keys.numpy().tobytes())
        arrays["keys"] = {"dtype": keys.numpy().dtype.str, "shape": [len(keys)]}
        for name, entry in arrays.items():
            entry["sha256"] = digests.of_file(partial / f"{name}.bin")
        record = {"schema": SCHEMA, "identity_sha256": digests.of_value(identity), "arrays": arrays}
        files.write_json(partial / RECORD, record)


def _array(folder: Path, name: str, entry: dict[str, Any]) -> NDArray[Any]:
    """One array, mapped. Raises ValueError if its bytes are not those that were written."""
    path = folder / f"{name}.bin"
    if digests.of_file(path) != entry["sha256"]:
        raise ValueError(f"{path}: damaged")
    return np.memmap(path, dtype=entry["dtype"], mode="r", shape=tuple(entry["shape"]))
