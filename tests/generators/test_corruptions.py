from __future__ import annotations

import pytest
import torch

from tests import toys
from unlearning.contracts import Corruption
from unlearning.corruptions.border import Border
from unlearning.corruptions.center_hole import CenterHole
from unlearning.corruptions.random_patches import RandomPatches
from unlearning.errors import ParamsError
from unlearning.randomness import Draws


def _missing(corruption: Corruption, side: int = 16, count: int = 3) -> torch.Tensor:
    return corruption.missing(torch.zeros(count, 1, side, side), Draws(0, count))


@pytest.mark.parametrize(("ratio", "patches"), [(0.5, 8), (0.75, 12), (0.01, 1), (0.99, 15), (0.28, 4), (0.29, 5)])
def test_random_patches_hide_the_rounded_share(ratio: float, patches: int) -> None:
    missing = _missing(RandomPatches(patch=4, ratio=ratio))
    assert (missing.sum(dim=(1, 2, 3)) == patches * 16).all()


def test_random_patches_lie_on_the_grid_and_differ_between_images() -> None:
    missing = _missing(RandomPatches(patch=4))
    blocks = missing.view(3, 4, 4, 4, 4).permute(0, 1, 3, 2, 4).flatten(3)
    assert (blocks.all(-1) == blocks.any(-1)).all()
    assert not torch.equal(missing[0], missing[1])


def test_random_patches_are_uniform_over_the_grid() -> None:
    missing = RandomPatches(patch=4).missing(torch.zeros(4000, 1, 16, 16), Draws(0, 4000)).float().mean(0)
    torch.testing.assert_close(missing, torch.full_like(missing, 0.5), atol=0.04, rtol=0)


def test_random_patches_refuse_a_grid_that_does_not_fit() -> None:
    with pytest.raises(ParamsError, match="patch 3 does not divide the image size 16 x 16"):
        _missing(RandomPatches(patch=3))
    with pytest.raises(ParamsError, match="is the whole image"):
        _missing(RandomPatches(patch=16))


@pytest.mark.parametrize(
    ("corruption", "side"), [(CenterHole(), 8), (CenterHole(side=0.25), 4), (CenterHole(pixels=6), 6)]
)
def test_a_centre_hole_is_a_centred_square(corruption: CenterHole, side: int) -> None:
    missing = _missing(corruption)
    assert (missing.sum(dim=(1, 2, 3)) == side**2).all()
    assert torch.equal(missing, missing.flip(-1))
    assert torch.equal(missing, missing.transpose(-1, -2))
    assert missing[:, :, 8, 8].all()


def test_a_centre_hole_as_large_as_the_image_is_refused() -> None:
    with pytest.raises(ParamsError, match="at most 15 is right"):
        _missing(CenterHole(pixels=16))


@pytest.mark.parametrize(("sixteenths", "band"), [(1, 1), (4, 4), (7, 7)])
def test_a_border_is_a_band_along_every_side(sixteenths: int, band: int) -> None:
    missing = _missing(Border(sixteenths=sixteenths))
    inside = 16 - 2 * band
    assert (missing.sum(dim=(1, 2, 3)) == 256 - inside**2).all()
    assert not missing[:, :, band:-band, band:-band].any()


@pytest.mark.parametrize("sixteenths", range(1, 8))
def test_a_border_leaves_something_of_the_smallest_image(sixteenths: int) -> None:
    missing = _missing(Border(sixteenths=sixteenths), side=toys.SIDE // 2)
    assert not missing.all()
    assert missing.any()
