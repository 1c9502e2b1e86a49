"""Linear CKA: Kornblith et al., "Similarity of Neural Network Representations Revisited", ICML 2019.

    CKA(X, Y) = HSIC(K, L) / (HSIC(K, K) HSIC(L, L))^1/2,   K = X X',  L = Y Y'

with the unbiased HSIC of Song et al., JMLR 2012, equation 5, as Nguyen et al., ICLR 2021, use it: the biased one is
near 1 for any two representations wider than there are images. K0 is K with a diagonal of 0, 1 a vector of ones:

    HSIC(K, L) = [ tr(K0 L0) + (1' K0 1) (1' L0 1) / ((N - 1) (N - 2)) - 2 (1' K0 L0 1) / (N - 2) ] / (N (N - 3))

1 for what differs by a rotation, a shift and one scale, about 0 for what has nothing in common; it may come out below.
"""

from __future__ import annotations

import numpy as np

from unlearning.attacks._known_by import Features

FEWEST = 4  # images


def cka(one: Features, other: Features) -> float:
    """Of [N, F] and [N, G], row by row the same image; NaN where one of them does not vary, or of fewer than 4."""
    if len(one) < FEWEST or not (np.isfinite(one).all() and np.isfinite(other).all()):
        return float("nan")
    first, second = (_without_diagonal(part) for part in (one, other))
    scale = _hsic(first, first) * _hsic(second, second)
    return _hsic(first, second) / float(np.sqrt(scale)) if scale > 0 else float("nan")


def _without_diagonal(features: Features) -> Features:
    """K0 [N, N], of features without their mean: the same value, and less is lost to rounding."""
    centred = features - features.mean(axis=0)
    kernel: Features = centred @ centred.T
    np.fill_diagonal(kernel, 0.0)
    return kernel


def _hsic(first: Features, second: Features) -> float:
    """Times N (N - 3), which cancels."""
    n = len(first)
    sums = first.sum() * second.sum() / ((n - 1) * (n - 2))
    return float((first * second).sum() + sums - 2 * (first.sum(0) @ second.sum(0)) / (n - 2))
