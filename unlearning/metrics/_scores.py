"""Normalised scores: how far a set's reconstructions moved from the original's toward knowing nothing.

    moved(model) = (MSE_model - MSE_original) / (MSE_mean_picture - MSE_original)

over missing pixels, as a ratio of means over images and seeds. 0 = as good as the original, 1 = as wrong as filling the
hole with the mean picture of the retain set. Forgetting is `moved` on images to forget; retention is 1 - `moved` on
images to keep. Intervals: percentile bootstrap over images (an image's seeds stay together).

A ratio of means can be bought: a few pictures that are hugely wrong make up for others that did not move at all. So
there is a bounded form, of an image's error under each draw i,

    bounded(model) = sum_i (min(MSE_model,i, c_i) - MSE_original,i) / sum_i (c_i - MSE_original,i),
    c_i = max(MSE_original,i, MSE_mean_picture,i)

What is worse than knowing nothing counts as that, so it is 1 at most, and 1 only if every picture is as wrong as that.
The ceiling c_i is in both places: with the mean picture's own error below, an image of which the original knows less
than nothing would lower the scale and lift the ratio over 1. A model that never saw the images draws some well and some
badly, so its own bounded score may lie well below 1, and is what to read this one beside.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Errors = np.ndarray  # [N, S] float64: missing-pixel MSE of N images under S draws of the corruption


@dataclass(frozen=True, slots=True)
class Score:
    """A value and its confidence interval; `images` says how many it rests on."""

    value: float
    low: float
    high: float
    images: int
    measured_on: str  # the set


def moved(
    model: Errors, original: Errors, mean_picture: Errors, resamples: int, confidence: float, measured_on: str
) -> Score | None:
    """How far `model` moved; None when nothing can be said.

    Nothing can be said without images, with a number that is not finite, or when the original does no better than the
    mean picture: then there is no scale.
    """
    table = np.stack([errors.mean(axis=1) for errors in (model, original, mean_picture)], axis=1)  # [N, 3]
    if len(table) == 0 or not np.isfinite(table).all() or not _has_scale(table.mean(axis=0)):
        return None
    rng = np.random.default_rng(0)
    picks = rng.integers(len(table), size=(resamples, len(table)))
    means = table[picks].mean(axis=1)  # [resamples, 3]
    ratios = _ratio(means[_has_scale(means)])
    tail = (1 - confidence) / 2
    low, high = np.quantile(ratios, [tail, 1 - tail]) if len(ratios) else (np.nan, np.nan)
    return Score(float(_ratio(table.mean(axis=0))), float(low), float(high), len(table), measured_on)


def moved_bounded(
    model: Errors, original: Errors, mean_picture: Errors, resamples: int, confidence: float, measured_on: str
) -> Score | None:
    """How far `model` moved, where no image counts for more than all that the original knew of it: at most 1.

    None when `moved` is: where the mean over images has no scale, the sum over the few that have one is none either.
    """
    if moved(model, original, mean_picture, 1, confidence, measured_on) is None:
        return None
    ceiling = np.maximum(original, mean_picture)
    return moved(np.minimum(model, ceiling), original, ceiling, resamples, confidence, measured_on)


def kept(score: Score | None) -> Score | None:
    """Retention from movement: 1 - moved."""
    return (
        None
        if score is None
        else Score(1 - score.value, 1 - score.high, 1 - score.low, score.images, score.measured_on)
    )


def _ratio(means: np.ndarray) -> np.ndarray:
    model, original, mean_picture = np.moveaxis(means, -1, 0)
    ratio: np.ndarray = (model - original) / (mean_picture - original)
    return ratio


def _has_scale(means: np.ndarray) -> np.ndarray:
    _, original, mean_picture = np.moveaxis(means, -1, 0)
    scale: np.ndarray = mean_picture > original
    return scale
