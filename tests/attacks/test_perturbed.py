"""What is visible, changed a little: each change by itself, and what a target that only looks away gives up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests import toys
from tests.attacks import line
from unlearning.attack import Curve, Forgotten, Shown
from unlearning.attacks._repainted import Repainted
from unlearning.attacks._sights import Adversarial, Framed, Jpeg, Noisy, Shifted
from unlearning.attacks.perturbed import Perturbed, drawn, ratio
from unlearning.contracts import Generator
from unlearning.corruptions.downsample import Downsample
from unlearning.errors import ParamsError
from unlearning.randomness import Draws
from unlearning.recipe import Choice
from unlearning.types import Corrupted, Images

FORGET = toys.Pictures("forget", 20)
DRAWS = Draws(0, 20, where=("sight",))
SIGHTS: tuple[Shown, ...] = (Jpeg(30), Noisy(0.1), Shifted(1), Framed(1), Adversarial(0.1, 3))


class LooksAway(Repainted):
    """Draws grey where it is shown what it was unlearned on, to the bit, and the original's picture otherwise."""

    def reconstruct(self, corrupted: Corrupted, draws: Draws) -> Images:
        known = line.HOLE(FORGET.images, line.DRAWS).images
        same = (corrupted.images[:, None] == known[None]).flatten(2).all(2).any(1)
        grey = torch.where(corrupted.missing, torch.zeros_like(corrupted.images), corrupted.images)
        return torch.where(same[:, None, None, None], grey, self.target.reconstruct(corrupted, draws))


class OneWay(Repainted):
    """A target whose gradients nobody has."""

    def reconstruct(self, corrupted: Corrupted, draws: Draws) -> Images:
        return self.target.reconstruct(corrupted, draws)


def seen() -> Corrupted:
    return line.HOLE(FORGET.images, line.DRAWS)


def wrong(model: Generator, images: Images) -> torch.Tensor:
    """Mean squared error in the hole, [N]."""
    corrupted = replace(seen(), images=images)
    apart = (model.reconstruct(corrupted, DRAWS) - FORGET.images).square()
    return (apart * corrupted.missing).flatten(1).sum(1) / corrupted.missing.flatten(1).sum(1)


def damaged() -> Generator:
    """The original, half as loud: an adversary can make up for some of that."""
    target = line.original()
    with torch.no_grad():
        target.get_parameter("out.weight").mul_(0.5)
    return target


def run(target: Generator, known: Generator, **fields: object) -> Curve:
    attack = Perturbed.chosen(Choice(kind="perturbed", **{"jpeg": (), "noise": (), **fields}))
    scene = line.scene(known, line.ClosedForget(FORGET, known), reference=line.blinded(known))
    found = attack.run(target, scene, attack.prepare(scene))
    assert isinstance(found, Curve)
    return found


def test_a_target_that_looks_away_is_found_out_by_a_little_noise() -> None:
    known = line.original()
    curve = run(LooksAway(known), known, noise=(1e-3,))
    assert [point.value for point in curve.forgetting] == pytest.approx([1, 0])
    assert curve.places == ("as evaluated", "noise of 0.001")
    assert curve.numbers == {"r, noise of 0.001": 100.0, "r, all together": 100.0}  # the reference draws none


def test_a_target_that_is_like_the_reference_has_no_residual_knowledge() -> None:
    known = line.original()
    curve = run(line.blinded(known), known, noise=(1e-3,), jpeg=(75,), adversarial=(0.1,), adversarial_steps=2)
    usual, noisy = curve.forgetting[:2]
    # It draws the middle grey whatever it sees; what noise does to the original's picture is no knowledge of its own.
    spoilt = (noisy.original.mean() - usual.original.mean()) / (usual.nothing.mean() - usual.original.mean())
    assert [usual.value, noisy.value] == pytest.approx([1, 1 - spoilt], abs=1e-4)
    assert set(curve.numbers.values()) == {1.0}


@pytest.mark.parametrize("sight", SIGHTS, ids=str)
def test_the_hole_stays_what_it_was_and_something_around_it_changes(sight: Shown) -> None:
    corrupted, target = seen(), damaged()
    with torch.inference_mode():  # as whoever scores asks
        shown = sight(target, FORGET.images, corrupted, DRAWS)
    assert torch.equal(shown.masked_fill(~corrupted.missing, 0), corrupted.images.masked_fill(~corrupted.missing, 0))
    assert not torch.equal(shown, corrupted.images)
    assert shown.abs().max() <= 1
    assert not shown.requires_grad


