"""A map of what encoders make of images: t-SNE of pooled embeddings, for people to look at.

    z    = mean over places of the deepest map of E(T(x)), over 4 fixed views, standardised
    map  = t-SNE of z (van der Maaten and Hinton, JMLR 2008), perplexity 30, seeded, each model by itself

Nearness says which images an encoder finds alike; distances between groups, sizes and shapes say nothing, and two maps
cannot be laid over each other. It is a picture, not evidence: no gate reads it. Points are positions alone: no key, no
class, no picture stands beside one.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from unlearning import digests, files
from unlearning.contracts import Generator, ImageSource
from unlearning.evidence import lineage
from unlearning.log import Log, Progress
from unlearning.params import Params
from unlearning.randomness import Draws
from unlearning.report.charts import Points
from unlearning.training import checkpoint
from unlearning.types import Pair
from unlearning.verbs._measure import Subjects
from unlearning.workspace import BatchFolder

SETS = ("forget", "forget_holdout", "retain", "holdout")
_IMAGES = 600  # over all sets, as evenly as they allow
_FEWEST = 40
_PERPLEXITY = 30.0
_DIMENSIONS = 50  # principal components that t-SNE looks at; its authors have 30
_VIEWS = 4  # holes and views that an embedding is the mean over
_CHUNK = 128  # images at a time


def made(
    params: Params,
    batch: BatchFolder,
    tables: Mapping[str, pa.Table],
    images: Mapping[str, ImageSource],
    subjects: Subjects,
    log: Log,
) -> Points:
    """Model -> set -> [N, 2], read back where it was made before; empty where no map is asked for.

    `report.map` asks for one, and so do the profiles standard and audit where it says nothing. Of a few images there
    is none, and none of a model whose embedding is not finite.
    """
    rows = _shares({name: len(tables[name]) for name in SETS if name in tables})
    if not asked(params) or _few(rows):
        return {}
    path = batch.workspace.work("maps") / f"{digests.of_value(_content(params, batch, tables, rows, subjects))}.npz"
    found = _read(path)
    if found is None:
        found = {}
        for place, (role, model) in enumerate(subjects.models.items()):
            log(Progress("embedding map", place, len(subjects.models)))
            drawn = _of(model, rows, images, subjects, params.evaluate.seeds[0])
            if drawn is not None:
                found[role] = drawn
        log(Progress("embedding map", len(subjects.models), len(subjects.models)))
        _write(path, found)
    return found


def asked(params: Params) -> bool:
    """Whether a report is to have a map."""
    wanted = params.report.map
    return params.evaluate.profile in ("standard", "audit") if wanted is None else wanted


def _few(rows: Mapping[str, Tensor]) -> bool:
    return sum(len(some) for some in rows.values()) < _FEWEST


def _shares(sizes: Mapping[str, int]) -> dict[str, Tensor]:
    """Rows of each set, evenly over it: what a small set cannot give, the larger ones do."""
    left, shares = _IMAGES, {}
    for place, name in enumerate(sorted(sizes, key=lambda name: sizes[name])):
        shares[name] = min(sizes[name], left // (len(sizes) - place))
        left -= shares[name]
    return {name: torch.arange(shares[name]) * sizes[name] // max(shares[name], 1) for name in sizes if shares[name]}


def _of(
    model: Generator, rows: Mapping[str, Tensor], images: Mapping[str, ImageSource], subjects: Subjects, seed: int
) -> dict[str, np.ndarray] | None:
    """One model's map, set by set, [N, 2]; None where its embedding is not finite."""
    features = np.concatenate([_embedded(model, images[name], some, subjects, seed) for name, some in rows.items()])
    if not np.isfinite(features).all():
        return None
    ends = np.cumsum([len(some) for some in rows.values()])[:-1]
    return dict(zip(rows, np.split(_laid_out(features), ends), strict=True))


@torch.no_grad()
def _embedded(model: Generator, images: ImageSource, rows: Tensor, subjects: Subjects, seed: int) -> np.ndarray:
    """[N, C] float64: the mean over a few holes and views, which are the same for every image."""
    found = []
    for some in torch.split(rows, _CHUNK):
        clean, total = images(some), torch.zeros(1, dtype=torch.float64)
        for number in range(_VIEWS):
            alike = Draws(seed, 1, where=("map", number)).only((0,) * len(some))
            hole = subjects.corruption(clean, alike.at("corruption"))
            here = replace(hole, images=hole.images.to(subjects.device), missing=hole.missing.to(subjects.device))
            pair = Pair(clean.to(subjects.device), here, some)
            view = model.draw_view(here, replace(alike, device=subjects.device).at("view"))
            total = total + _pooled(model.encode(pair, view)[-1]).double().cpu() / _VIEWS
        found.append(total.numpy())
    return np.concatenate(found)


def _pooled(deepest: Tensor) -> Tensor:
    """[B, L, C] or [B, C, h, w] -> [B, C], mean over places; [B, C] as it is."""
    if deepest.ndim == 2:
        return deepest
    return deepest.float().mean(1 if deepest.ndim == 3 else tuple(range(2, deepest.ndim)))


def _laid_out(features: np.ndarray) -> np.ndarray:
    """[N, F] -> [N, 2]."""
    from sklearn.decomposition import PCA  # a second to import: only who asks for a map waits
    from sklearn.manifold import TSNE

    moving = features[:, features.std(axis=0) > 0]
    if moving.shape[1] < 2:  # an encoder that says the same of every image
        return np.zeros((len(features), 2))
    scaled = (moving - moving.mean(axis=0)) / moving.std(axis=0)
    if min(scaled.shape) > _DIMENSIONS:
        scaled = PCA(_DIMENSIONS, svd_solver="full").fit_transform(scaled)
    perplexity = min(_PERPLEXITY, (len(scaled) - 1) / 3)
    laid_out: np.ndarray = TSNE(2, perplexity=perplexity, init="pca", random_state=0).fit_transform(scaled)
    return laid_out


def _content(
    params: Params, batch: BatchFolder, tables: Mapping[str, pa.Table], rows: Mapping[str, Tensor], subjects: Subjects
) -> dict[str, Any]:
    """All that a map is a function of."""
    return {
        "images": {
            name: digests.of_value(tables[name].take(some.numpy())["sha256"].to_pylist()) for name, some in rows.items()
        },
        "weights": {role: checkpoint.weights_sha256(batch.asset(f"{role}_checkpoint")) for role in subjects.models},
        "corruption": subjects.corruption.model_dump(mode="json"),
        "data": params.section_digest("data"),
        "seed": params.evaluate.seeds[0],
        "device": subjects.device.type,
        "code": lineage.code_identity()["source_sha256"],
    }


def _write(path: Path, found: Points) -> None:
    buffer = io.BytesIO()
    named: dict[str, Any] = {f"{role}/{name}": some for role, by_set in found.items() for name, some in by_set.items()}
    np.savez(buffer, **named)
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_bytes(path, buffer.getvalue())


def _read(path: Path) -> dict[str, dict[str, np.ndarray]] | None:
    """None where there is none, or a damaged one: then it is made again."""
    try:
        found: dict[str, dict[str, np.ndarray]] = {}
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as kept:
            for place in kept.files:
                role, _, name = place.partition("/")
                found.setdefault(role, {})[name] = kept[place]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return found
