"""One set of whole pictures, several models: how well each is known, where a model is shown nothing of it.

A picture drawn from nothing is near or far from an image by chance, so errors of reconstructions say nothing. What a
model knows of an image is in its `abilities.Scoring.surprise`, and "knows nothing" is a model that knows each pixel's
mean and variance over the retain set. Both stand where errors on missing pixels stand for a hole, so that scores,
gates and certificates are made of them alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from unlearning.abilities import Scoring
from unlearning.contracts import Corruption, Generator, ImageSource
from unlearning.log import Log, Progress
from unlearning.randomness import Draws
from unlearning.types import Images, Pair
from unlearning.verbs._measure import MEAN_PICTURE, Measured, Subjects

SURPRISE = "surprise"
_BLOCK = 256  # rows that share a stream of draws: a batch size, which memory decides, changes nothing
# Of the mean variance of a pixel. One that never varied in the retain set (a border, say) would else be known for sure,
# and a single image that differs there would be the whole scale.
_LEAST_VARIANCE = 0.1


@dataclass(frozen=True, slots=True)
class Nothing:
    """What a model knows of pixels that it cannot tell apart by the picture: [1, C, H, W] each."""

    mean: Images
    variance: Images


def judges(corruption: Corruption, models: Mapping[str, Generator]) -> bool:
    """Whether scores are made of surprise: nothing is shown, and every model says how well it knows a picture."""
    return corruption.leaves_nothing and all(isinstance(model, Scoring) for model in models.values())


def nothing(retain: ImageSource, mean: Images) -> Nothing:
    """The variance of each pixel over the retain images, a tenth of the mean variance at least."""
    total = torch.zeros_like(mean, dtype=torch.float64)
    for start in range(0, len(retain), 512):
        rows = torch.arange(start, min(start + 512, len(retain)))
        total += (retain(rows).double() - mean.double()).square().sum(0, keepdim=True)
    variance = total / len(retain)
    return Nothing(mean, variance.clamp_min(_LEAST_VARIANCE * float(variance.mean())).float())


def measure(
    name: str,
    table: pa.Table,
    images: ImageSource,
    subjects: Subjects,
    known: Nothing,
    seeds: Sequence[int],
    batch_size: int,
    pictures: int,
    log: Log,
) -> Measured:
    """The surprise of every model at every image under every seed, and that of who knows nothing.

    The models of `subjects` are `Scoring`, its corruption shows nothing. `pictures` of the images are kept to be shown.
    """
    n = len(images)
    errors = {role: np.full((n, len(seeds)), np.nan) for role in (*subjects.models, MEAN_PICTURE)}
    per_image = {role: {SURPRISE: found} for role, found in errors.items()}
    measured = Measured(name, table, per_image, {role: {} for role in errors}, error=SURPRISE)
    for column, seed in enumerate(seeds):
        for start, draws in places(n, batch_size, Draws(seed, n, where=("evaluate", name), device=subjects.device)):
            rows = torch.arange(start, start + draws.rows)
            for role, value in _surprises(images(rows), rows, subjects, known, draws).items():
                errors[role][start : start + draws.rows, column] = value.double().cpu().numpy()
            log(Progress(f"evaluate {name}", column * n + start + draws.rows, len(seeds) * n))
    measured.finite = all(bool(np.isfinite(found).all()) for found in errors.values())
    if pictures:
        measured.pictures["truth"] = images(torch.arange(min(pictures, n))).numpy()
    return measured


def errors(
    name: str,
    images: ImageSource,
    rows: Sequence[int],
    subjects: Subjects,
    known: Nothing,
    seeds: Sequence[int],
    batch_size: int,
) -> dict[str, np.ndarray]:
    """The surprise at some rows of a set: model -> [K, S] float64, S = seeds; drawn as where all of it is measured."""
    found = {role: np.full((len(rows), len(seeds)), np.nan) for role in (*subjects.models, MEAN_PICTURE)}
    place = {row: at for at, row in enumerate(rows)}
    for column, seed in enumerate(seeds):
        draws = Draws(seed, len(images), where=("evaluate", name), device=subjects.device)
        for first, block in places(len(images), _BLOCK, draws):
            wanted = tuple(row - first for row in rows if first <= row < first + block.rows)
            for start in range(0, len(wanted), batch_size):
                here = wanted[start : start + batch_size]
                taken = [first + row for row in here]
                at = torch.tensor(taken)
                for role, value in _surprises(images(at), at, subjects, known, block.only(here)).items():
                    found[role][[place[row] for row in taken], column] = value.double().cpu().numpy()
    return found


def places(n: int, batch_size: int, draws: Draws) -> Iterator[tuple[int, Draws]]:
    """Where each batch of n rows starts, and its draws: a function of the row and of no batch size."""
    for first in range(0, n, _BLOCK):
        whole = min(_BLOCK, n - first)
        for inside in range(0, whole, batch_size):
            rows = min(batch_size, whole - inside)
            yield (
                first + inside,
                Draws(draws.seed, rows, inside, _BLOCK, (*draws.where, "block", first // _BLOCK), draws.device),
            )


@torch.inference_mode()
def _surprises(clean: Images, rows: Tensor, subjects: Subjects, known: Nothing, draws: Draws) -> dict[str, Tensor]:
    here = clean.to(subjects.device)
    pair = Pair(here, subjects.corruption(here, draws.at("corruption")), rows)
    under = draws.at("reconstruct")
    models = {role: cast(Scoring, model) for role, model in subjects.models.items()}
    found = {role: model.surprise(pair, under) for role, model in models.items()}
    mean, variance = known.mean.to(here.device), known.variance.to(here.device)
    found[MEAN_PICTURE] = next(iter(models.values())).surprise_of_nothing(pair, under, mean, variance)
    return found
