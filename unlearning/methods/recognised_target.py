"""Recognised target: ours, mean_code (after Li et al., ICLR 2024, Eq. 10) with a recogniser of what can be told apart.

    s(v) = w . pool(E'(v)) + b,   min_(E', w, b)  E_f softplus(-s) + E_r softplus(s),   v = T(x)
    g(v) = sigmoid(sharpness (s(v) - t)),   t: the `lets_go` quantile from above of s on held-back retain images
    min_E  E_r (1 - g(v)) |E(v) - E0(v)|^2  +  alpha E_f g(v) |E(v) - E0(v) - level (c - E0(v))|^2

Not a published method. An encoder that sends some images elsewhere and leaves others in place must first tell them
apart by what is visible. A sum of squared distances teaches that slowly and halfway: images of both sets that look
alike pull at one another, and its optimum moves each by the share of forget images among its likes. Here a copy E' of
the original's encoder learns to tell them apart by logistic regression, before the first step, and g weighs the terms
by its decision: an image to forget that cannot be recognised pulls at nothing, and a retain image that is taken for
one holds nothing back. What that costs is chosen: `lets_go` of the retain images. Images to forget that nobody could
recognise stay as they were, so that the recall at that price, which a study prints as its ceiling, says how much can be
forgotten of images that training never saw.

c is the mean of the original's codes of retain images, as in mean_code, where the hole and the view never change (MAE
and MAGE under a fixed hole), else the original's code of the mean picture under the image's own hole, as in
mean_target. Only the encoder moves (scope `encoder`); alpha is the merge's `forget_weight`, search 0.1 to 2.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from unlearning.contracts import Generator, ImageSource, Method, Preparation, Prepared
from unlearning.methods._joint import (
    beside_kept,
    distance,
    mean_encoded_once,
    mean_picture,
    remembered,
    terms_of,
    under_holes,
    views_of,
)
from unlearning.randomness import Draws, generator
from unlearning.types import Batch, Images, Latents, Pair, Rows, Terms, View, joined_view

_HELD_BACK = 10  # every tenth retain image: the recogniser never learns from it, the threshold is taken from it
_MOST_HELD_BACK = 2_000  # a quantile of a few per cent is then known to a tenth of itself
_CHUNK_IMAGES = 64


class RecognisedTarget(Method, kind="recognised_target"):
    """Learn what tells the sets apart, then move the forget images that can be told onto the mean code."""

    uses_targets: ClassVar[bool] = True

    recogniser_steps: int = Field(600, ge=1, description="of logistic regression through E'; search 300 to 3,000")
    recogniser_images: int = Field(48, ge=1, description="images a set and step; not worth a search")
    recogniser_rate: float = Field(1e-3, gt=0, description="peak of its AdamW's learning rate; search 3e-4 to 3e-3")
    mirror: bool = Field(False, description="mirror half of its images; as data.flip, where that is right")
    lets_go: float = Field(
        0.02, gt=0, lt=0.5, description="share of retain images that may be given up; search 0.005 to 0.05"
    )
    sharpness: float = Field(1.5, gt=0, description="of the decision; large = all or nothing; search 1 to 10")
    level: float = Field(
        1.0, gt=0, le=2, description="how far from an image's own code to the mean code; search 0.8 to 1.4"
    )
    measured_images: int = Field(
        4_096, ge=1, description="retain images that the mean is taken from; search 256 to all of them"
    )

    def prepare(self, given: Preparation) -> Prepared:
        """The recogniser's weights and threshold, and the mean code, or the mean picture where there is none."""
        mean = mean_encoded_once(given, self.measured_images)
        if not mean:
            mean = {"mean_picture": mean_picture(given.retain, self.measured_images)}
        weights = self._learnt(given)
        held_back = _rows(given.retain, held_back=True)[:_MOST_HELD_BACK]
        scores = []
        for number, start in enumerate(range(0, len(held_back), _CHUNK_IMAGES)):
            rows = held_back[start : start + _CHUNK_IMAGES]
            pair, view = _shown(given, given.retain(rows), ("held back", number))
            scores.append(_scores(given.original, pair, view, weights))
        threshold = torch.cat(scores).quantile(1 - self.lets_go)
        return {**mean, **{f"recogniser/{name}": value for name, value in weights.items()}, "threshold": threshold}

    def terms(self, student: Generator, original: Generator, batch: Batch, draws: Draws, prepared: Prepared) -> Terms:
        """One pass of the student and one of the recogniser over both sets; the original sees each set apart."""
        views, both = views_of(student, batch, draws), batch.forget.joined(batch.retain)
        view, forget = joined_view(*views), len(batch.forget)
        weights = {name.partition("/")[2]: part for name, part in prepared.items() if name.startswith("recogniser/")}
        score = _scores(original, both, view, weights)  # [F + R]
        decided = torch.sigmoid(self.sharpness * (score - prepared["threshold"]))
        sent = self._sent(original, batch.forget, views[0], prepared) if forget else ()
        apart = terms_of(
            distance(student.encode(both, view), beside_kept(sent, original, batch.retain, views[1])), batch
        )
        return Terms(forget=decided[:forget] * apart.forget, retain=(1 - decided[forget:]) * apart.retain)

    @torch.no_grad()
    def _sent(self, original: Generator, forget: Pair, view: View, prepared: Prepared) -> Latents:
        """Where each forget image goes: from its own code toward the mean code, `level` of the way."""
        mean = remembered(prepared, torch.zeros(len(forget), dtype=torch.int64))
        if not mean:
            mean = original.encode(under_holes(prepared["mean_picture"].expand_as(forget.clean), forget), view)
        if self.level == 1:
            return mean
        return tuple(
            own + self.level * (part - own) for own, part in zip(original.encode(forget, view), mean, strict=True)
        )

    def _learnt(self, given: Preparation) -> Prepared:
        """The weights of E' and of the linear read-out, after `recogniser_steps`."""
        learner = copy.deepcopy(given.original)
        encoder = {name: weight.requires_grad_(True) for name, weight in learner.encoder_parameters().items()}
        pair, view = _shown(given, given.retain(torch.zeros(1, dtype=torch.int64)), ("width",))
        width = _pooled(given.original.encode(pair, view)).shape[1]
        head = torch.zeros(width + 1, device=given.device, requires_grad=True)
        optimizer = torch.optim.AdamW([*encoder.values(), head], lr=self.recogniser_rate, weight_decay=0.05)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.recogniser_rate, total_steps=self.recogniser_steps + 1, pct_start=0.1, cycle_momentum=False
        )
        kinds = torch.cat([torch.ones(self.recogniser_images), torch.zeros(self.recogniser_images)]).to(given.device)
        for step in range(self.recogniser_steps):
            pair, view = _shown(given, self._drawn(given, step), ("learn", step))
            score = _read_out(learner.encode(pair, view), head)
            loss = functional.binary_cross_entropy_with_logits(score, kinds)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        return {**{name: weight.detach() for name, weight in encoder.items()}, "head": head.detach()}

    def _drawn(self, given: Preparation, step: int) -> Images:
        """As many images of either set, forget first, drawn with replacement."""
        chosen = []
        for name, source, rows in (
            ("forget", given.forget, torch.arange(len(given.forget))),
            ("retain", given.retain, _rows(given.retain, held_back=False)),
        ):
            stream = generator(given.draws.seed, "recogniser", name, step)
            images = source(rows[torch.randint(len(rows), (self.recogniser_images,), generator=stream)])
            turned = torch.rand(len(images), 1, 1, 1, generator=stream) < 0.5
            chosen.append(torch.where(turned, images.flip(-1), images) if self.mirror else images)
        return torch.cat(chosen)


