"""Box, half and free-form against what can be counted by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from unlearning.contracts import Corruption
from unlearning.corruptions.box import Box
from unlearning.corruptions.free_form import FreeForm
from unlearning.corruptions.half import Half
from unlearning.errors import ParamsError
from unlearning.randomness import Draws

ON_A_GRID: list[type[Any]] = [Box, FreeForm]


def _missing(corruption: Corruption, side: int = 16, count: int = 40) -> torch.Tensor:
    return corruption.missing(torch.zeros(count, 1, side, side), Draws(0, count))


@pytest.mark.parametrize("grid", ON_A_GRID)
def test_holes_are_whole_cells_and_each_image_has_its_own(grid: type[Any]) -> None:
    missing = _missing(grid(patch=4))
    blocks = missing.view(-1, 4, 4, 4, 4).permute(0, 1, 3, 2, 4).flatten(3)
    assert torch.equal(blocks.all(-1), blocks.any(-1))
    assert len(missing.flatten(1).unique(dim=0)) > 5


@pytest.mark.parametrize("grid", ON_A_GRID)
def test_two_batches_lose_the_same_area(grid: type[Any]) -> None:
    """Forget and retain rows are encoded in one pass, so their holes are equal too."""
    images = torch.zeros(8, 1, 16, 16)
    sums = [grid().missing(images, Draws(0, 8, where=(name,))).sum(dim=(1, 2, 3)) for name in ("forget", "retain")]
    assert torch.equal(*sums)


@pytest.mark.parametrize("grid", ON_A_GRID)
def test_a_grid_that_does_not_fit_is_refused(grid: type[Any]) -> None:
    with pytest.raises(ParamsError, match="patch 3 does not divide the image size 16 x 16"):
        _missing(grid(patch=3))
    with pytest.raises(ParamsError, match="is the whole image"):
        _missing(grid(patch=16))


@pytest.mark.parametrize("grid", ON_A_GRID)
@pytest.mark.parametrize("ratio", [0.001, 0.999])
def test_something_is_gone_and_something_stays_at_any_ratio(grid: type[Any], ratio: float) -> None:
    counts = _missing(grid(ratio=ratio)).sum(dim=(1, 2, 3))
    assert (counts == counts[0]).all()
    assert 0 < counts[0] < 256


def test_a_box_is_a_rectangle_of_the_wanted_area() -> None:
    missing = _missing(Box(patch=1, ratio=0.25))[:, 0]
    high, wide = missing.any(dim=2).sum(dim=1), missing.any(dim=1).sum(dim=1)
    assert (high * wide == 64).all()
    assert torch.equal(missing.sum(dim=(1, 2)), high * wide)  # nothing inside is visible
    assert {tuple(shape) for shape in torch.stack([high, wide], dim=1).tolist()} == {(8, 8), (4, 16), (16, 4)}


def test_a_box_comes_to_every_place() -> None:
    missing = _missing(Box(patch=4, ratio=1 / 16, aspect=1), count=4_000).float().mean(0)
    torch.testing.assert_close(missing, torch.full_like(missing, 1 / 16), atol=0.02, rtol=0)


@pytest.mark.parametrize("side", ["left", "right", "up", "down"])
def test_a_half_and_its_mirror_image_are_the_whole(side: str) -> None:
    missing = _missing(Half(side=side))  # type: ignore[arg-type]
    assert torch.equal(missing.flip(-1 if side in ("left", "right") else -2), ~missing)
    corner = missing[0, 0, 0, -1] if side in ("right", "up") else missing[0, 0, -1, 0]
    assert corner


def test_the_smaller_half_of_an_odd_size_is_gone() -> None:
    assert _missing(Half(), side=5).sum() == 40 * 5 * 2
    with pytest.raises(ParamsError, match="has no half"):
        _missing(Half(), side=1)


def test_a_brush_stroke_hangs_together() -> None:
    """On a fine grid, before its way ends: every cell that is gone has a neighbour that is."""
    missing = _missing(FreeForm(patch=1, ratio=0.1, brush=0.1)).float()
    around = torch.nn.functional.conv2d(missing, torch.ones(1, 1, 3, 3), padding=1) - missing
    assert (around[missing.bool()] > 0).float().mean() > 0.99


def test_the_hole_grows_with_its_share() -> None:
    """The same brush, painting on: nothing that was gone comes back."""
    small, large = (_missing(FreeForm(ratio=ratio)) for ratio in (0.2, 0.6))
    assert (small <= large).all()
    assert (large[:, 0].float().mean(dim=(1, 2)) - 0.6).abs().max() < 0.01
