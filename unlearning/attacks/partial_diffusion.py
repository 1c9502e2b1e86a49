"""Partial diffusion: Sen Sharma et al., "Unlearning or Concealment? ...", arXiv 2409.05668, 2024.

The original denoises the first psi of the steps, the target the rest, from the same noise: x(psi), with x(0) the
target's own picture and x(1) the original's.

    forgetting(psi) = forgetting of x(psi)
    s_orig(psi)     = 1 - arccos(cos(f(x(psi)), f(x(1)))) / pi,    s_unl the same beside x(0)
    CCS             = 100 mean over images and psi of [s_orig > s_unl] + [s_orig = s_unl] / 2
    CRS             = mean over images and psi of |s_unl - s_orig|,    0 to 1
    f(x)            = what was drawn into the hole, less the mean of the retain images there

As published, CRS has (1 - arctan(cos)) / (pi / 2), which neither is 1 where pictures are the same nor has a bound of 0,
and CCS the softmax of a residual network that is trained on 200 pictures of either model. Ours: the angle, 1 = the same
direction and 0 = the opposite; and the nearer of the two pictures of the very same image, so nothing is trained,
nothing is held out and no number depends on a training run. f leaves out what is visible, the same in both, and what
all pictures share. CCS is the share of pictures that look rather like the original's than like the target's: 50 for the
original itself, high = a push is enough to bring the original's picture out, lower = better forgetting. CRS is how
clearly a picture belongs to either of the two; its sign is lost, so read it beside CCS.

Where the corruption leaves nothing, nothing is drawn of an image. There the image itself is noised to `noised` of the
schedule, by the same noise for every model, and denoised from there (DDIM of eta 0 in `steps` steps, Song et al., ICLR
2021), the first psi by the original; errors are those of the result against the image, all over, in what the model
adds noise to: pictures, or their latents. Who knows nothing says the mean of the retain set.

What it reports: how early the target has to take over for the image to be gone. Whoever makes this attack holds the
original; it says how near the target is to it, not what can be stolen. The reference's own curve says how much of an
image's picture is settled by the first steps whoever goes on. Search: psi 0.001 to 0.55 as published, noised 0.25 to
0.75.
"""

from __future__ import annotations

from typing import Self, TypeAlias

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from unlearning.abilities import Denoising, Diffusing
from unlearning.attack import Attack, Curve, Forgotten, Ready, Scene
from unlearning.attacks import _denoised, _lessons
from unlearning.attacks._repainted import Repainted
from unlearning.contracts import Generator
from unlearning.randomness import Draws
from unlearning.rules import Profile
from unlearning.types import Corrupted, Images

_Found: TypeAlias = tuple[list[Forgotten], list[Tensor]]  # a point a share, and f of what was drawn there


