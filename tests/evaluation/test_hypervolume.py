"""The dominated area, against areas one can draw."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from unlearning.metrics._hypervolume import front, hypervolume

WORST, BEST = (0.0, 0.8), (1.0, 1.0)


@pytest.mark.parametrize(
    ("points", "area"),
    [
        ([], 0.0),
        ([(1.0, 1.0)], 1.0),
        ([(0.5, 0.9)], 0.25),
        ([(0.5, 0.9), (1.0, 0.85)], 0.25 + 0.125),  # a step of two: 1 x 1/4, and 1/2 x 1/4 above it
        ([(0.5, 0.9), (0.4, 0.85)], 0.25),  # the second adds nothing
        ([(1.7, 1.3)], 1.0),  # beyond the best counts as the best
        ([(0.9, 0.79), (-0.2, 0.99)], 0.0),  # neither beats the worst
    ],
)
def test_closed_forms(points: list[tuple[float, float]], area: float) -> None:
    for order in permutations(points):
        assert hypervolume(order, WORST, BEST) == pytest.approx(area)


def test_it_is_the_share_of_random_points_that_are_dominated() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform((0, 0.8), (1, 1), (12, 2))
    where = rng.uniform((0, 0.8), (1, 1), (200_000, 2))
    hit = (where[:, None] <= points[None]).all(-1).any(-1).mean()
    assert hypervolume([tuple(p) for p in points.tolist()], WORST, BEST) == pytest.approx(hit, abs=4e-3)


def test_the_front_holds_what_no_other_dominates() -> None:
    assert front([(0.1, 0.9), (0.5, 0.8), (0.4, 0.7), (0.5, 0.8)]) == [(0.5, 0.8), (0.1, 0.9)]
