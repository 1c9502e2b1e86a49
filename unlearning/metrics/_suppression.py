"""FAST: a direction in feature space that tells images to forget from those that are kept, and a threshold on it.

    d = mean(z_pos) - mean(z_neg)        score(z) = <z, d> / |d|        withheld: score > threshold

z are an extractor's features, positives the images to forget, negatives the retain images (code of Subhodip123, MIT).
A filter hides what a model still knows: suppression, never deletion.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from scipy.optimize import brentq
from scipy.stats import norm
from torch import Tensor

from unlearning.errors import ManifestError
from unlearning.metrics._rate import rate
from unlearning.metrics._separation import auc
from unlearning.rules import Suppress


@dataclass(frozen=True, slots=True)
class Filter:
    """d / |d| [F] float64, and the score above which a picture is withheld."""

    direction: Tensor
    threshold: float

    def scores(self, features: Tensor) -> Tensor:
        """Of features [B, F]: [B] float64, in the features' own unit."""
        return features.double() @ self.direction

    def withholds(self, features: Tensor) -> Tensor:
        """Which of features [B, F]: [B] bool. A score that is no number is withheld: nobody knows what it is."""
        return ~(self.scores(features) <= self.threshold)


def fit(forget: Tensor, retain: Tensor, chosen: Suppress) -> Filter:
    """The filter of training features, [N, F] and [M, F]. Raises ManifestError where their means do not differ."""
    difference = forget.double().mean(0) - retain.double().mean(0)
    length = difference.norm()
    if not (torch.isfinite(length) and length > 0):
        raise ManifestError(
            "the mean features of images to forget and of retain images do not differ, or are no numbers, so no "
            "direction tells them apart; images of another look, or another extractor, are right"
        )
    filter_ = Filter(difference / length, 0.0)
    positive, negative = filter_.scores(forget), filter_.scores(retain)
    if chosen.threshold == "published":
        return Filter(filter_.direction, float(torch.cat([positive, negative]).mean()))
    return Filter(filter_.direction, quantile(negative, chosen.false_positives))


def quantile(negative: Tensor, false_positives: float) -> float:
    """The lowest score of `negative` [M] that at most that share of them, below 1, is above. Ties never help."""
    allowed = int(false_positives * len(negative) + 1e-9)  # 0.29 of 100 are 29
    return float(negative.sort().values[len(negative) - 1 - allowed])


def measured(filter_: Filter, forget: Tensor, retain: Tensor, confidence: float) -> dict[str, Any]:
    """Recall, false positive rate (Wilson) and AUC of features [N, F] and [M, F]; None of what has no image."""
    numbers = dict[str, Any]()
    for name, features in (("recall", forget), ("false_positive_rate", retain)):
        withheld = int(filter_.withholds(features).sum()) if len(features) else 0
        numbers[name] = asdict(rate(withheld, len(features), confidence)) if len(features) else None
    numbers["auc"] = None
    if len(forget) and len(retain):
        value = auc(filter_.scores(forget).numpy(), filter_.scores(retain).numpy())
        low, high = auc_interval(value, len(forget), len(retain), confidence)
        numbers["auc"] = {"value": value, "low": low, "high": high}
    return numbers


def auc_interval(value: float, positives: int, negatives: int, confidence: float) -> tuple[float, float]:
    """The interval of an AUC as Wilson's is of a rate: every A with |value - A| <= z sqrt(V(A)).

    V(A) = A (1 - A) (1 + n (1 - A) / (2 - A) + n A / (1 + A)) / (N M),  n = (N + M) / 2 - 1
    (Newcombe, Statistics in Medicine 2006, method 5). It has width where the AUC is 1, too.
    """
    z2 = float(norm.ppf((1 + confidence) / 2)) ** 2
    n = (positives + negatives) / 2 - 1

    def beyond(a: float) -> float:
        variance = a * (1 - a) * (1 + n * (1 - a) / (2 - a) + n * a / (1 + a)) / (positives * negatives)
        return float((value - a) ** 2 - z2 * variance)

    inside = 1e-12  # at 0 and at 1 the variance is 0, and the root is not the one that is sought
    low = 0.0 if value <= inside else float(brentq(beyond, 0.0, min(value, 1 - inside)))
    high = 1.0 if value >= 1 - inside else float(brentq(beyond, max(value, inside), 1.0))
    return low, high