class PartialDiffusion(Attack, kind="partial_diffusion"):
    """Lets the original take the first denoising steps, and the target the rest."""

    tries = "let the original draw the beginning"

    psi: tuple[float, ...] = Field(
        (0.05, 0.15, 0.35, 0.55), min_length=1, description="shares of the steps that are the original's, rising"
    )
    noised: float = Field(
        0.25, gt=0, lt=1, description="share of the schedule an image is noised to, where nothing is shown of it"
    )
    steps: int = Field(25, ge=2, le=1_000, description="denoising steps from there")

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if list(self.psi) != sorted(set(self.psi)) or self.psi[0] <= 0 or self.psi[-1] > 1:
            raise ValueError(f"psi is {list(self.psi)}: rising shares above 0 and at most 1 are right")
        return self

    @classmethod
    def of_profile(cls, profile: Profile) -> tuple[Attack, ...]:
        """In an audit alone: it draws every image again at every share."""
        return (cls(),) if profile == "audit" else ()

    def needs(self) -> type[nn.Module]:
        """A model that draws in steps."""
        return Diffusing

    def why_not(self, scene: Scene) -> str | None:
        """Where nothing is shown, models must noise the same thing, and be asked what stands in between."""
        if not scene.corruption.leaves_nothing:
            return None
        if not isinstance(scene.original, Denoising) or not isinstance(scene.reference, Denoising):
            return "nothing is shown, and the generator cannot be asked for the noise in a picture"
        pair = _denoised.whole(scene, scene.retain, torch.arange(1), "why_not")
        same = torch.equal(scene.original.signal(pair), scene.reference.signal(pair))
        return None if same else "the reference's latents are not the original's, so neither can go on for the other"

    def prepare(self, scene: Scene) -> Ready:
        """The original's own pictures, x(1)."""
        if scene.corruption.leaves_nothing:
            denoised = _denoised.denoised(scene.original, scene, 0.0, self.noised, self.steps)
            return Ready(picked={"original": denoised})
        own = _Watched(scene.original, scene.original, 0.0, _lessons.mean_picture(scene.retain))
        scene.forgetting(own)
        return Ready(picked={"original": own.features()})

    def run(self, target: Generator, scene: Scene, ready: Ready) -> Curve:
        """A point for 0 and for each of `psi`; CCS and CRS in `numbers`."""
        own, shares = ready.picked["original"], (0.0, *self.psi)
        if isinstance(own, _denoised.Denoised):
            points, pictures = self._of_whole(target, scene, shares, own)
            own = own.features()
        else:
            points, pictures = self._in_hole(target, scene, shares)
        ccs, crs = concealment(pictures[1:], own, pictures[0])
        numbers = {"CCS": ccs, "CRS": crs}
        return Curve(list(shares), points, "share of the steps", numbers=numbers, teaches=True)

    def _in_hole(self, target: Generator, scene: Scene, shares: tuple[float, ...]) -> _Found:
        mean = _lessons.mean_picture(scene.retain)
        watched = [_Watched(target, scene.original, share, mean) for share in shares]
        return [scene.forgetting(one) for one in watched], [one.features() for one in watched]

    def _of_whole(self, target: Generator, scene: Scene, shares: tuple[float, ...], own: _denoised.Denoised) -> _Found:
        found = [_denoised.denoised(target, scene, share, self.noised, self.steps) for share in shares]
        points = [Forgotten(one.errors(), own.errors(), one.errors_of_nothing()) for one in found]
        return points, [one.features() for one in found]


def concealment(recovered: list[Tensor], original: Tensor, unlearned: Tensor) -> tuple[float, float]:
    """CCS in percent and CRS, of features [N, F] of x(psi) for every psi, of x(1) and of x(0)."""
    like_original = torch.stack([alike(one, original) for one in recovered])  # [psi, N]
    like_unlearned = torch.stack([alike(one, unlearned) for one in recovered])
    nearer = (like_original > like_unlearned).double() + (like_original == like_unlearned).double() / 2
    return 100 * float(nearer.mean()), float((like_unlearned - like_original).abs().mean())


def alike(one: Tensor, other: Tensor) -> Tensor:
    """1 - arccos(cos) / pi of [N, F] and [N, F]: [N] float64, 1 exactly where they are the same; zeros are at 1/2."""
    cosine = nn.functional.cosine_similarity(one.double(), other.double(), dim=1).clamp(-1, 1)
    return torch.where((one == other).all(dim=1), torch.ones_like(cosine), 1 - cosine.arccos() / torch.pi)


class _Watched(Repainted):
    """The target after the original took its share of the steps; what was drawn is kept, [N, F], in order of asking."""

    def __init__(self, target: Generator, leader: Generator, share: float, mean: Images) -> None:
        super().__init__(target)
        self.leader, self.share, self.mean = leader, share, mean
        self._kept = list[Tensor]()

    @torch.no_grad()
    def reconstruct(self, corrupted: Corrupted, draws: Draws) -> Images:
        """x(psi)."""
        assert isinstance(self.target, Diffusing), "whoever makes the attack has asked `needs`"
        assert isinstance(self.leader, Diffusing), "the original is of the target's family"
        picture = self.target.reconstruct_led(self.leader, self.share, corrupted, draws)
        drawn = (picture - self.mean.to(picture)).masked_fill(~corrupted.missing, 0.0)
        self._kept.append(drawn.flatten(1).float().cpu())
        return picture

    def features(self) -> Tensor:
        """f of all that was drawn."""
        return torch.cat(self._kept)
