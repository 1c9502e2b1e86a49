"""Every corruption, because it is registered."""

from __future__ import annotations

import pytest
import torch

from tests import toys
from unlearning.contracts import Corruption
from unlearning.errors import ParamsError
from unlearning.randomness import Draws
from unlearning.verbs._kinds import register

register()


@pytest.fixture(params=sorted(Corruption.kinds))
def corruption(request: pytest.FixtureRequest) -> Corruption:
    return Corruption.kinds[request.param]()


@pytest.fixture(params=[1, 3])
def images(corruption: Corruption, request: pytest.FixtureRequest) -> torch.Tensor:
    return toys.pictures("retain", 6, max(request.param, corruption.least_channels))


def test_visible_pixels_are_untouched_and_missing_ones_grey(corruption: Corruption, images: torch.Tensor) -> None:
    """Or, where T leaves something of every pixel, what it left."""
    corrupted = corruption(images, Draws(0, 6))
    missing = corrupted.missing.expand_as(images)
    assert torch.equal(corrupted.images[~missing], images[~missing])
    left = corruption.degraded(images) if corruption.degrades else torch.zeros_like(images)
    assert torch.equal(corrupted.images[missing], left[missing])


def test_what_is_left_of_a_picture_is_less_than_the_picture_and_in_its_range(
    corruption: Corruption, images: torch.Tensor
) -> None:
    left = corruption(images, Draws(0, 6)).images
    assert left.shape == images.shape
    assert left.abs().max() <= 1
    assert not left.isclose(images).all()
    assert torch.allclose(corruption(left, Draws(0, 6)).images, left)  # T takes nothing more away the second time


def test_another_picture_is_shown_under_the_same_holes(corruption: Corruption, images: torch.Tensor) -> None:
    """T(x') by way of T(x), along with another set: what a method shows the original in the place of an image."""
    other = toys.pictures("other", 6, images.shape[1])
    corrupted = corruption(images, Draws(0, 6))
    there = corrupted.joined(corrupted).of(torch.cat([other, images]))
    assert torch.equal(there.images, torch.cat([corruption(other, Draws(0, 6)).images, corrupted.images]))
    assert torch.equal(there.missing, torch.cat([corrupted.missing, corrupted.missing]))


@pytest.mark.parametrize("kind", sorted(kind for kind, each in Corruption.kinds.items() if each.least_channels > 1))
def test_an_image_without_enough_channels_is_refused(kind: str) -> None:
    corruption = Corruption.kinds[kind]()
    with pytest.raises(ParamsError, match=f"{corruption.least_channels} channels or more are right"):
        corruption(toys.pictures("retain", 2, corruption.least_channels - 1), Draws(0, 2))


def test_the_hole_is_equal_on_every_image_and_never_nothing_nor_all_but_where_a_hint_is_left(
    corruption: Corruption, images: torch.Tensor
) -> None:
    missing = corruption.missing(images, Draws(0, 6))
    assert missing.shape == (6, 1, toys.SIDE, toys.SIDE)
    assert missing.dtype == torch.bool
    counts = missing.sum(dim=(1, 2, 3))
    assert (counts == counts[0]).all()
    assert counts[0] > 0
    assert (counts[0] == toys.SIDE**2) == corruption.degrades


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
