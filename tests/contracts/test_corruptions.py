"""Every corruption, because it is registered."""

from __future__ import annotations

import pytest
import torch

from tests import toys
from unlearning.contracts import Corruption
from unlearning.randomness import Draws
from unlearning.verbs._kinds import register

register()


@pytest.fixture(params=sorted(Corruption.kinds))
def corruption(request: pytest.FixtureRequest) -> Corruption:
    return Corruption.kinds[request.param]()


@pytest.fixture(params=[1, 3])
def images(request: pytest.FixtureRequest) -> torch.Tensor:
    return toys.pictures("retain", 6, request.param)


def test_visible_pixels_are_untouched_and_missing_ones_grey(corruption: Corruption, images: torch.Tensor) -> None:
    corrupted = corruption(images, Draws(0, 6))
    missing = corrupted.missing.expand_as(images)
    assert torch.equal(corrupted.images[~missing], images[~missing])
    assert not corrupted.images[missing].any()


def test_the_hole_is_equal_on_every_image_and_never_all_or_nothing(
    corruption: Corruption, images: torch.Tensor
) -> None:
    missing = corruption.missing(images, Draws(0, 6))
    assert missing.shape == (6, 1, toys.SIDE, toys.SIDE)
    assert missing.dtype == torch.bool
    counts = missing.sum(dim=(1, 2, 3))
    assert (counts == counts[0]).all()
    assert 0 < counts[0] < toys.SIDE**2


def test_the_same_draws_give_the_same_hole_on_any_number_of_processes(
    corruption: Corruption, images: torch.Tensor
) -> None:
    whole = corruption.missing(images, Draws(0, 6))
    assert torch.equal(whole, corruption.missing(images, Draws(0, 6)))
    assert torch.equal(whole[4:], corruption.missing(images[4:], Draws(0, 2, first=4, total=6)))


def test_the_hole_does_not_depend_on_the_picture(corruption: Corruption, images: torch.Tensor) -> None:
    """Where the hole lies must tell nothing about what it hides."""
    assert torch.equal(corruption.missing(images, Draws(0, 6)), corruption.missing(-images, Draws(0, 6)))


def test_says_where_it_comes_from(corruption: Corruption) -> None:
    assert "et al." in corruption.paper()


def test_a_fixed_corruption_draws_nothing_and_any_other_draws(corruption: Corruption, images: torch.Tensor) -> None:
    """What is remembered of an image rests on this word."""
    first, second = corruption(images, Draws(0, 6)), corruption(images, Draws(1, 6))
    alike = torch.equal(first.missing, second.missing) and torch.equal(first.images, second.images)
    assert alike == corruption.fixed
    if corruption.fixed:
        assert (first.missing == first.missing[:1]).all()
