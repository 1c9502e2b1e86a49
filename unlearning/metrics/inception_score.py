"""Inception score (Salimans et al., NeurIPS 2016) of what fills the holes: metrics/_inception_score.py.

It is the published score only where the classifier is Inception and sees whole pictures; here it sees missing pixels
alone, so rows of one table may be compared and nothing else.
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, tensor

from unlearning.contracts import Compared
from unlearning.metrics._inception_score import SPLITS, inception_score
from unlearning.metrics._through import Through, unknown


class InceptionScore(Through, kind="inception_score"):
    """From 1, all pictures of one mixture of classes, to K, each surely of one of K classes, all as often."""

    per_image = False
    higher_is_closer = True
    reads = "classes"

    splits: int = Field(SPLITS, ge=1, le=100, description="parts whose scores are averaged; 10 as published")

    def __call__(self, compared: Compared) -> Tensor:
        """[] float64; NaN where there are fewer images than splits, or the extractor has no classes."""
        seen = self.seen(compared)
        if seen is None or seen.classes is None:
            return unknown()
        return tensor(inception_score(seen.classes, self.splits)[0]).double()
