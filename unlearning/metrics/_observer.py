"""Can an observer tell the unlearned model's pictures from those of a model that never saw the images?

The two-sample test by a classifier of Lopez-Paz and Oquab, "Revisiting Classifier Two-Sample Tests", ICLR 2017, here
with the area under its ROC curve. Two models draw the same images under the same holes; a logistic regression is told
which picture is whose for four fifths of the images and guesses for the rest, so that both pictures of an image are
always either known or guessed:

    AUC = P(score of the one model's picture > score of the other's),   0.5 = cannot tell, 1 = always tells

Below 0.5 is chance, as above. The observer has the images themselves, as an auditor has: it sees what was invented less
the truth (the first principal components over the hole) and a few numbers about each picture. It is linear and small,
so it is an estimate from below: another observer may see more. What prepares its view (components, standardising) never
sees whose picture is whose, so it takes nothing from the answer.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.utils.extmath import randomized_svd
from torch import Tensor

from unlearning.metrics._missing import mean_over_missing, only_missing
from unlearning.metrics._scores import Score
from unlearning.metrics._separation import auc
from unlearning.types import Images, Missing

FEWEST, MOST = 40, 500  # images: below, a guess is worth nothing; above, it costs more and says no more
_FOLDS = 5
_COMPONENTS = 16  # of the residuals: more than a fold of the fewest images can weigh would be noise
_SIDE = 32  # pixels: residuals of larger pictures are averaged down to this
_SUMMARIES = 8
_VISIBLE = 1e-6  # in the [-1, 1] range: what varies less is rounding, and would be blown up by standardising
# Where nothing can be told, a guess is a sum over pairs of images, one told of and one guessed, and each pair comes up
# twice, once either way round: twice the variance that images resampled under observers held fixed would show.
_TWICE = float(np.sqrt(2))
_PENALTY = 10.0  # of the squared weights: a fold of the fewest images has 64 pictures for 24 weights

Looks = npt.NDArray[np.float64]  # [N, F]: what the observer sees of N pictures


def look(truth: Images, picture: Images, missing: Missing) -> Tensor:
    """What the observer sees of each picture: [B, 8 + C * side * side] float64, side at most 32 pixels.

    The numbers: how far it is off in the mean, and altogether; how much it varies inside the hole, how rough it is
    there, and how large the step at the hole's edge is, each as it is and less the truth's own.
    """
    residual = picture.double() - truth.double()
    off = mean_over_missing(residual, missing)
    wrong = mean_over_missing(residual.square(), missing).sqrt()
    drawn, real = _texture(picture.double(), missing), _texture(truth.double(), missing)
    summaries = torch.cat([off[:, None], wrong[:, None], drawn, drawn - real], dim=1)  # [B, 8]
    height, width = (min(side, _SIDE) for side in residual.shape[2:])
    small = F.adaptive_avg_pool2d(only_missing(residual, missing), (height, width))
    return torch.cat([summaries, small.flatten(1)], dim=1)


def told_apart(one: Looks, other: Looks, resamples: int, confidence: float, measured_on: str) -> Score | None:
    """The AUC of telling pictures of model `one` from those of `other`: row i of both is the same image and hole.

    None where nothing can be said: fewer than 40 images, or a picture that is not finite. The interval: percentile
    bootstrap over images, both pictures of an image together, widened by `_TWICE` and kept within 0 .. 1.
    """
    if len(one) < FEWEST or not (np.isfinite(one).all() and np.isfinite(other).all()):
        return None
    scores = _guessed(_prepared(np.concatenate([one, other]))).reshape(2, len(one))
    rng = np.random.default_rng(0)
    picks = rng.integers(len(one), size=(resamples, len(one)))
    again = [auc(scores[0, rows], scores[1, rows]) for rows in picks]
    tail = (1 - confidence) / 2
    value = auc(scores[0], scores[1])
    low, high = np.clip(value + _TWICE * (np.quantile(again, [tail, 1 - tail]) - value), 0.0, 1.0)
    return Score(value, float(low), float(high), len(one), measured_on)


def _prepared(looks: Looks) -> Looks:
    """[2 N, F] -> [2 N, <= 24]: the summaries and the first components, standardised; without what does not vary."""
    summaries, residuals = looks[:, :_SUMMARIES], looks[:, _SUMMARIES:]
    centred = residuals - residuals.mean(axis=0)
    left, sizes, _ = randomized_svd(centred, min(_COMPONENTS, centred.shape[1]), random_state=0)
    columns = np.concatenate([summaries, left * sizes], axis=1)
    deviations = columns.std(axis=0)
    seen = deviations > _VISIBLE
    standard: Looks = (columns[:, seen] - columns[:, seen].mean(axis=0)) / deviations[seen]
    return standard


def _guessed(features: Looks) -> npt.NDArray[np.float64]:
    """[2 N, F] -> [2 N]: the score of each picture by an observer that was told of neither picture of its image."""
    images = len(features) // 2
    scores, truth = np.zeros(2 * images), np.repeat([1, 0], images)
    if not features.shape[1]:  # every picture looks the same
        return scores
    fold = np.tile(np.random.default_rng(0).permutation(images) % _FOLDS, 2)
    for held_out in range(_FOLDS):
        told = fold != held_out
        observer = LogisticRegression(C=1 / _PENALTY, max_iter=1_000).fit(features[told], truth[told])
        scores[~told] = observer.decision_function(features[~told])
    return scores


def _texture(images: Tensor, missing: Missing) -> Tensor:
    """[B, 3]: deviation of the missing pixels, their mean step to a missing neighbour, and to a visible one."""
    mean = mean_over_missing(images, missing)[:, None, None, None]
    deviation = mean_over_missing((images - mean).square(), missing).sqrt()
    inside, edge = [torch.zeros(len(images), 2, dtype=torch.float64) for _ in range(2)]  # sum and count
    for axis in (2, 3):
        step = images.diff(dim=axis).abs().mean(1, keepdim=True)  # [B, 1, H - 1, W] or [B, 1, H, W - 1]
        size = missing.shape[axis] - 1
        before, after = missing.narrow(axis, 0, size), missing.narrow(axis, 1, size)
        inside += _sum_and_count(step, before & after)
        edge += _sum_and_count(step, before ^ after)
    return torch.stack([deviation, *(sums[:, 0] / sums[:, 1].clamp(min=1) for sums in (inside, edge))], dim=1)


def _sum_and_count(values: Tensor, where: Tensor) -> Tensor:
    """[B, 2]."""
    return torch.stack([(values * where).flatten(1).sum(1), where.flatten(1).sum(1).double()], dim=1)
