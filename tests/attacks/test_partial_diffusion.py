"""The original takes the first steps: where the answer is known, and in every family that draws in steps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Self

import pytest
import torch
from torch import Tensor

from tests import toys
from tests.attacks import line
from unlearning.abilities import Denoising, Diffusing
from unlearning.attack import Curve, Scene
from unlearning.attacks.partial_diffusion import PartialDiffusion, alike, concealment
from unlearning.contracts import Generator
from unlearning.corruptions.everything import Everything
from unlearning.errors import ParamsError
from unlearning.randomness import Draws
from unlearning.recipe import Choice
from unlearning.types import Corrupted, Images, Latents, Pair, View
from unlearning.verbs._kinds import register

register()
FORGET = toys.Pictures("forget", 20)
RECIPES = {name: recipe for name, recipe in toys.recipes().items() if Diffusing in recipe.abilities}


class Blend(line.Line, Diffusing):
    """x(psi) = psi x(1) + (1 - psi) x(0)."""

    def encode_drowned(self, pair: Pair, view: View) -> Latents:
        return self.encode(pair, view)

    def reconstruct_led(self, leader: Self, share: float, corrupted: Corrupted, draws: Draws) -> Images:
        one, other = leader.reconstruct(corrupted, draws), self.reconstruct(corrupted, draws)
        return share * one + (1 - share) * other


class Certain(Blend, Denoising):
    """Finds in every noised picture the one that it has in mind: whoever takes the last step has the last word."""

    abar = torch.linspace(0.99, 0.01, 10)

    def __init__(self, mind: Images) -> None:
        super().__init__(toys.SIDE**2, 2)
        self.mind = mind
        self.eval()

    def predict(self, noised: Tensor, timestep: Tensor) -> Tensor:
        kept = self.abar[timestep].view(-1, 1, 1, 1)
        return (noised - kept.sqrt() * self.mind) / (1 - kept).sqrt()


class Knowing(Certain):
    """Has many pictures in mind, and finds the nearest one of them in whatever it is shown."""

    def predict(self, noised: Tensor, timestep: Tensor) -> Tensor:
        kept = self.abar[timestep].view(-1, 1, 1, 1)
        apart = (noised / kept.sqrt()).flatten(1)[:, None] - self.mind.flatten(1)[None]
        found = self.mind[apart.square().sum(2).argmin(1)]
        return (noised - kept.sqrt() * found) / (1 - kept).sqrt()


def blend(of: Generator) -> Blend:
    made = Blend(toys.SIDE**2, 9).eval()
    made.load_state_dict(of.state_dict())
    return made


def run(target: Generator, scene: Scene, **fields: Any) -> Curve:
    attack = PartialDiffusion(**fields)
    assert attack.why_not(scene) is None
    found = attack.run(target, scene, attack.prepare(scene))
    assert isinstance(found, Curve)
    return found


def values(curve: Curve) -> list[float]:
    return [point.value for point in curve.forgetting]


def in_hole() -> tuple[Blend, Scene]:
    known = blend(line.original())
    return known, line.scene(known, line.ClosedForget(FORGET, known))


def test_forgetting_falls_by_the_square_of_what_is_left_to_the_target() -> None:
    known, scene = in_hole()
    curve = run(blend(line.blinded(known)), scene, psi=(0.25, 0.5, 1))
    assert curve.effort == [0, 0.25, 0.5, 1]
    assert values(curve) == pytest.approx([1, 0.75**2, 0.25, 0], abs=1e-4)
    assert curve.numbers["CCS"] > 90  # a target that draws nothing: any push shows the original's picture
    assert curve.numbers["CRS"] > 0.3


def test_the_original_cannot_be_told_from_itself() -> None:
    known, scene = in_hole()
    curve = run(known, scene, psi=(0.25, 0.5))
    assert values(curve) == [0, 0, 0]
    assert curve.numbers == {"CCS": 50.0, "CRS": 0.0}


def test_likeness_is_an_angle() -> None:
    one = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [3.0, 3.0]])
    other = torch.tensor([[2.0, 0.0], [0.0, 5.0], [-1.0, 0.0], [3.0, 0.0]])
    assert alike(one, other).tolist() == pytest.approx([1, 0.5, 0, 0.75])


def test_concealment_in_closed_form() -> None:
    """x(psi) at 30, 60 and 90 degrees from the target's picture, the original's at 90: s = 1 - degrees / 180."""
    angles = torch.tensor([30.0, 60.0, 90.0]).deg2rad()
    recovered = [torch.tensor([[torch.cos(angle), torch.sin(angle)]]) for angle in angles]
    ccs, crs = concealment(recovered, torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 0.0]]))
    assert ccs == pytest.approx(100 * 2 / 3)
    assert crs == pytest.approx((30 + 30 + 90) / 180 / 3, abs=1e-6)


def of_whole(original: Generator, reference: Generator | None = None) -> Scene:
    scene = line.scene(original, line.ClosedForget(FORGET, line.original()), forget=FORGET, reference=reference)
    return replace(scene, corruption=Everything())


def test_who_has_the_last_word_decides_what_an_image_becomes() -> None:
    """The original knows every image to forget; who always says grey has forgotten them, unless it is not asked."""
    knowing, certain = Knowing(FORGET.images), Certain(torch.zeros(1, 1, toys.SIDE, toys.SIDE))
    curve = run(certain, of_whole(knowing), psi=(0.3, 0.6, 1), steps=5, noised=0.2)
    assert curve.forgetting[0].original.max() < 1e-6
    grey = FORGET.images.double().square().flatten(1).mean(1).tolist()
    assert [list(point.errors) for point in curve.forgetting[:3]] == [pytest.approx(grey, abs=1e-5)] * 3
    assert values(curve) == pytest.approx([1, 1, 1, 0], abs=0.1)  # the scale is that of the retain images' mean
    assert curve.numbers["CCS"] == pytest.approx(100 / 3)  # one share in three is the original's alone


def test_whole_pictures_of_the_original_are_its_own() -> None:
    original = toys.built(RECIPES["ddpm"]).eval().requires_grad_(False)
    scene = of_whole(original)
    curve = run(original, scene, psi=(0.5, 1))
    assert [list(point.errors) for point in curve.forgetting] == [list(curve.forgetting[0].original)] * 3
    assert curve.numbers == {"CCS": 50.0, "CRS": 0.0}


def test_what_cannot_go_on_for_one_another_is_refused() -> None:
    _, scene = in_hole()
    assert "cannot be asked" in str(PartialDiffusion().why_not(replace(scene, corruption=Everything())))
    one, other = (toys.built(RECIPES["stable_diffusion"], seed).eval() for seed in (0, 1))
    assert "latents are not the original's" in str(PartialDiffusion().why_not(of_whole(one, other)))
    assert PartialDiffusion().why_not(of_whole(one, one)) is None
    assert PartialDiffusion().needs() is Diffusing


@pytest.mark.parametrize("psi", [(), (0, 0.5), (0.5, 0.2), (0.5, 1.5)])
def test_shares_rise_within_the_whole(psi: tuple[float, ...]) -> None:
    with pytest.raises(ParamsError, match="psi"):
        PartialDiffusion.chosen(Choice(kind="partial_diffusion", psi=psi))


@pytest.mark.parametrize("kind", RECIPES)
def test_at_the_ends_a_picture_is_one_models_own_to_the_bit(kind: str) -> None:
    recipe = RECIPES[kind].model_copy(update={"sample_steps": 4})
    one, other = (toys.built(recipe, seed).eval() for seed in (0, 1))
    assert isinstance(one, Diffusing)
    shown, draws = toys.pair("forget").corrupted, Draws(0, 4)
    own, others = one.reconstruct(shown, draws), other.reconstruct(shown, draws)
    none, some, most = (one.reconstruct_led(other, share, shown, draws) for share in (0.1, 0.5, 1.0))  # type: ignore[arg-type]
    assert torch.equal(none, own)  # a tenth of four steps is none
    assert torch.equal(most, others)
    assert not torch.equal(some, own)
    assert not torch.equal(some, others)
    assert some.isfinite().all()


def test_latents_of_another_meaning_are_handed_over_as_a_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """With latents 3 x here and 2 x there, z = 2 x is worth 3 / 2 z: at signal a_t it moves by a_t z / 2."""
    one, other = (toys.built(RECIPES["latent"], seed).eval() for seed in (0, 1))
    estimate, timestep = torch.randn(4, 4, 4, 4, generator=torch.Generator().manual_seed(0)), torch.full((4,), 5)
    monkeypatch.setattr(one, "_latents", lambda picture: 3 * picture)
    monkeypatch.setattr(other, "_picture", lambda latents: latents / 2)
    kept = (1 - one.get_buffer("betas")).cumprod(0)[5].sqrt()
    moved = one._translation(other, estimate, timestep)  # type: ignore[operator]
    torch.testing.assert_close(moved, kept * estimate / 2)
    assert not one._translation(one, estimate, timestep).any()  # type: ignore[operator]
