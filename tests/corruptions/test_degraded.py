"""Downsample and greyscale against means worked out by hand; who may read them; the published holes at 256 pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests import toys
from unlearning.contracts import Corruption, Generator, Method, Preparation
from unlearning.corruptions.border import Border
from unlearning.corruptions.center_hole import CenterHole
from unlearning.corruptions.downsample import Downsample
from unlearning.corruptions.greyscale import Greyscale
from unlearning.errors import ParamsError
from unlearning.params import Params
from unlearning.randomness import Draws
from unlearning.scopes.all import All
from unlearning.training.step import Step
from unlearning.types import Corrupted
from unlearning.verbs import _kinds

_kinds.register()


def test_a_block_keeps_its_mean() -> None:
    image = torch.arange(16.0).view(1, 1, 4, 4) / 16
    left = Downsample(factor=2)(image, Draws(0, 1)).images
    means = torch.tensor([[2.5, 4.5], [10.5, 12.5]]) / 16
    torch.testing.assert_close(left[0, 0, ::2, ::2], means)
    torch.testing.assert_close(left[0, 0, 1::2, 1::2], means)


def test_blocks_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ParamsError, match="factor 3 does not divide the image size 8 x 8"):
        Downsample(factor=3)(torch.zeros(1, 1, 8, 8), Draws(0, 1))


def test_grey_is_the_mean_of_the_channels() -> None:
    image = torch.tensor([0.9, 0.3, -0.6]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    torch.testing.assert_close(Greyscale()(image, Draws(0, 1)).images, torch.full((1, 3, 2, 2), 0.2))


@pytest.mark.parametrize("kind", ["palette", "palette_guided"])
@pytest.mark.parametrize("corruption", [Downsample(), Greyscale()], ids=lambda corruption: str(corruption.kind))
def test_a_diffusion_generator_sees_the_hint_and_only_the_hint(kind: str, corruption: Corruption) -> None:
    """Other fine detail, the same picture drawn; another hint, another picture."""
    generator: Any = toys.built(toys.recipes()[kind], channels=3).eval()
    clean = toys.pictures("retain", 2, 3)
    hidden = clean - corruption(clean, Draws(0, 2)).images  # what T takes away
    shown = [corruption(picture, Draws(0, 2)) for picture in (clean, clean - 0.5 * hidden, clean * 0.5)]
    drawn = [generator.reconstruct(each, Draws(0, 2)) for each in shown]
    torch.testing.assert_close(drawn[0], drawn[1], atol=1e-4, rtol=0)
    assert not torch.allclose(drawn[0], drawn[2], atol=1e-4)


def test_a_hole_is_still_filled_with_noise_beside_a_picture_that_is_missing_as_a_whole() -> None:
    """Which it is, is a matter of each image, not of the batch."""
    generator: Any = toys.built(toys.recipes()["palette"]).eval()
    images = toys.pictures("retain", 2)
    missing = CenterHole().missing(images, Draws(0, 2))
    missing[1] = True
    corrupted = Corrupted(images.masked_fill(missing, 0.0), missing)
    alone = Corrupted(corrupted.images[:1], missing[:1])
    both, first = (generator.reconstruct(each, Draws(0, len(each.images), total=2)) for each in (corrupted, alone))
    torch.testing.assert_close(both[:1], first, atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", ["mae", "mage"])
def test_who_reads_whole_patches_refuses_before_anything_is_trained(repository: Path, kind: str) -> None:
    chosen = {"generator": {"kind": kind}, "corruption": {"kind": "downsample"}}
    with pytest.raises(
        ParamsError, match=f"generator {kind!r} reads only what is wholly visible.* palette, .*takes it"
    ):
        _kinds.check(Params.read(repository / "params.yaml", chosen))
    generator: Generator = toys.built(toys.recipes()[kind]).eval()
    corrupted = Downsample()(toys.pictures("retain", 2), Draws(0, 2))
    with pytest.raises(ParamsError, match="would see nothing"):
        generator.reconstruct(corrupted, Draws(0, 2))


def test_a_diffusion_generator_may_be_given_a_degraded_picture(repository: Path) -> None:
    chosen = {"generator": {"kind": "palette"}, "corruption": {"kind": "downsample"}}
    _kinds.check(Params.read(repository / "params.yaml", chosen))


@pytest.mark.parametrize(("side", "patches"), [(0.25, 4), (0.5, 8)])
def test_the_published_centre_holes_are_whole_patches(side: float, patches: int) -> None:
    grid = _patches(CenterHole(side=side))
    assert grid.sum() == patches**2
    first = (16 - patches) // 2
    assert grid[first : first + patches, first : first + patches].all()


@pytest.mark.parametrize("sixteenths", range(1, 8))
def test_a_border_is_so_many_patches_on_each_side(sixteenths: int) -> None:
    grid = _patches(Border(sixteenths=sixteenths))
    inside = grid[sixteenths : 16 - sixteenths, sixteenths : 16 - sixteenths]
    assert not inside.any()
    assert grid.sum() == 256 - inside.numel()


def _patches(corruption: Corruption) -> torch.Tensor:
    """Which of the 16 x 16 patches of a picture of 256 pixels are gone; none of them in part."""
    blocks = corruption.missing(torch.zeros(1, 3, 256, 256), Draws(0, 1)).view(16, 16, 16, 16).transpose(1, 2)
    pixels = blocks.flatten(2)  # [16, 16, 256]
    assert torch.equal(pixels.all(dim=2), pixels.any(dim=2))
    return pixels.all(dim=2)


@pytest.mark.parametrize("kind", ["noise_target", "mean_target", "mean_code", "retain_label", "max_loss"])
def test_a_degraded_picture_can_be_unlearnt(kind: str) -> None:
    """One whole step; where encodings are compared, the student is still the original, and its retain term nothing."""
    method, corruption = Method.kinds[kind](), Downsample(factor=2)
    forget, retain = toys.Pictures("forget", 20), toys.Pictures("retain", 20)
    original = toys.built(toys.recipes()["palette"])
    prepared = method.prepare(
        Preparation(original, forget, retain, corruption, Draws(0, 8), torch.device("cpu")),
    )
    run = toys.run(
        generator=toys.recipes()["palette"], method=method, corruption=corruption, prepared_method=prepared, scope=All()
    )
    losses, norm = Step(run, toys.ALONE)(run.batches(0), 0)
    assert norm > 0
    assert not method.uses_targets or losses["retain"] < 1e-10  # a joint pass rounds otherwise than one of each set
