"""The kept classes or people that look most like the forgotten ones: who pays first when forgetting spills over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from unlearning.contracts import ImageSource
from unlearning.metrics.extractors.extractor import Extractor

COUNT = 2  # how many are named
_CHUNK = 256  # images at a time
Means = dict[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Siblings:
    """Their held-out rows, None where nobody could be named, and what the report says of how."""

    table: pa.Table | None
    said: dict[str, Any]


def nearest(
    forget: pa.Table,
    holdout: pa.Table,
    tables: Mapping[str, pa.Table],
    images: Mapping[str, ImageSource],
    extractor: Extractor | None,
) -> Siblings:
    """The two kept groups whose mean features are nearest to any forgotten group's; ties by name.

    A group is a class where whole classes are forgotten, else a subject where whole subjects are. `forget`, `holdout`
    are the manifests; `tables`, `images` the evaluation's sets, which may be smaller: means are over the held-out
    images of kept groups, and over images to forget.
    """
    of = _of(forget, holdout)
    if of is None:
        return _nobody("the images to forget are neither whole classes nor whole subjects")
    if extractor is None:
        return _nobody("there is no feature extractor")
    known = "forget" if len(tables["forget"]) else "forget_holdout"
    gone = _means(tables[known], images[known], of, extractor)
    kept = _means(tables["holdout"], images["holdout"], of, extractor)
    if len(kept) < COUNT:
        return _nobody(f"held-out images are of {len(kept)} kept {of}: {COUNT} are needed")
    distances = {name: min(float(np.linalg.norm(mean - far)) for far in gone.values()) for name, mean in kept.items()}
    names = sorted(sorted(kept), key=distances.__getitem__)[:COUNT]
    how = f"nearest to the forgotten by mean features of {extractor.name}"
    found = holdout.filter(pc.is_in(holdout[of], pa.array(names)))
    said = names if of == "class" else [f"person {place}" for place in range(1, COUNT + 1)]  # a report names nobody
    return Siblings(found, {"names": said, "of": of, "how": how})


def named(names: tuple[str, ...]) -> dict[str, Any]:
    """What the report says of classes that the parameters name."""
    return {"names": list(names), "of": "class", "how": "named by evaluate.siblings"}


def _nobody(why: str) -> Siblings:
    return Siblings(None, {"names": [], "of": None, "how": f"no such set: {why}"})


def _of(forget: pa.Table, holdout: pa.Table) -> str | None:
    """Which column's groups are forgotten whole: none of them has an image that is kept."""
    for column in ("class", "subject"):
        gone = set(forget[column].to_pylist())
        if "" not in gone and not gone & set(holdout[column].to_pylist()):
            return column
    return None


def _means(table: pa.Table, images: ImageSource, of: str, extractor: Extractor) -> Means:
    """Name of a group -> mean features [F]; "" names none."""
    features = torch.cat([extractor(images(rows)) for rows in torch.split(torch.arange(len(table)), _CHUNK)]).numpy()
    groups = np.array(table[of].to_pylist())
    return {str(name): features[groups == name].mean(axis=0) for name in np.unique(groups) if name}
