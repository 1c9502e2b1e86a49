"""The epsilon score against tables whose numbers are known by hand, and against what chance shows."""

from __future__ import annotations

import math

import numpy as np
import pytest

from unlearning.metrics import _epsilon

HIGH = [10.0, 11.0, 12.0, 13.0]


def of(unlearned: list[float], retrained: list[float]) -> float:
    """Epsilon of one image."""
    return float(_epsilon.epsilons(np.array(unlearned)[:, None], np.array(retrained)[:, None])[0])


def test_one_error_each_way_shows_the_limit() -> None:
    """1 2 3 | 11 on one side, 4 | 10 12 13 on the other: FPR = FNR = 1 / 4, log((3 / 4 - delta) / (1 / 4))."""
    found = of([1.0, 2.0, 3.0, 11.0], [4.0, 10.0, 12.0, 13.0])
    assert found == pytest.approx(math.log((0.75 - 1e-5) / 0.25))
    assert found == pytest.approx(_epsilon.limit(4), abs=1e-4)


def test_the_best_attack_counts_by_hand() -> None:
    """u r u u r r u r u r of five each: inside (u r u u), FPR = 1 / 5 and FNR = 2 / 5, so log((3 / 5) / (1 / 5)).

    Every interval with one retrained model has three unlearned at most, and every one with two has four at most:
    log((1 - 2 / 5) / (1 / 5)) is that again.
    """
    line = "uruurrurur"
    places = {who: [float(place) for place, one in enumerate(line) if one == who] for who in "ur"}
    assert of(places["u"], places["r"]) == pytest.approx(math.log((0.6 - 1e-5) / 0.2))


def test_groups_that_lie_apart_show_the_limit_and_no_more() -> None:
    for many in (3, 4, 16):
        phi = np.arange(many, dtype=np.float64)[:, None]
        for other in (phi + 100, phi - 100):
            assert _epsilon.epsilons(phi, other)[0] == _epsilon.limit(many) == math.log(many - 1)
    assert _epsilon.limit(2) == _epsilon.limit(1) == 0.0


def test_two_thresholds_find_a_group_inside_another() -> None:
    """No single threshold does: half of the retrained models lie on either side."""
    inside, around = [5.0, 5.1, 5.2, 5.3], [1.0, 2.0, 8.0, 9.0]
    assert of(inside, around) == of(around, inside) == _epsilon.limit(4)


def test_a_group_that_hardly_varies_is_told_apart_even_with_another_model_inside() -> None:
    """One retrained model in the midst leaves one rate at 0, which is discarded; the spread says it all the same."""
    narrow, wide = [1.0, 1.0001, 1.0003, 1.0004], [1.0002, 10.0, 20.0, 30.0]
    assert of(narrow, wide) == _epsilon.limit(4)
    wider = [0.9, 1.0, 1.2, 1.3]
    assert of(wider, [1.1, 1.31, 1.32, 1.33]) < _epsilon.limit(4)


def test_what_is_equal_to_the_bit_shows_nothing() -> None:
    """No threshold parts equal numbers, in whatever order they come."""
    assert of([3.0] * 4, [3.0] * 4) == 0.0
    assert of([1.0, 2.0, 3.0, 4.0], [4.0, 2.0, 3.0, 1.0]) < of([1.0, 2.0, 3.0, 4.0], HIGH)


def test_sides_orders_and_scales_change_nothing() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 6, 200))
    found = _epsilon.epsilons(one, other)
    assert np.array_equal(_epsilon.epsilons(other, one), found)
    assert np.array_equal(_epsilon.epsilons(one[::-1], other[[2, 0, 1, 5, 4, 3]]), found)
    assert np.array_equal(_epsilon.epsilons(8 * one + 1, 8 * other + 1), found)


def test_a_number_that_is_not_finite_is_said_of_its_image_alone() -> None:
    one, other = np.zeros((4, 2)), np.ones((4, 2))
    one[2, 1] = np.nan
    found = _epsilon.epsilons(one, other)
    assert found[0] == _epsilon.limit(4)
    assert np.isnan(found[1])
    assert np.isnan(_epsilon.points(found)[1])


def test_points_are_halved_every_half() -> None:
    found = _epsilon.points(np.array([0.0, 0.49, 0.5, 0.99, 1.0, 2.7]))
    assert found.tolist() == [1.0, 1.0, 0.5, 0.5, 0.25, 0.5**5]


def test_chance_is_what_equal_groups_show_and_few_models_see_no_further() -> None:
    """The best of so many attacks parts equal groups, too: five of each, and chance is at the limit."""
    one, other = np.random.default_rng(1).normal(size=(2, 16, 400))
    assert np.median(_epsilon.epsilons(one, other)) == pytest.approx(_epsilon.chance(16), abs=0.1)
    assert _epsilon.chance(5) == pytest.approx(_epsilon.limit(5), abs=1e-4)
    assert _epsilon.chance(16) < _epsilon.limit(16) - 0.5


def test_what_the_images_of_a_model_have_in_common_is_no_evidence() -> None:
    """A model that knows one image better knows all better: each image tells apart, and no more than one does."""
    rng = np.random.default_rng(0)
    whole = rng.normal(size=(16, 1)) + 0.01 * rng.normal(size=(16, 50))
    assert _epsilon.by_chance(whole[:8], whole[8:], 99) > 0.05
    assert _epsilon.by_chance(whole[:8], whole[8:] + 100, 99) == pytest.approx(1 / 100)
    whole[3, 3] = np.nan
    assert np.isnan(_epsilon.by_chance(whole[:8], whole[8:], 9))


def test_groups_of_different_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="as many models of both"):
        _epsilon.epsilons(np.zeros((3, 2)), np.zeros((4, 2)))
