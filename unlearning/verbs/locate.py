"""`unlearning locate PICTURE --dataset NAME [--near]`: which stored images is this? It is looked at, and not kept.

An uploaded picture only ever locates what is stored; what is forgotten are stored bytes alone. Forged pictures that no
training ever saw would otherwise become gradients, and cost the model what it knows ("Unlearn and Burn", 2025).
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
from PIL import Image

from unlearning import digests
from unlearning.data import decoding, index, neighbours, pictures, tombstones
from unlearning.errors import DataError
from unlearning.workspace import NAME, Workspace

BITS = 8  # of 64, where nobody says how near: what JPEG or a smaller size changes (tests/benchmarks/tombstones.py)
MOST_BITS = 16
_NAME = re.compile(NAME)


def run(content: bytes, dataset: str, workspace: Workspace, near: int | None = None) -> dict[str, Any]:
    """Keys of the same bytes, and keys of the same pixels in other bytes; {dataset, bytes: [...], pixels: [...]}.

    near  also perceptual: [...], keys of other images whose perceptual hash differs by at most so many bits, 0 to 16
    Raises DataError where the picture cannot be decoded, there is no such data set, or `near` is out of bounds.
    """
    if not _NAME.fullmatch(dataset):
        raise DataError(f"data set name {dataset[:80]!r}: 1 to 64 of a-z, 0-9, dot, underscore, hyphen is right")
    if near is not None and not 0 <= near <= MOST_BITS:
        raise DataError(f"near: {near} bits of 64; 0 to {MOST_BITS} are right, beyond that most pictures are near")
    image = decoding.decode(content, "the picture")
    table = index.read(workspace.dataset(dataset))
    same_bytes = pc.equal(table["sha256"], digests.of_bytes(content))
    same_pixels = pc.and_not(pc.equal(table["pixel_sha256"], pictures.pixel_sha256(image)), same_bytes)
    found = {
        "dataset": dataset,
        "bytes": table["key"].filter(same_bytes).to_pylist(),
        "pixels": table["key"].filter(same_pixels).to_pylist(),
    }
    if near is not None:
        same = pc.or_(same_bytes, same_pixels).to_numpy()
        found["perceptual"] = table["key"].take(_near(image, workspace, dataset, near, same)).to_pylist()
    return found


def _near(
    image: Image.Image, workspace: Workspace, dataset: str, bits: int, same: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int64]:
    """Rows within so many bits, nearest first, without those that are the `same` [N]."""
    known = neighbours.hashes(workspace, dataset)
    sought = neighbours.as_numbers(tombstones.perceptual_hash(image)[None])
    (rows,) = neighbours.near_by_hash(known, sought, bits)
    rows = rows[~same[rows]]
    nearest_first: npt.NDArray[np.int64] = rows[np.argsort(np.bitwise_count(known[rows] ^ sought), kind="stable")]
    return nearest_first
