"""The images of a manifest as tensors: read by (shard, offset, bytes), checked, decoded once, kept while they fit."""

from __future__ import annotations

import os
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from unlearning.data import index, pictures
from unlearning.errors import DataError
from unlearning.params import Data
from unlearning.types import Images
from unlearning.workspace import Workspace

DEFAULT_BUDGET = 2 * 2**30  # bytes of decoded pixels kept in memory, a set
_WORTH_THREADS = 32  # fewer missing images than this are decoded in the calling thread


class ImageSet:
    """The images of one table by row: an ImageSource. Rows of several data sets may stand in one table."""

    def __init__(self, table: pa.Table, workspace: Workspace, data: Data, budget: int = DEFAULT_BUDGET) -> None:
        self.table = table
        self.shape = (data.channels, data.image_size, data.image_size)
        self._workspace = workspace
        self._shards = list(zip(table["dataset"].to_pylist(), table["shard"].to_pylist(), strict=True))
        self._keys, self._sha256 = table["key"].to_pylist(), table["sha256"].to_pylist()
        self._offsets = table["offset"].to_numpy()
        self._sizes = table["bytes"].to_numpy()
        # What fits is kept for good: rows are drawn uniformly, so no eviction rule beats none.
        self._room = min(len(table), budget // int(np.prod(self.shape)))
        self._kept = torch.empty((self._room, *self.shape), dtype=torch.uint8)
        self._place = torch.full((len(table),), -1, dtype=torch.int64)  # [N] row -> place in `kept`
        self._used = 0

    def __len__(self) -> int:
        return len(self._place)

    def __call__(self, rows: Tensor) -> Images:
        """The images of `rows` [B] int64, [B, C, H, W] float32 in [-1, 1]. Raises DataError naming key and shard."""
        pixels = torch.empty((len(rows), *self.shape), dtype=torch.uint8)
        missing = self._place[rows] < 0
        pixels[~missing] = self._kept[self._place[rows[~missing]]]
        if missing.any():
            wanted, where = torch.unique(rows[missing], return_inverse=True)
            found = self._read(wanted.tolist())
            pixels[missing] = found[where]
            self._keep(wanted, found)
        return pixels.float().div_(127.5).sub_(1.0)

    def _keep(self, rows: Tensor, pixels: Tensor) -> None:
        count = min(len(rows), self._room - self._used)
        places = torch.arange(self._used, self._used + count)
        self._kept[places] = pixels[:count]
        self._place[rows[:count]] = places
        self._used += count

    def _read(self, rows: list[int]) -> Tensor:
        """Decoded pixels of `rows`, [B, C, H, W] uint8; each shard is opened once."""
        contents = dict[int, bytes]()
        by_shard = defaultdict[tuple[str, str], list[int]](list)
        for row in rows:
            by_shard[self._shards[row]].append(row)
        for (dataset, shard), here in by_shard.items():
            contents |= self._read_shard(dataset, shard, here)
        if len(rows) < _WORTH_THREADS:
            decoded = [self._decode(row, contents[row]) for row in rows]
        else:
            with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
                decoded = list(pool.map(lambda row: self._decode(row, contents[row]), rows))
        return torch.from_numpy(np.stack(decoded))

    def _read_shard(self, dataset: str, shard: str, rows: list[int]) -> dict[int, bytes]:
        path = index.shard_path(self._workspace, dataset, shard)
        try:
            handle = os.open(path, os.O_RDONLY)
        except OSError:
            raise DataError(f"{path}: there is no such shard; ingest data set {dataset!r} again") from None
        try:
            return {row: os.pread(handle, int(self._sizes[row]), int(self._offsets[row])) for row in rows}
        finally:
            os.close(handle)

    def _decode(self, row: int, content: bytes) -> npt.NDArray[np.uint8]:
        """[C, H, W] uint8."""
        dataset, shard = self._shards[row]
        where = f"data set {dataset!r}, shard {shard}, key {self._keys[row]!r}"
        return pictures.pixels(content, self._sha256[row], self.shape[1], self.shape[0], where)
