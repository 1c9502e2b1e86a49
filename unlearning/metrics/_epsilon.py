"""The epsilon score: how surely N unlearned models can be told from N retrained ones by what they make of one image.

Triantafillou et al., "Are we making progress in unlearning? Findings from the first NeurIPS unlearning competition",
2024. Of image s every model gives one number phi. An attack calls a model unlearned whose phi lies inside an interval,
or outside it; with one open end that is a single threshold, with none a double one, which also finds a narrow group
inside a wide one. FPR is the share of retrained models that are called unlearned, FNR that of unlearned ones that are
not.

    eps_s = max over attacks of max(log((1 - delta - FPR) / FNR), log((1 - delta - FNR) / FPR)),    delta = 1e-5
    H(eps) = 1 in [0, 0.5), 1/2 in [0.5, 1), and so on, halved every 0.5;      F = mean over images of H

Corners, as in the published code but for its cap of 50: an attack without any error is worth the limit; one with
exactly one rate at 0 is discarded, for N models do not say how small that rate is; a logarithm whose numerator is not
positive is not taken; where one group's standard deviation is below 1 % of the other's the limit stands. No attack that
errs shows more than log(N - 1), one error each way, so that is the limit, and no epsilon is reported above it.

What it cannot see: anything above that limit; what a model keeps of an image beside its phi; and of few models it says
little, for the best of so many attacks tells equal groups apart as well, as far as `chance`: 1.6 of 1.9 for N = 8, 1.8
of 2.7 for N = 16, 2.2 of 4.1 for N = 64, and all there is to see for N below 6.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Phi = npt.NDArray[np.float64]  # [N, n]: N models, n images
Numbers = npt.NDArray[np.float64]  # [n]

DELTA = 1e-5
_STEP = 0.5  # of epsilon, after which the points are halved
_NARROW = 0.01  # of the other group's spread
_BLOCK = 128  # images at once: N = 64 makes 8,256 attacks on each


def limit(models: int) -> float:
    """log(N - 1), the largest epsilon that N models a group can show; 0 of two or fewer, who show nothing."""
    return float(np.log(max(models - 1, 1)))


def epsilons(unlearned: Phi, retrained: Phi) -> Numbers:
    """eps_s of every image, [n], between 0 and the limit; NaN where a phi is not finite. N is the same of both."""
    models = len(unlearned)
    if retrained.shape != unlearned.shape:
        raise ValueError(f"phi of {unlearned.shape} and {retrained.shape}: as many models of both, same images")
    worth = _worth(models)
    parts = [
        _best(unlearned[:, start : start + _BLOCK], retrained[:, start : start + _BLOCK], worth)
        for start in range(0, unlearned.shape[1], _BLOCK)
    ]
    found = np.concatenate([np.empty(0), *parts])
    spreads = np.stack([unlearned.std(axis=0), retrained.std(axis=0)])
    found[spreads.min(axis=0) < _NARROW * spreads.max(axis=0)] = np.inf
    finite = np.isfinite(unlearned).all(axis=0) & np.isfinite(retrained).all(axis=0)
    return np.where(finite, np.minimum(found, limit(models)), np.nan)


def points(epsilon: Numbers) -> Numbers:
    """H of every image, [n]: 1 = cannot be told from a retrained model."""
    found: Numbers = 0.5 ** np.floor(epsilon / _STEP)
    return found


def chance(models: int) -> float:
    """The median of eps where N and N models differ in nothing: of 2,000 orders of them, every order as likely.

    Numbers enter an epsilon by their order alone, so this is a number of N, whatever the models.
    """
    one, other = np.random.default_rng(0).random((2, models, 2_000))
    return float(np.median(epsilons(one, other)))


def by_chance(unlearned: Phi, retrained: Phi, deals: int) -> float:
    """How often both groups, mixed and dealt anew, have a median of eps over images at least as large: a p-value.

    A model is dealt with all its images, so that what its images have in common is no evidence. With D deals it is
    1 / (D + 1) at least (Phipson and Smyth, 2010). NaN where a phi is not finite.
    """
    found, together = float(np.median(epsilons(unlearned, retrained))), np.concatenate([unlearned, retrained])
    if not np.isfinite(found):
        return float("nan")
    rng, many = np.random.default_rng(0), len(unlearned)
    dealt = (together[rng.permutation(len(together))] for _ in range(deals))
    as_large = sum(bool(np.median(epsilons(each[:many], each[many:])) >= found) for each in dealt)
    return (1 + as_large) / (1 + deals)


def _worth(models: int) -> npt.NDArray[np.float64]:
    """[N + 1, N + 1]: epsilon of an attack that misses so many unlearned models and accuses so many retrained ones.

    Or of its opposite, which calls unlearned what this one does not.
    """
    rates = np.arange(models + 1) / models
    fnr, fpr = rates[:, None], rates[None, :]
    with np.errstate(divide="ignore", invalid="ignore"):
        one = np.where(1 - DELTA - fpr > 0, np.log((1 - DELTA - fpr) / fnr), 0.0)
        other = np.where(1 - DELTA - fnr > 0, np.log((1 - DELTA - fnr) / fpr), 0.0)
    worth = np.maximum(np.maximum(one, other), 0.0)
    worth[0, :] = worth[:, 0] = 0.0
    worth[0, 0] = np.inf
    return np.maximum(worth, worth[::-1, ::-1])


def _best(unlearned: Phi, retrained: Phi, worth: npt.NDArray[np.float64]) -> Numbers:
    """The best of all attacks on every image: an interval ends where two neighbours' phi differ, or nowhere."""
    models, pooled = len(unlearned), np.concatenate([unlearned, retrained])  # [2 N, n]
    order = np.argsort(pooled, axis=0, kind="stable")
    ordered = np.take_along_axis(pooled, order, axis=0)
    none = np.zeros((1, pooled.shape[1]), dtype=np.int64)
    ours = np.concatenate([none, np.cumsum(order < models, axis=0)])  # [2 N + 1, n] unlearned ones below an end
    theirs = np.concatenate([none, np.cumsum(order >= models, axis=0)])
    ends = np.ones(ours.shape, dtype=np.bool_)
    ends[1:-1] = ordered[1:] > ordered[:-1]
    first, last = np.triu_indices(len(ours), 1)
    missed, accused = models - (ours[last] - ours[first]), theirs[last] - theirs[first]  # [attacks, n]
    found: Numbers = np.where(ends[first] & ends[last], worth[missed, accused], 0.0).max(axis=0)
    return found
