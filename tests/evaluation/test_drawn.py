"""What is said of drawn pictures: copies, Wilson's interval, Inception score, precision and recall."""

from __future__ import annotations

import math

import pytest
import torch

from unlearning.metrics import _copies, _rate
from unlearning.metrics._inception_score import inception_score
from unlearning.metrics._neighbourhoods import coverage
from unlearning.randomness import generator


def test_the_published_distance_is_the_same_number_at_every_size() -> None:
    """L2 = 10 between 28 x 28 pixels in [0, 1]; our pixels lie in [-1, 1]."""
    forget = torch.zeros(1, 1, 28, 28)
    drawn = torch.full((1, 1, 28, 28), 2 * 10 / 28)
    assert torch.linalg.vector_norm(drawn / 2).item() == pytest.approx(10)
    assert _copies.nearest(drawn, forget).item() == pytest.approx(10 / 28)
    large = [one.repeat(1, 3, 2, 2) for one in (drawn, forget)]
    assert _copies.nearest(*large).item() == pytest.approx(10 / 28)


def test_the_nearest_of_many_counts_and_black_is_one_away_from_white() -> None:
    forget = torch.stack([torch.full((1, 4, 4), value) for value in (-1.0, 0.5)])
    drawn = torch.stack([torch.full((1, 4, 4), value) for value in (1.0, 0.4, -1.0)])
    torch.testing.assert_close(_copies.nearest(drawn, forget).float(), torch.tensor([0.25, 0.05, 0.0]))
    assert _copies.nearest(drawn[:1], forget[:1]).item() == pytest.approx(1)
    assert _copies.nearest(drawn, forget[:0]).tolist() == [math.inf] * 3


@pytest.mark.parametrize(
    ("count", "of", "low", "high"), [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611)]
)
def test_wilsons_interval_is_that_of_newcombes_table(count: int, of: int, low: float, high: float) -> None:
    """Newcombe, Statistics in Medicine 17, 1998, table I, method 3."""
    found = _rate.rate(count, of, 0.95)
    assert (found.count, found.of, found.rate) == (count, of, count / of)
    assert found.low == pytest.approx(low, abs=6e-5)
    assert found.high == pytest.approx(high, abs=6e-5)


def test_similarity_is_the_largest_cosine_whatever_the_length() -> None:
    forget = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    drawn = torch.tensor([[5.0, 0.0], [-1.0, 0.0], [3.0, 3.0]])
    assert _copies.similarity(drawn, forget) == pytest.approx((1 + 0 + math.sqrt(0.5)) / 3)
    assert _copies.similarity(drawn, forget[:0]) is None


def test_the_inception_score_is_one_of_uniform_guesses_and_k_of_sure_balanced_ones() -> None:
    assert inception_score(torch.full((50, 5), 0.2)) == pytest.approx((1, 0))
    assert inception_score(torch.eye(5).repeat(20, 1)) == pytest.approx((5, 0))
    assert inception_score(torch.eye(5)[[2]].repeat(50, 1)) == pytest.approx((1, 0))  # sure, and always of one class
    assert math.isnan(inception_score(torch.eye(5))[0])


def test_the_inception_score_is_the_mean_over_splits() -> None:
    """Half of the splits see one class, half see both: IS 1 and 2."""
    sure = torch.eye(2)
    table = torch.cat([sure[[0] * 10], sure[[0, 1] * 5]])
    assert inception_score(table, splits=2) == pytest.approx((1.5, 0.5))
    halves = torch.tensor([[0.5, 0.5], [1.0, 0.0]])  # KL of each from (0.75, 0.25)
    divergence = (0.5 * math.log(4 / 3) + math.log(4 / 3)) / 2
    assert inception_score(halves, splits=1)[0] == pytest.approx(math.exp(divergence))


def test_precision_and_recall_tell_what_is_missing_from_what_is_wrong() -> None:
    real = torch.cat([torch.randn(60, 3, generator=generator(0, part)) + 20 * part for part in range(2)])
    half = torch.randn(60, 3, generator=generator(1))
    both = coverage(real, real.flip(0))
    assert (both.precision, both.recall) == (1, 1)
    one_mode = coverage(real, half)
    assert one_mode.precision > 0.8
    assert one_mode.recall < 0.5
    strange = coverage(real, torch.cat([half, half + 500]))
    assert 0.4 < strange.precision <= 0.5
    assert math.isnan(coverage(real[:3], half).precision)


def test_a_ball_reaches_to_the_kth_neighbour_and_no_further() -> None:
    """Real at 0, 1, 3: with k = 1 the balls reach 1, 1 and 2; what lies at -1 and 5 is in, at 5.1 not."""
    real = torch.tensor([[0.0], [1.0], [3.0]])
    assert coverage(real, torch.tensor([[-1.0], [5.0], [5.1], [-1.1]]), neighbours=1).precision == 0.5
