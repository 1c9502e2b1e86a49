"""How well a score tells two groups of images apart: area under the curve, few false alarms, and what that rests on.

    AUC = P(score of one of the first group > score of one of the other) + P(equal) / 2,   0.5 = not at all

and the true positives at 1 % and 0.1 % false positives (Carlini et al., "Membership Inference Attacks From First
Principles", IEEE S&P 2022): an attack that is right about a few images is one, though its AUC be 0.5. With M images of
the other group no rate below 1 / M can be seen, and then none is given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

Numbers = npt.NDArray[np.float64]

RATES = (0.01, 0.001)


@dataclass(frozen=True, slots=True)
class Apart:
    """An AUC with its interval, and the true positives at `RATES`; None = not with so few of the other group."""

    auc: float
    low: float
    high: float
    true_positives: tuple[float | None, float | None]
    ones: int
    others: int


def auc(one: Numbers, other: Numbers) -> float:
    """P(one > other) + P(equal) / 2 of scores [N] and [M], by ranks (Mann-Whitney U over N M)."""
    ranks = rankdata(np.concatenate([one, other]))[: len(one)]
    return float((ranks.mean() - (len(one) + 1) / 2) / len(other))


def apart(one: Numbers, other: Numbers, resamples: int, confidence: float) -> Apart | None:
    """How far [N] and [M] lie apart; None without an image of both, or with a score that is not finite.

    Interval: percentile bootstrap over the images of both groups.
    """
    if not (len(one) and len(other) and np.isfinite(one).all() and np.isfinite(other).all()):
        return None
    again = _again(one, other, resamples, auc)
    tail = (1 - confidence) / 2
    low, high = np.quantile(again, [tail, 1 - tail])
    rates = tuple(true_positives(one, other, rate) for rate in RATES)
    return Apart(auc(one, other), float(low), float(high), (rates[0], rates[1]), len(one), len(other))


def true_positives(one: Numbers, other: Numbers, rate: float) -> float | None:
    """`true_positive_rate`; None where M < 1 / rate."""
    return None if rate * len(other) + 1e-9 < 1 else true_positive_rate(one, other, rate)


def true_positive_rate(positive: Numbers, negative: Numbers, false_positive_rate: float) -> float:
    """The largest share of `positive` above a threshold that at most that share of `negative` is above.

    The threshold stands at a negative's own score and only what is above it counts, so that ties never help.
    """
    allowed = int(np.floor(false_positive_rate * len(negative) + 1e-9))
    if allowed >= len(negative):
        return 1.0
    threshold = np.sort(negative)[len(negative) - 1 - allowed]
    return float((positive > threshold).mean())


def further(
    pair: tuple[Numbers, Numbers],
    beside: tuple[Numbers, Numbers],
    two_sided: bool,
    resamples: int,
    confidence: float,
) -> tuple[float, float, float] | None:
    """How much further `pair` (one, other) lies apart than `beside` does, of the same images: value, low, high.

    The difference of both AUCs; if `two_sided`, of their distances from 0.5. Bootstrap over images, the same ones of
    both. None where either cannot be told, or they are not of the same images.
    """
    finite = all(len(part) and np.isfinite(part).all() for part in (*pair, *beside))
    if not finite or [len(part) for part in pair] != [len(part) for part in beside]:
        return None

    def distance(scores: tuple[Numbers, Numbers]) -> float:
        area = auc(*scores)
        return abs(area - 0.5) if two_sided else area

    rng = np.random.default_rng(0)
    found = []
    for _ in range(resamples):
        rows = tuple(rng.integers(len(part), size=len(part)) for part in pair)
        here, there = (tuple(part[row] for part, row in zip(each, rows, strict=True)) for each in (pair, beside))
        found.append(distance((here[0], here[1])) - distance((there[0], there[1])))
    tail = (1 - confidence) / 2
    low, high = np.quantile(found, [tail, 1 - tail])
    return distance(pair) - distance(beside), float(low), float(high)


def _again(one: Numbers, other: Numbers, resamples: int, statistic: Callable[[Numbers, Numbers], float]) -> Numbers:
    rng = np.random.default_rng(0)
    picks = (
        (rng.integers(len(one), size=len(one)), rng.integers(len(other), size=len(other))) for _ in range(resamples)
    )
    return np.array([statistic(one[first], other[second]) for first, second in picks])
