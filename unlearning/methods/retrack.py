"""ReTrack (Shi et al., 2025, AISTATS 2026): lead noised forget images to the retain images nearest to them.

    min  E_r |e(x_t) - eps|^2  +  alpha E_f sum_r p_r |e(a_t) - v_r|^2
    a_t = gamma a + sigma eps,   v_r = (a_t - gamma r) / sigma,   p = softmax_r(-|v_r|^2 / 2)

r are the K nearest retain images of a, by distance of their pixels: what a model that never saw a would take a_t for,
cut off after K. Since p sums to 1,

    sum_r p_r |e - v_r|^2  =  |e - v|^2  +  (a spread that no weight moves),   v = (a_t - gamma sum_r p_r r) / sigma

and it is |e - v|^2 that is computed. The term is bounded below, and what it teaches is the denoising of other pictures.
Near duplicates of an image to forget would teach that image again: none that is as near as `duplicate` to any of them
is a neighbour. An image that comes mirrored is led to the same neighbours. Moves the whole network (scope `all`); alpha
is the merge's `forget_weight`: published are 0.005 to 0.02 beside a retain weight of 1.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from unlearning.contracts import Generator, ImageSource, Preparation, Prepared
from unlearning.errors import ParamsError
from unlearning.methods._denoising import DenoisingMethod, levels, signal, square, taught
from unlearning.methods._joint import kept_alone, spread
from unlearning.methods._replay import blank
from unlearning.randomness import Draws
from unlearning.types import Batch, Images, Pair, Rows, Terms

_ENCODED = 64  # neighbours encoded at once, where noise is added to latents
_WALKED = 2_048  # retain images looked at at once: memory, not the result, depends on it


class Retrack(DenoisingMethod, kind="retrack"):
    """The denoising of the nearest retain images as the answer for noised forget images."""

    neighbours: int = Field(10, ge=1, description="K, retain images that a forget image is led to; search 1 to 50")
    duplicate: float = Field(
        0.05,
        ge=0,
        description="root mean square of the pixels' difference, in [-1, 1], up to which two images are the same",
    )

    def prepare(self, given: Preparation) -> Prepared:
        """The pictures that are a neighbour of any, as noise is added to them, [U, c, h, w]; which, [F, K].

        Raises ParamsError if fewer than K retain images are no near duplicate of an image to forget.
        """
        super().prepare(given)
        nearest = self._nearest(given.forget, given.retain)
        rows, places = torch.unique(nearest, return_inverse=True)
        signals = [_signal(given, given.retain(some)) for some in rows.split(_ENCODED)]
        return {"pictures": torch.cat(signals), "places": places}

    def terms(self, student: Generator, original: Generator, batch: Batch, draws: Draws, prepared: Prepared) -> Terms:
        """One pass over both sets."""
        if not len(batch.forget):
            return kept_alone(student, batch, draws)
        here = self.view_within(student, batch.forget, draws.at("view", "forget"))
        led = towards(signal(student, batch.forget), batch.forget.rows, prepared, *levels(student, here[0]), here[1])
        return taught(student, batch, here, led, draws, self.low_pass)

    def _nearest(self, forget: ImageSource, retain: ImageSource) -> Tensor:
        """Rows of the retain set, nearest first, [F, K] int64. The retain images are walked once, a chunk at a time."""
        from sklearn.metrics import pairwise_distances_argmin_min  # takes seconds to import
        from sklearn.neighbors import NearestNeighbors

        sought = torch.cat([some.flatten(1) for some in spread(forget, len(forget))]).numpy()  # [F, D]
        least = self.duplicate * math.sqrt(sought.shape[1])
        nearest = np.full((len(sought), 0), math.inf)
        rows, seen = np.empty((len(sought), 0), dtype=np.int64), 0
        for some in spread(retain, len(retain), _WALKED):
            images = some.flatten(1).numpy()
            _, apart = pairwise_distances_argmin_min(images, sought)
            other = np.flatnonzero(apart > least)
            seen, first = seen + len(images), seen
            if not len(other):
                continue
            search = NearestNeighbors(n_neighbors=min(self.neighbours, len(other)), algorithm="brute")
            here = search.fit(images[other]).kneighbors(sought)
            nearest = np.concatenate([nearest, here[0]], axis=1)
            rows = np.concatenate([rows, first + other[here[1]]], axis=1)
            order = np.argsort(nearest, axis=1, kind="stable")[:, : self.neighbours]
            nearest, rows = np.take_along_axis(nearest, order, axis=1), np.take_along_axis(rows, order, axis=1)
        if rows.shape[1] < self.neighbours:
            raise ParamsError(
                f"unlearn.method: retrack leads to {self.neighbours} neighbours, and of {len(retain)} retain images "
                f"{rows.shape[1]} are no near duplicate of an image to forget; as many neighbours or fewer are right"
            )
        return torch.from_numpy(rows)


def towards(forget: Tensor, rows: Rows, prepared: Prepared, gamma: Tensor, sigma: Tensor, noise: Tensor) -> Tensor:
    """v, the noise in a_t if it came from the neighbours: [F, c, h, w]."""
    pictures = prepared["pictures"][prepared["places"][rows]]  # [F, K, c, h, w]
    away = gamma[:, None] * (forget[:, None] - pictures) / sigma[:, None] + noise[:, None]  # v_r
    nearness = -square(away.flatten(0, 1)).view(away.shape[:2]) / 2  # [F, K]
    share = torch.softmax(nearness, dim=1).view(*nearness.shape, 1, 1, 1)
    return (share * away).sum(dim=1)


@torch.no_grad()
def _signal(given: Preparation, pictures: Images) -> Tensor:
    """What noise is added to, of retain pictures [U, C, H, W]."""
    clean = pictures.to(given.device)
    return signal(given.original, Pair(clean, blank(clean), torch.arange(len(clean)))).cpu()
