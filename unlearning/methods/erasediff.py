"""EraseDiff's forget term (Wu et al., "EraseDiff: Erasing Data Influence in Diffusion Models", 2024), without classes.

    min  E_r |e(x_t) - eps|^2  +  E_f |e(a_t) - u|^2,   u ~ U[0, 1] at every pixel

As Alberti et al. (ICLR 2025) have it for unconditional models; how the two are put together is the merge `erasediff`.
u is drawn anew each time, so the best answer is its mean, 1/2: on forget images the network is to say that the noise
is a grey, whatever it was. Unlike an ascent the term is bounded below, by u's variance, 1/12. Moves the whole network
(scope `all`).

Wu et al. themselves have two levels (BOME; Liu et al., NeurIPS 2022): keep E_r low among the minimizers of the forget
loss f, that is subject to q = 0, where

    q(theta) = f(theta) - f(phi_K),   phi_0 = theta,   phi_{k+1} = phi_k - rate grad f(phi_k),   phi_K a constant

is what K inner steps would still gain. With `inner_steps` K above 0 the forget term is q. Its gradient is that of f, so
a merge that hears gradients alone (`erasediff`, as in the released code) does the same with K as without: all that the
inner steps tell is how much is left. The merge that hears it is `dynamic_barrier` with epsilon 0, BOME's own step:
forgetting ends where nothing is left to gain. Each chunk of a batch, and each process, takes inner steps of its own.
"""

from __future__ import annotations

import copy

import torch
from pydantic import Field

from unlearning.contracts import Generator, Prepared
from unlearning.methods._denoising import (
    DenoisingMethod,
    coarse_error,
    holes,
    levels,
    predicted,
    signal,
    taught,
)
from unlearning.methods._joint import kept_alone
from unlearning.randomness import Draws
from unlearning.types import Batch, Images, Pair, PerImage, Terms, View


class EraseDiffTarget(DenoisingMethod, kind="erasediff"):
    """Uniform noise as the answer for noised forget images, the retain images' own loss as it is."""

    inner_steps: int = Field(
        0, ge=0, le=1_000, description="K of the two levels, 0 = one; published: 2 epochs; a step costs K more; 1 to 5"
    )
    inner_rate: float = Field(0.01, gt=0, description="of the inner gradient steps, plain ones; search 1e-4 to 0.1")

    def terms(self, student: Generator, original: Generator, batch: Batch, draws: Draws, prepared: Prepared) -> Terms:
        """One pass over both sets; with inner steps, K + 1 more over the forget images."""
        if not len(batch.forget):
            return kept_alone(student, batch, draws)
        here = self.view_within(student, batch.forget, draws.at("view", "forget"))
        uniform = draws.at("target").uniform(*here[1].shape[1:])
        terms = taught(student, batch, here, uniform, draws, self.low_pass)
        if not self.inner_steps:
            return terms
        return Terms(
            forget=terms.forget - self._within_reach(student, batch.forget, here, uniform), retain=terms.retain
        )

    def _within_reach(self, student: Generator, forget: Pair, here: View, uniform: Images) -> PerImage:
        """f(phi_K), [F], without a gradient. The student stays as it is: a copy takes the steps."""
        inner = copy.deepcopy(student)
        weights = [weight for weight in inner.parameters() if weight.requires_grad]
        for _ in range(self.inner_steps):
            loss = self._own(inner, forget, here, uniform).mean()
            slopes = torch.autograd.grad(loss, weights, allow_unused=True)
            with torch.no_grad():
                for weight, slope in zip(weights, slopes, strict=True):
                    if slope is not None:
                        weight.sub_(self.inner_rate * slope)
        with torch.no_grad():
            return self._own(inner, forget, here, uniform)

    def _own(self, model: Generator, forget: Pair, here: View, uniform: Images) -> PerImage:
        """f of each forget image, [F]."""
        timestep, noise = here
        gamma, sigma = levels(model, timestep)
        found = predicted(model, gamma * signal(model, forget) + sigma * noise, timestep)
        return coarse_error(found, uniform, holes(model, forget), self.low_pass)
