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
from unlearning.metrics.extractors.extractor import Extractor
from unlearning.metrics.mse import Mse
from unlearning.randomness import Draws
from unlearning.types import Corrupted, Images, Missing
from unlearning.verbs._remembered import Memory
from unlearning.verbs._seen import Seeing

MEAN_PICTURE = "mean_picture"  # the model that knows nothing: the retain set's mean, pixel by pixel


@dataclass(frozen=True, slots=True)
class Subjects:
    """What is measured: the models by role, and the mean picture [1, C, H, W]."""

    models: Mapping[str, Generator]
    mean_picture: Images
    corruption: Corruption
    metrics: Sequence[Metric]
    extractors: Mapping[str, Extractor]  # by the names that metrics ask for; what is not here has no entry
    device: torch.device
    shown: Shown | None = None  # what models are shown in the stead of T(x): nothing else
    forget: Mapping[str, Tensor] = field(default_factory=dict)  # extractor -> [M, F], of whole images to forget


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
    memory: Memory | None = None,
) -> Measured:
    """Reconstruct every image of `images` under every seed by every model, and measure missing pixels.

    An observer looks at `observed` of the images at most, evenly over the set: one sorted by class is no bias.
    What `memory` holds is not measured again; what it does not hold yet is put there once the set is through.
    """
    roles = [*subjects.models, MEAN_PICTURE]
    measured = Measured(name, table, {role: {} for role in roles}, {role: {} for role in roles})
    fresh, show = list(subjects.metrics), True
    if memory is not None:
        fresh = [each for each in fresh if not memory.recall(each, _read_by(each, subjects), measured)]
        show = not memory.recall_shown(measured, pictures, observed)
    if fresh or show:
        plan = _Plan(seeds, batch_size, *((pictures, observed) if show else (0, 0)), log, memory)
        _measure_fresh(measured, images, replace(subjects, metrics=fresh), plan)
    if memory is not None:
        for each in fresh:
            memory.keep(each, _read_by(each, subjects), measured)
        if show:
            memory.keep_shown(measured, pictures, observed)
    _in_order(measured, subjects.metrics)
    return measured


def errors(
    name: str, images: ImageSource, rows: Sequence[int], subjects: Subjects, seeds: Sequence[int], batch_size: int
) -> dict[str, np.ndarray]:
    """Mean squared error of some rows of a set: model -> [K, S] float64, S = seeds.

    A row gets the hole and the noise that it has where the whole set `name` is measured: errors of other models that
    were measured there stand beside these row by row.
    """
    found = {role: np.full((len(rows), len(seeds)), np.nan) for role in (*subjects.models, MEAN_PICTURE)}
    metric = Mse()
    for column, seed in enumerate(seeds):
        whole = Draws(seed, len(images), where=("evaluate", name))
        for start in range(0, len(rows), batch_size):
            here = tuple(rows[start : start + batch_size])
            truth = images(torch.tensor(here))
            generated, missing, _ = _reconstruct(truth, subjects, whole.only(here))
            for role, picture in generated.items():
                found[role][start : start + len(here), column] = metric(Compared(truth, picture, missing)).numpy()
    return found


@dataclass(frozen=True, slots=True)
class _Plan:
    """How a set is gone through; no pictures and nothing observed where those are remembered."""

    seeds: Sequence[int]
    batch_size: int
    pictures: int
    observed: int
    log: Log
    memory: Memory | None


def _measure_fresh(measured: Measured, images: ImageSource, subjects: Subjects, plan: _Plan) -> None:
    """What is not remembered: the metrics of `subjects`, and what is shown."""
    empty = (len(images), len(plan.seeds))
    for values in measured.per_image.values():
        values |= {each.name: np.full(empty, np.nan) for each in subjects.metrics if each.per_image}
    for column in range(len(plan.seeds)):
        _draw(measured, images, subjects, plan, column)


def _draw(measured: Measured, images: ImageSource, subjects: Subjects, plan: _Plan, column: int) -> None:
    """One pass over the set, under one draw of the corruption."""
    n, seed, memory = len(images), plan.seeds[column], plan.memory
    seeing = Seeing(subjects.extractors, subjects.metrics, subjects.forget, _known(subjects, seed, memory))
    for start in range(0, n, plan.batch_size):
        stop = min(start + plan.batch_size, n)
        draws = Draws(seed, stop - start, first=start, total=n, where=("evaluate", measured.name))
        truth = images(torch.arange(start, stop))
        generated, missing, shown = _reconstruct(truth, subjects, draws)
        seen = seeing.batch(truth, generated, missing, start)
        for role, picture in generated.items():
            measured.finite &= bool(picture.isfinite().all())
            compared = Compared(truth, picture, missing, seen[role])
            for metric in subjects.metrics:
                if metric.per_image:
                    measured.per_image[role][metric.name][start:stop, column] = metric(compared).numpy()
        if column == 0:
            here = _evenly(n, plan.observed, start, stop)
            _keep_looks(measured.looks, truth, {role: generated[role] for role in subjects.models}, missing, here)
        if column == 0 and start < plan.pictures:
            _keep_pictures(measured.pictures, {"what it sees": shown, **generated, "truth": truth}, plan.pictures)
        plan.log(Progress(f"evaluate {measured.name}", column * n + stop, len(plan.seeds) * n))
    _measure_sets(measured, seeing, subjects.metrics, n)
    if memory is not None:
        for name, features in seeing.made().items():
            memory.keep_truth(subjects.extractors[name], name, seed, features.numpy())


def _known(subjects: Subjects, seed: int, memory: Memory | None) -> dict[str, Tensor]:
    """The truth's features under one draw, by extractor, where they were made before."""
    if memory is None:
        return {}
    asked = {name for metric in subjects.metrics if (name := metric.through()) in subjects.extractors}
    found = {name: memory.truth(subjects.extractors[name], name, seed) for name in asked if name is not None}
    return {name: torch.from_numpy(features) for name, features in found.items() if features is not None}


def _read_by(metric: Metric, subjects: Subjects) -> Extractor | None:
    name = metric.through()
    return None if name is None else subjects.extractors.get(name)


def _in_order(measured: Measured, metrics: Sequence[Metric]) -> None:
    """As they were asked for, whichever of them was remembered: the files of a report have one order."""
    for role, values in measured.per_image.items():
        measured.per_image[role] = {each.name: values[each.name] for each in metrics if each.per_image}


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


def _measure_sets(measured: Measured, seeing: Seeing, metrics: Sequence[Metric], images: int) -> None:
    """Metrics of whole sets, from features alone. What is not finite is left out, and so is what comes of it."""
    nothing = torch.empty(images, 0)
    for role, values in measured.per_set.items():
        features = seeing.whole_set(role)
        for metric in metrics:
            seen = features.get(metric.through() or "")
            if not metric.per_image and seen is not None and bool(seen.generated.isfinite().all()):
                value = float(metric(Compared(nothing, nothing, nothing, features)))
                if np.isfinite(value):
                    values.setdefault(metric.name, []).append(value)
