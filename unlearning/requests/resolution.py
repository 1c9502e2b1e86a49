"""Selectors x index -> rows. Only what is stored is ever forgotten: a request locates rows, it brings no image.

Rows whose pixels equal a selected row's are covered too, whatever their file says: a copy left behind is the commonest
honest failure of forgetting.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from unlearning.errors import RequestError
from unlearning.requests.schema import Request

Rows = npt.NDArray[np.int64]  # row numbers of the index, ascending, each once

_NEAR = "near_duplicate_of"
_COLUMN_OF = {
    "sample_key": "key",
    "content_sha256": "sha256",
    "pixel_sha256": "pixel_sha256",
    "subject": "subject",
    "class": "class",
    _NEAR: "key",
}


@dataclass(frozen=True, slots=True)
class Found:
    """The rows one request covers; none is an answer too."""

    request_id: str
    selected: Rows  # named by a selector
    covered: Rows  # selected, or of the same pixels as a selected row
    seeds: Rows  # selected rows whose near duplicates are meant too; none where near duplicates are off


def resolve(requests: Sequence[Request], index: pa.Table) -> list[Found]:
    """What each request covers, in order. The index is walked once a column, however many requests there are."""
    values = defaultdict[str, set[str]](set)
    for request in requests:
        for selector in request.selectors:
            values[_COLUMN_OF[selector.by]].add(selector.value)
    rows_of = {column: _rows_of(index[column], sorted(wanted)) for column, wanted in values.items()}
    same_pixels = _SamePixels(index["pixel_sha256"])
    found = []
    for request in requests:
        named = [rows_of[_COLUMN_OF[selector.by]][selector.value] for selector in request.selectors]
        selected = np.unique(np.concatenate(named))
        found.append(Found(request.request_id, selected, same_pixels(selected), _seeds(request, selected, named)))
    return found


def _seeds(request: Request, selected: Rows, named: list[Rows]) -> Rows:
    """What `near_duplicate_of` names; where no selector is one, everything selected."""
    if request.near_duplicates.mode == "off":
        return selected[:0]
    pointed = [rows for rows, one in zip(named, request.selectors, strict=True) if one.by == _NEAR]
    return np.unique(np.concatenate(pointed)) if pointed else selected


def forget_table(found: Sequence[Found], index: pa.Table) -> pa.Table:
    """The covered rows, and in `requests` the ids that cover each, sorted.

    Raises RequestError if no training image is left to keep.
    """
    ids = np.array([one.request_id for one in found for _ in one.covered])
    rows = np.concatenate([one.covered for one in found])
    order = np.lexsort((ids, rows))
    covered, counts = np.unique(rows, return_counts=True)
    kept = np.delete(index["split"].to_numpy(), covered)
    if not (kept == "train").any():
        widest = max(found, key=lambda one: len(one.covered))
        raise RequestError(
            f"request {widest.request_id} covers {len(widest.covered)} of {len(index)} images, and the batch leaves no "
            "training image to retain: forgetting a whole data set means discarding the model; narrow the request, or "
            f"call it off with `unlearning request cancel {widest.request_id}`"
        )
    offsets = pa.array(np.concatenate([[0], counts.cumsum()]), type=pa.int32())
    requests = pa.ListArray.from_arrays(offsets, pa.array(ids[order], type=pa.string()))
    return index.take(covered).append_column(pa.field("requests", pa.list_(pa.string())), requests)


def _rows_of(column: pa.ChunkedArray, values: list[str]) -> dict[str, Rows]:
    """The rows where the column has each value."""
    numbers = pc.fill_null(pc.index_in(column, value_set=pa.array(values)), -1).to_numpy()
    order = np.argsort(numbers, kind="stable")
    edges = np.searchsorted(numbers[order], np.arange(len(values) + 1))
    return {value: order[edges[n] : edges[n + 1]] for n, value in enumerate(values)}


class _SamePixels:
    """Rows -> every row of the same pixels."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        self._code = column.combine_chunks().dictionary_encode().indices.to_numpy()  # [N] equal = same pixels
        self._order = np.argsort(self._code, kind="stable")
        self._edges = np.searchsorted(self._code[self._order], np.arange(len(self._code) + 1))

    def __call__(self, rows: Rows) -> Rows:
        codes = np.unique(self._code[rows])
        groups = [self._order[self._edges[code] : self._edges[code + 1]] for code in codes.tolist()]
        return np.sort(np.concatenate([rows[:0], *groups]))
