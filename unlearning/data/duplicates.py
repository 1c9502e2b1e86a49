"""Near duplicates: images that a model can hardly tell from one that is to be forgotten. No torch.

Two images are the same if the root mean square of their pixels' difference, as a model is shown them in [-1, 1], is at
most a threshold. Every pair is compared by thumbnail first: a mean differs by no more than what it is the mean of, so
those whose thumbnails are far apart are far apart themselves, and only the others are decoded. (That holds for grey
pictures of equal size. A grey level weighs green by 0.587 where a channel of three weighs a third, and a picture that
was resized lost some sharpness; `_SLACK` allows for both.)
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy.spatial.distance import cdist

from unlearning.data import index, pictures
from unlearning.errors import DataError
from unlearning.params import Data
from unlearning.workspace import Workspace

_SLACK = 1.5  # > sqrt(3 * 0.587), how far a difference of grey may exceed that of the three channels
_ROUNDING = 1.0  # grey levels: each thumbnail is rounded to one
_ROWS = 4_096  # compared at once: memory, not the result, depends on it


def near(table: pa.Table, others: pa.Table, threshold: float, workspace: Workspace, data: Data) -> pa.BooleanArray:
    """Which rows of `table` [N] are a near duplicate of any row of `others`. Raises DataError for a damaged image."""
    found = np.zeros(len(table), dtype=bool)
    if len(table) and len(others):
        known = dict[int, npt.NDArray[np.float32]]()
        for row, candidates in _candidates(table, others, threshold, workspace):
            image = _pixels(table, row, workspace, data)
            for other in candidates:
                if other not in known:
                    known[other] = _pixels(others, other, workspace, data)
                if np.sqrt(np.square(image - known[other]).mean()) <= threshold:
                    found[row] = True
                    break
    return pa.array(found)


def _candidates(
    table: pa.Table, others: pa.Table, threshold: float, workspace: Workspace
) -> Iterator[tuple[int, list[int]]]:
    """(row of `table`, rows of `others`) of all pairs whose thumbnails are near, nearest first."""
    levels = threshold * 127.5 * _SLACK + _ROUNDING
    small, sought = _thumbnails(table, workspace), _thumbnails(others, workspace)
    for start in range(0, len(small), _ROWS):
        apart = cdist(small[start : start + _ROWS], sought) / pictures.THUMBNAIL  # RMS, in grey levels
        for row in np.flatnonzero(apart.min(axis=1) <= levels):
            order = np.argsort(apart[row], kind="stable")
            yield start + int(row), order[apart[row][order] <= levels].tolist()


def _thumbnails(table: pa.Table, workspace: Workspace) -> npt.NDArray[np.float32]:
    """[N, 64] of the rows of `table`, which may be of several data sets."""
    found = np.empty((len(table), pictures.THUMBNAIL**2), dtype=np.float32)
    for dataset in pc.unique(table["dataset"]).to_pylist():
        folder = workspace.dataset(dataset)
        here = np.flatnonzero(pc.equal(table["dataset"], dataset).to_numpy())
        places = pc.index_in(table["key"].take(here), value_set=index.read(folder)["key"].combine_chunks())
        if places.null_count:
            raise DataError(f"{folder}: {places.null_count} images of a manifest are not in its index; resolve again")
        found[here] = index.thumbnails(folder)[places.to_numpy()]
    return found


def _pixels(table: pa.Table, row: int, workspace: Workspace, data: Data) -> npt.NDArray[np.float32]:
    """One image in [-1, 1], [C, H, W]."""
    named = {name: table[name][row].as_py() for name in ("dataset", "shard", "key", "offset", "bytes", "sha256")}
    path = index.shard_path(workspace, named["dataset"], named["shard"])
    where = f"data set {named['dataset']!r}, shard {named['shard']}, key {named['key']!r}"
    try:
        with path.open("rb") as shard:
            shard.seek(named["offset"])
            content = shard.read(named["bytes"])
    except OSError:
        raise DataError(f"{path}: there is no such shard; ingest data set {named['dataset']!r} again") from None
    found = pictures.pixels(content, named["sha256"], data.image_size, data.channels, where)
    return found.astype(np.float32) / 127.5 - 1
