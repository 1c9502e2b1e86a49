"""How far two groups lie apart, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from unlearning.metrics import _separation

PLACES = (np.arange(10_000) + 0.5) / 10_000
NORMAL = stats.norm.ppf(PLACES)


@pytest.mark.parametrize("distance", [-1.0, 0.0, 0.7, 2.5])
def test_two_normals_have_the_curve_of_the_textbook(distance: float) -> None:
    """Scores N(d, 1) against N(0, 1): AUC = Phi(d / sqrt 2), TPR at FPR a = Phi(d + Phi^-1(a))."""
    found = _separation.apart(NORMAL + distance, NORMAL, 20, 0.95)
    assert found is not None
    assert found.auc == pytest.approx(stats.norm.cdf(distance / np.sqrt(2)), abs=1e-4)
    for rate, share in zip(_separation.RATES, found.true_positives, strict=True):
        assert share == pytest.approx(stats.norm.cdf(distance + stats.norm.ppf(rate)), rel=0.05, abs=1e-4)
    assert (found.ones, found.others) == (10_000, 10_000)


def test_the_interval_of_one_sample_holds_the_truth_about_as_often_as_it_says() -> None:
    rng, truth = np.random.default_rng(1), stats.norm.cdf(0.5 / np.sqrt(2))
    held = 0
    for _ in range(60):
        found = _separation.apart(rng.normal(0.5, size=40), rng.normal(size=60), 100, 0.9)
        assert found is not None
        assert found.low <= found.auc <= found.high
        held += found.low <= truth <= found.high
    assert 46 <= held <= 60  # 54 of 60 in the mean; 46 or fewer happen once in two hundred times


def test_the_same_scores_and_constants_tell_nothing() -> None:
    for one, other in ((NORMAL[:50], NORMAL[:50]), (np.ones(5), np.ones(7))):
        assert _separation.auc(one, other) == 0.5
    constant = _separation.apart(np.ones(5), np.ones(7), 50, 0.95)
    assert constant is not None
    assert (constant.low, constant.auc, constant.high) == (0.5, 0.5, 0.5)


def test_ties_count_half_in_the_area_and_not_at_all_in_the_rate() -> None:
    one, other = np.array([1.0, 2.0]), np.array([1.0, 0.0])
    assert _separation.auc(one, other) == pytest.approx(3.5 / 4)
    same = np.full(100, 0.5)
    assert _separation.true_positives(same, same, 0.03) == 0


def test_a_rate_that_so_few_images_cannot_show_is_not_given() -> None:
    one = np.linspace(0, 1, 10)
    assert _separation.true_positives(one, np.linspace(0, 1, 99), 0.01) is None
    assert _separation.true_positives(one, np.linspace(0, 1, 100), 0.01) is not None
    found = _separation.apart(one, np.linspace(0, 1, 500), 20, 0.95)
    assert found is not None
    assert found.true_positives[0] is not None
    assert found.true_positives[1] is None


def test_the_rate_of_false_positives_is_kept() -> None:
    other = np.arange(1_000) / 1_000
    one = np.array([0.5, 0.9885, 0.9995])
    assert _separation.true_positives(one, other, 0.01) == pytest.approx(1 / 3)  # above 0.989, as ten of 1,000 are
    assert _separation.true_positives(one, other, 1.0) == 1


def test_nothing_is_said_of_an_empty_group_or_of_what_is_not_finite() -> None:
    for one, other in ((np.array([]), NORMAL[:3]), (NORMAL[:3], np.array([])), (np.array([np.nan]), NORMAL[:3])):
        assert _separation.apart(one, other, 20, 0.95) is None
        assert _separation.further((one, other), (NORMAL[:3], NORMAL[:3]), False, 20, 0.95) is None


def test_further_is_a_difference_of_areas_of_the_same_images() -> None:
    """Two models that say nearly the same of every image differ by little, and that for sure: the noise is shared."""
    rng = np.random.default_rng(2)
    one, other = rng.normal(0.5, size=80), rng.normal(size=80)
    found = _separation.further((one + 0.1, other), (one, other), False, 200, 0.95)
    assert found is not None
    value, low, high = found
    assert value == pytest.approx(_separation.auc(one + 0.1, other) - _separation.auc(one, other))
    assert 0 < low <= value <= high
    alone = _separation.apart(one, other, 200, 0.95)
    assert alone is not None
    assert high - low < (alone.high - alone.low) / 4
    assert _separation.further((one, other), (one, other), False, 50, 0.95) == (0, 0, 0)


def test_further_either_way_round_is_a_difference_of_distances_from_a_half() -> None:
    one, other = NORMAL[::100] - 1, NORMAL[::100]
    area = _separation.auc(one, other)
    assert area < 0.3
    both = _separation.further((one, other), (other, other), True, 50, 0.95)
    plain = _separation.further((one, other), (other, other), False, 50, 0.95)
    assert both is not None
    assert plain is not None
    assert both[0] == pytest.approx(0.5 - area)
    assert plain[0] == pytest.approx(area - 0.5)


def test_models_that_were_asked_about_other_images_are_not_compared() -> None:
    assert _separation.further((NORMAL[:5], NORMAL[:5]), (NORMAL[:4], NORMAL[:5]), False, 50, 0.95) is None
