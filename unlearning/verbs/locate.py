"""`unlearning locate PICTURE --dataset NAME`: which stored images is this? The picture is looked at, and not kept.

An uploaded picture only ever locates what is stored; what is forgotten are stored bytes alone. Forged pictures that no
training ever saw would otherwise become gradients, and cost the model what it knows ("Unlearn and Burn", 2025).
"""

from __future__ import annotations

import re
from typing import Any

import pyarrow.compute as pc

from unlearning import digests
from unlearning.data import index, pictures
from unlearning.errors import DataError
from unlearning.workspace import Workspace

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def run(content: bytes, dataset: str, workspace: Workspace) -> dict[str, Any]:
    """Keys of the same bytes, and keys of the same pixels in other bytes; {dataset, bytes: [...], pixels: [...]}.

    Raises DataError where the picture cannot be decoded, or there is no such data set.
    """
    if not _NAME.fullmatch(dataset):
        raise DataError(f"data set name {dataset[:80]!r}: 1 to 64 of a-z, 0-9, dot, underscore, hyphen is right")
    image = pictures.decode(content, "the picture")
    table = index.read(workspace.dataset(dataset))
    same_bytes = pc.equal(table["sha256"], digests.of_bytes(content))
    same_pixels = pc.and_not(pc.equal(table["pixel_sha256"], pictures.pixel_sha256(image)), same_bytes)
    return {
        "dataset": dataset,
        "bytes": table["key"].filter(same_bytes).to_pylist(),
        "pixels": table["key"].filter(same_pixels).to_pylist(),
    }
