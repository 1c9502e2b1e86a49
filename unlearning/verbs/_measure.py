"""One set of images, several models, several draws of the corruption: errors per image and pictures to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from unlearning.attack import Shown
from unlearning.contracts import Compared, Corruption, Generator, ImageSource, Metric
from unlearning.log import Log, Progress
from unlearning.metrics import _observer
from unlearning.metrics._extractors import Extractor
from unlearning.metrics._missing import only_missing
from unlearning.randomness import Draws
from unlearning.types import Corrupted, Images, Missing

MEAN_PICTURE = "mean_picture"  # the model that knows nothing: the retain set's mean, pixel by pixel


@dataclass(frozen=True, slots=True)
class Subjects:
    """What is measured: the models by role, and the mean picture [1, C, H, W]."""

    models: Mapping[str, Generator]
    mean_picture: Images
    corruption: Corruption
    metrics: Sequence[Metric]
    extractor: Extractor | None
    device: torch.device
    shown: Shown | None = None  # what models are shown in the stead of T(x): nothing else


@dataclass(slots=True)
class Measured:
    """What came out for one set of N images and S seeds."""

    name: str
    table: pa.Table  # N rows of the manifest
    per_image: dict[str, dict[str, np.ndarray]]  # model -> metric -> [N, S] float64
    per_set: dict[str, dict[str, list[float]]]  # model -> metric -> S values
    pictures: dict[str, np.ndarray] = field(default_factory=dict)  # row label -> [P, C, H, W] in [-1, 1], first seed
    looks: dict[str, np.ndarray] = field(default_factory=dict)  # model -> [K, F], what an observer sees, first seed
    finite: bool = True
    error: str = "mse"  # the metric that scores are made of; 0 = knows the image


def measure(
    name: str,
    table: pa.Table,
    images: ImageSource,
    subjects: Subjects,
    seeds: Sequence[int],
    batch_size: int,
    pictures: int,
    log: Log,
    observed: int = 0,
) -> Measured:
    """Reconstruct every image of `images` under every seed by every model, and measure missing pixels.

    An observer looks at `observed` of the images at most, evenly over the set: one sorted by class is no bias.
    """
    roles = [*subjects.models, MEAN_PICTURE]
    scored = [metric for metric in subjects.metrics if metric.per_image]
    n = len(images)
    per_image = {role: {metric.kind: np.full((n, len(seeds)), np.nan) for metric in scored} for role in roles}
    measured = Measured(name, table, per_image, {role: {} for role in roles})
    for column, seed in enumerate(seeds):
        features: dict[str, list[Tensor]] = {}
        for start in range(0, n, batch_size):
            stop = min(start + batch_size, n)
            draws = Draws(seed, stop - start, first=start, total=n, where=("evaluate", name))
            truth = images(torch.arange(start, stop))
            generated, missing, shown = _reconstruct(truth, subjects, draws)
            for role, picture in generated.items():
                measured.finite &= bool(picture.isfinite().all())
                _keep_errors(per_image[role], Compared(truth, picture, missing), scored, (slice(start, stop), column))
            _keep_features(features, {"truth": truth, **generated}, missing, subjects.extractor)
            if column == 0:
                here = _evenly(n, observed, start, stop)
                _keep_looks(measured.looks, truth, {role: generated[role] for role in subjects.models}, missing, here)
            if column == 0 and start < pictures:
                _keep_pictures(measured.pictures, {"what it sees": shown, **generated, "truth": truth}, pictures)
            log(Progress(f"evaluate {name}", column * n + stop, len(seeds) * n))
        _measure_sets(measured, features, subjects.metrics, n)
    return measured


@torch.inference_mode()
def _reconstruct(truth: Images, subjects: Subjects, draws: Draws) -> tuple[dict[str, Images], Missing, Images]:
    # The hole is drawn on the CPU, so that every machine measures the same pixels.
    corrupted = subjects.corruption(truth, draws.at("corruption"))
    here = Corrupted(corrupted.images.to(subjects.device), corrupted.missing.to(subjects.device))
    there = replace(draws.at("reconstruct"), device=subjects.device)
    generated = {}
    for role, model in subjects.models.items():
        seen = here
        if subjects.shown is not None:
            changed = subjects.shown(model, truth.to(subjects.device), here, there.at("shown"))
            seen = replace(here, images=changed)
        generated[role] = model.reconstruct(seen, there).float().cpu()
    mean = subjects.mean_picture.expand_as(truth)
    generated[MEAN_PICTURE] = torch.where(corrupted.missing, mean, truth)
    return generated, corrupted.missing, corrupted.images


def _keep_errors(
    kept: Mapping[str, np.ndarray], compared: Compared, metrics: Sequence[Metric], place: tuple[slice, int]
) -> None:
    for metric in metrics:
        kept[metric.kind][place] = metric(compared).numpy()


def _keep_features(
    features: dict[str, list[Tensor]], pictures: Mapping[str, Images], missing: Missing, extractor: Extractor | None
) -> None:
    if extractor is None:
        return
    for name, picture in pictures.items():
        features.setdefault(name, []).append(extractor(only_missing(picture, missing)))


def _keep_pictures(kept: dict[str, np.ndarray], shown: Mapping[str, Images], most: int) -> None:
    for name, images in shown.items():
        row = images.numpy()
        kept[name] = np.concatenate([kept[name], row])[:most] if name in kept else row[:most].copy()


def _evenly(n: int, most: int, start: int, stop: int) -> Tensor:
    """Of at most `most` rows evenly over `n`, those in start .. stop - 1, counted from `start`."""
    rows = torch.arange(min(most, n)) * n // max(min(most, n), 1)
    return rows[(rows >= start) & (rows < stop)] - start


def _keep_looks(
    kept: dict[str, np.ndarray], truth: Images, drawn: Mapping[str, Images], missing: Missing, here: Tensor
) -> None:
    for role, picture in drawn.items() if len(here) else ():
        seen = _observer.look(truth[here], picture[here], missing[here]).numpy()
        kept[role] = np.concatenate([kept[role], seen]) if role in kept else seen


def _measure_sets(
    measured: Measured, features: Mapping[str, list[Tensor]], metrics: Sequence[Metric], images: int
) -> None:
    """Metrics of whole sets, from features alone."""
    if not features:
        return
    truth = torch.cat(features["truth"])
    nothing = torch.empty(images, 0)
    for role in measured.per_set:
        generated = torch.cat(features[role])
        for metric in metrics:
            if not metric.per_image and bool(generated.isfinite().all()):
                value = float(metric(Compared(nothing, nothing, nothing, truth, generated)))
                if np.isfinite(value):
                    measured.per_set[role].setdefault(metric.kind, []).append(value)
