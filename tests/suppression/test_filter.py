"""The filter against what Gaussians say: AUC = Phi(d' / sqrt 2), and the share that was to be withheld."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import norm

from tests.toys import SIDE, ToyGenerator
from unlearning.errors import ManifestError
from unlearning.metrics import _suppression
from unlearning.metrics._rate import rate
from unlearning.metrics._suppression import Filter
from unlearning.metrics.extractors.extractor import Extractor
from unlearning.randomness import Draws
from unlearning.rules import Suppress
from unlearning.types import Corrupted
from unlearning.verbs._suppressed import Guard, Suppressed

APART = 1.5  # d', in standard deviations
MANY = 40_000


def gaussians(seed: int, count: int = MANY) -> tuple[torch.Tensor, torch.Tensor]:
    """[N, 3] of each kind, one standard deviation wide, `APART` apart along a direction of no axis."""
    random = torch.Generator().manual_seed(seed)
    away = torch.tensor([1.0, 2.0, -2.0]) / 3 * APART
    forget, retain = (torch.randn(count, 3, generator=random, dtype=torch.float64) for _ in range(2))
    return forget + away + 5, retain + 5


def test_on_gaussians_it_is_as_good_as_gaussians_allow() -> None:
    made = _suppression.fit(*gaussians(0), Suppress(false_positives=0.05))
    found = _suppression.measured(made, *gaussians(1), 0.95)
    assert torch.allclose(made.direction, torch.tensor([1.0, 2.0, -2.0], dtype=torch.float64) / 3, atol=0.02)
    assert found["auc"]["value"] == pytest.approx(norm.cdf(APART / 2**0.5), abs=0.005)
    assert found["auc"]["low"] < norm.cdf(APART / 2**0.5) < found["auc"]["high"]
    assert found["false_positive_rate"]["rate"] == pytest.approx(0.05, abs=0.005)
    assert found["recall"]["rate"] == pytest.approx(norm.sf(norm.isf(0.05) - APART), abs=0.015)
    assert found["recall"]["low"] < found["recall"]["rate"] < found["recall"]["high"]


def test_the_published_threshold_is_the_mean_of_all_scores() -> None:
    forget, retain = gaussians(0, 400)
    made = _suppression.fit(forget, retain[:100], Suppress(threshold="published"))
    middle = (400 * forget.mean(0) + 100 * retain[:100].mean(0)) / 500
    assert made.threshold == pytest.approx(float(middle @ made.direction))
    assert made.threshold != pytest.approx(_suppression.fit(forget, retain[:100], Suppress()).threshold)


def test_the_order_of_the_images_says_nothing() -> None:
    forget, retain = gaussians(0, 200)
    one, other = (_suppression.fit(f, r, Suppress()) for f, r in ((forget, retain), (forget.flip(0), retain.flip(0))))
    assert torch.allclose(one.direction, other.direction)
    assert one.threshold == pytest.approx(other.threshold, rel=1e-12)


@pytest.mark.parametrize(("share", "withheld"), [(0.29, 29), (0.005, 0), (0.999, 99)])
def test_no_more_retain_images_are_withheld_than_allowed(share: float, withheld: int) -> None:
    scores = torch.randperm(100, generator=torch.Generator().manual_seed(0)).double()
    assert int((scores > _suppression.quantile(scores, share)).sum()) == withheld
    tied = torch.cat([scores, torch.full((20,), 99.0, dtype=torch.float64)])
    assert int((tied > _suppression.quantile(tied, 0.1)).sum()) == 0


def test_what_cannot_be_told_apart_is_refused() -> None:
    same = torch.ones(4, 3, dtype=torch.float64)
    with pytest.raises(ManifestError, match="no direction tells them apart"):
        _suppression.fit(same, same, Suppress())
    with pytest.raises(ManifestError, match="or are no numbers"):
        _suppression.fit(same * torch.nan, same, Suppress())


def test_an_aucs_interval_is_wilsons_for_one_pair_and_has_width_at_its_ends() -> None:
    for value in (0, 1):
        wilson = rate(value, 1, 0.95)
        assert _suppression.auc_interval(value, 1, 1, 0.95) == pytest.approx((wilson.low, wilson.high), abs=1e-9)
    low, high = _suppression.auc_interval(0.8, 20, 30, 0.95)
    assert low < 0.8 < high
    assert _suppression.auc_interval(0.2, 20, 30, 0.95) == pytest.approx((1 - high, 1 - low))
    assert 0.8 < _suppression.auc_interval(1.0, 20, 30, 0.95)[0] < 1.0


def test_of_no_image_nothing_is_said() -> None:
    made = Filter(torch.tensor([1.0], dtype=torch.float64), 0.0)
    found = _suppression.measured(made, torch.empty(0, 0), torch.tensor([[1.0], [-1.0]]), 0.95)
    assert (found["recall"], found["auc"]) == (None, None)
    assert (found["false_positive_rate"]["count"], found["false_positive_rate"]["of"]) == (1, 2)


def test_what_a_guard_recognises_is_not_shown_and_the_rows_are_named() -> None:
    class Brightness(torch.nn.Module):
        """[B, C, H, W] -> [B, 1]."""

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.mean((1, 2, 3))[:, None]

    torch.manual_seed(0)
    generator = ToyGenerator(SIDE * SIDE)
    bright = torch.tensor([0.9, -0.9, 0.1, torch.nan])
    images = bright[:, None, None, None].expand(4, 1, SIDE, SIDE).clone()
    asked = Corrupted(images, torch.zeros(4, 1, SIDE, SIDE, dtype=torch.bool))  # nothing is missing: seen is shown
    seen = Extractor("brightness", "", Brightness(), torch.device("cpu"))
    grey = torch.full((1, 1, SIDE, SIDE), -0.25)
    up, down = (Filter(torch.tensor([sign], dtype=torch.float64), 0.5) for sign in (1.0, -1.0))
    draws = Draws(0, rows=4, where=("shown",))

    one = Suppressed(generator, [Guard(up, seen, grey)]).reconstruct(asked, draws)
    assert one.withheld.tolist() == [True, False, False, True]  # a picture of no numbers is none to give out
    assert torch.equal(one.images[[0, 3]], grey.expand(2, -1, -1, -1))
    assert torch.equal(one.images[[1, 2]], images[[1, 2]])
    both = Suppressed(generator, [Guard(up, seen, grey), Guard(down, seen, grey)]).reconstruct(asked, draws)
    assert both.withheld.tolist() == [True, True, False, True]
    open_ = Suppressed(generator, []).reconstruct(asked, draws)
    assert not open_.withheld.any()
