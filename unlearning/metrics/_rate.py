"""How often something came up, and the Wilson interval (JASA 1927), which holds where nothing was found, too."""

from __future__ import annotations

from dataclasses import dataclass

from scipy.stats import binomtest


@dataclass(frozen=True, slots=True)
class Rate:
    """How often something came up, of how many, and the Wilson interval."""

    count: int
    of: int
    rate: float
    low: float
    high: float


def rate(count: int, of: int, confidence: float) -> Rate:
    """`count` of `of`, which is at least 1, with its Wilson interval."""
    interval = binomtest(count, of).proportion_ci(confidence, method="wilson")
    return Rate(count, of, count / of, float(interval.low), float(interval.high))