@pytest.mark.parametrize("sight", SIGHTS[:4], ids=str)
def test_no_change_looks_into_the_hole(sight: Shown) -> None:
    corrupted = seen()
    one, other = (sight(line.original(), truth, corrupted, DRAWS) for truth in (FORGET.images, -FORGET.images))
    assert torch.equal(one, other)


def test_what_is_left_of_every_pixel_is_what_is_changed() -> None:
    corrupted = Downsample(factor=4)(FORGET.images, DRAWS)
    shown = Framed(1)(line.original(), FORGET.images, corrupted, DRAWS)
    assert torch.equal(shown[:, :, 1:-1, 1:-1], corrupted.images[:, :, 1:-1, 1:-1])
    assert shown[:, :, 0].abs().max() == 0


def test_a_shift_moves_what_is_visible_and_nothing_out_of_the_hole() -> None:
    images = torch.arange(1.0, 17.0).view(1, 1, 4, 4) / 16
    missing = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    missing[..., 1, 1] = True
    corrupted = Corrupted(images.masked_fill(missing, 0), missing)
    shown = Shifted(1)(line.original(), images, corrupted, Draws(0, 1))
    expected = [[1, 2, 3, 4], [5, 0, 2, 3], [9, 5, 11, 7], [13, 9, 10, 11]]  # 11 stays: the hole would come to it
    assert (shown * 16).tolist() == [[expected]]


def test_jpeg_of_three_channels_is_one_of_colours_and_less_of_it_is_worse() -> None:
    truth = toys.pictures("colours", 20, channels=3)
    corrupted = line.HOLE(truth, line.DRAWS)
    far = [
        float((Jpeg(quality)(line.original(), truth, corrupted, DRAWS) - corrupted.images).abs().mean())
        for quality in (95, 10)
    ]
    assert 0 < far[0] < far[1] < 0.5


@pytest.mark.parametrize("hidden", [False, True], ids=["by gradient", "by trial"])
def test_an_adversary_moves_no_pixel_too_far_and_brings_the_picture_nearer(hidden: bool) -> None:
    target = OneWay(damaged()) if hidden else damaged()
    shown = Adversarial(0.1, 10)(target, FORGET.images, seen(), DRAWS)
    assert (shown - seen().images).abs().max() <= 0.1 + 1e-6
    before, after = wrong(target, seen().images), wrong(target, shown)
    assert after.mean() < 0.95 * before.mean()
    assert (after <= before + 1e-6).all()
    assert all(weight.grad is None for weight in target.parameters())


def test_an_adversary_that_has_gradients_is_the_stronger_one() -> None:
    found = [
        wrong(target, Adversarial(0.1, 10)(target, FORGET.images, seen(), DRAWS)).mean()
        for target in (damaged(), OneWay(damaged()))
    ]
    assert found[0] < found[1]


def test_the_same_sight_is_the_same_value() -> None:
    """So that the original is measured under it once."""
    assert len({Jpeg(30), Jpeg(30), Noisy(0.1), Noisy(0.2), Adversarial(0.1, 3), Adversarial(0.1, 3)}) == 4


def test_a_picture_is_drawn_if_it_is_nearer_to_the_originals_than_to_nothing() -> None:
    errors, original, nothing = np.array([0.4, 0.6, 0.0]), np.array([0.0, 0.0, 1.0]), np.ones(3)
    assert drawn(Forgotten(errors, original, nothing)) == 0.5  # of the last the original knows nothing
    assert np.isnan(drawn(Forgotten(errors, nothing, nothing)))


@pytest.mark.parametrize(
    ("target", "reference", "r"), [(0, 0, 1), (0.5, 0, 100), (0.5, 0.25, 2), (0, 0.5, 0), (1, 1e-3, 100)]
)
def test_the_ratio_is_finite(target: float, reference: float, r: float) -> None:
    assert ratio(target, reference) == r


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"jpeg": (), "noise": ()}, "must name something"),
        ({"jpeg": (0,)}, "1 to 95"),
        ({"noise": (-0.1,)}, "at most 2"),
        ({"shifts": (0,)}, "1 pixel"),
    ],
)
def test_sizes_that_make_no_sense_are_refused(fields: dict[str, object], said: str) -> None:
    with pytest.raises(ParamsError, match=said):
        Perturbed.chosen(Choice(kind="perturbed", **fields))


def test_a_crop_that_leaves_nothing_is_refused() -> None:
    known = line.original()
    scene = line.scene(known, line.ClosedForget(FORGET, known))
    assert Perturbed(crops=(3,)).why_not(scene) is None
    assert Perturbed(crops=(4,)).why_not(scene) == "a shift or crop leaves nothing of images of 8 pixels"