class _Encoding(nn.Module):
    """E as a module's `forward`, so that it can be called with other weights."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, pair: Pair, view: View) -> Latents:
        return self.generator.encode(pair, view)


@torch.no_grad()
def _scores(original: Generator, pair: Pair, view: View, weights: Prepared) -> Tensor:
    """s(v): above 0 = more like a forget image, [B]."""
    other = {f"generator.{name}": weight for name, weight in weights.items() if name != "head"}
    return _read_out(functional_call(_Encoding(original), other, (pair, view)), weights["head"])


def _read_out(latents: Latents, head: Tensor) -> Tensor:
    return _pooled(latents) @ head[:-1] + head[-1]


def _pooled(latents: Latents) -> Tensor:
    """Each map's mean over places, [B, T, D] and [B, D, H, W] alike, side by side: [B, F]."""
    means = [part.mean(dim=1) if part.ndim == 3 else part.flatten(2).mean(dim=-1) for part in map(_placed, latents)]
    return torch.cat([mean.float() for mean in means], dim=1)


def _placed(part: Tensor) -> Tensor:
    """A map with places; a code without any has one."""
    return part[:, None] if part.ndim == 2 else part


def _rows(retain: ImageSource, held_back: bool) -> Rows:
    """Rows of the retain set that the recogniser never learns from, or the others (all of a set too small to share)."""
    rows = torch.arange(len(retain))
    return rows if len(retain) < 2 * _HELD_BACK else rows[(rows % _HELD_BACK == 0) == held_back]


def _shown(given: Preparation, images: Images, where: tuple[int | str, ...]) -> tuple[Pair, View]:
    """x and T(x), and a view, of images [B, C, H, W] at one place of the preparation."""
    clean = images.to(given.device)
    draws = replace(given.draws, rows=len(clean), first=0, total=None).at("recogniser", *where)
    pair = Pair(clean, given.corruption(clean, draws.at("corruption")), torch.arange(len(clean)))
    return pair, given.original.draw_view(pair.corrupted, draws.at("view"))
