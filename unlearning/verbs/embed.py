"""`unlearning embed NAME`: a feature table of a data set, by which near duplicates are found without torch."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from unlearning import digests, files
from unlearning.contracts import Corruption
from unlearning.data import index, manifest, neighbours
from unlearning.data.images import ImageSet
from unlearning.errors import DataError, StorageError
from unlearning.log import Log, Progress
from unlearning.metrics.extractors import catalogue, in_domain
from unlearning.metrics.extractors.extractor import Extractor
from unlearning.params import Params
from unlearning.recipe import discover
from unlearning.workspace import Workspace

_NAME = re.compile(r"[a-z0-9_]{1,32}")


def run(params: Params, workspace: Workspace, log: Log, extractor: str | None = None) -> dict[str, Any]:
    """Make features.npy of data set `params.data.name`, or reuse it; features.json.

    extractor  as metrics name it (auto, inception, clip, dino, copies, …, in_domain); None: the one resolving reads
    Raises DataError where there is no such data set, a stored image is damaged, or the extractor is not to be had.
    """
    name, asked = params.data.name, extractor or params.resolve.near_duplicates.extractor
    if not _NAME.fullmatch(asked):
        raise DataError(f"extractor {asked[:40]!r}: 1 to 32 of a-z, 0-9, underscore is right")
    described, folder = index.describe(workspace.dataset(name)), neighbours.feature_folder(workspace, name, asked)
    view = {"image_size": params.data.image_size, "channels": params.data.channels}
    with files.locked(folder.parent / f".{asked}.lock", f"features of data set {name}"):
        held = _held(params, workspace, asked, view)
        if held is not None:
            log(Progress("embed", 0, 0, note="reused, they are of this very data set"))
            return held
        table = index.read(workspace.dataset(name))
        seen = _extractor(params, workspace, table, asked)
        made_of = {"dataset": name, "index_sha256": described["index_sha256"], "asked": asked, **view}
        made_by = {"extractor": seen.name, "weights_sha256": seen.weights_sha256}
        return neighbours.write_features(folder, _features(params, workspace, table, seen, log), {**made_of, **made_by})


def _held(params: Params, workspace: Workspace, asked: str, view: dict[str, int]) -> dict[str, Any] | None:
    """features.json, where the table beside it is whole, of this data set, and made of pictures of that size."""
    try:
        neighbours.features(workspace, params.data.name, asked)
        said = files.read_json(neighbours.feature_folder(workspace, params.data.name, asked) / "features.json")
    except (DataError, StorageError):
        return None
    return said if isinstance(said, dict) and all(said.get(name) == value for name, value in view.items()) else None


def _extractor(params: Params, workspace: Workspace, table: pa.Table, asked: str) -> Extractor:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    discover("unlearning.corruptions")
    corruption = Corruption.chosen(params.corruption, "corruption")

    def train() -> Extractor | None:
        trained = manifest.only(table, "train")
        made_of = [trained["sha256"].to_pylist(), params.section_digest("data"), corruption.model_dump()]
        cache = workspace.work("extractors") / f"{digests.of_value(made_of)}.safetensors"
        labels = trained["class"].to_pylist()
        return in_domain.train(ImageSet(trained, workspace, params.data), labels, corruption, cache, device)

    if asked not in catalogue.known():
        raise DataError(f"there is no extractor {asked!r}; {', '.join(catalogue.known())} are right")
    found = catalogue.find(asked, device, params.evaluate.extractor_weights, train)
    if isinstance(found, str):
        raise DataError(f"extractor {asked!r}: {found}")
    return found


def _features(
    params: Params, workspace: Workspace, table: pa.Table, extractor: Extractor, log: Log
) -> npt.NDArray[np.float32]:
    """[N, F], a row for each row of the index. Equal pixels are looked at once, so that they are exactly alike."""
    codes = table["pixel_sha256"].combine_chunks().dictionary_encode().indices.to_numpy()
    _, first, of_row = np.unique(codes, return_index=True, return_inverse=True)
    images, found = ImageSet(table, workspace, params.data), list[npt.NDArray[np.float32]]()
    parts = torch.split(torch.from_numpy(first), params.evaluate.batch_size)
    for number, rows in enumerate(parts, 1):
        found.append(extractor(images(rows)).numpy().astype(np.float32))
        log(Progress("embed", number, len(parts)))
    return np.concatenate(found)[of_row]
