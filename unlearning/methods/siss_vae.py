"""SISS for VAEs: Alberti et al., ICLR 2025, on latents, after Dini and Jafari, arXiv 2512.01054, 2025 (l a constant).

    min  E_{x, a, z ~ q_l}  w_x (rec_x(z) + beta KL_x)  -  c w_a (rec_a(z) + beta KL_a)
    q_l(z) = (1 - l) q(z|x) + l q(z|a),   w_x = q(z|x) / q_l(z),   w_a = q(z|a) / q_l(z)

x is kept, a is to be forgotten, q the posterior, rec_x(z) = -log p(x | z, T(x)). z is drawn of one of the two and both
pictures are explained from it. In expectation it is the two-pass form, `max_loss`: the ELBO's loss of x, less c times
that of a. With

    D = log q(z|a) - log q(z|x),   L = log(l / (1 - l))
    w_x = sigmoid(-(D + L)) / (1 - l),   w_a = sigmoid(D + L) / l

nothing overflows, 0 <= w_x <= 1 / (1 - l), 0 <= w_a <= 1 / l, and (1 - l) w_x + l w_a = 1. Where the posteriors do
not overlap, which is nearly everywhere in more than a few latents that say something, the weights are a coin, as in
diffusion, and the decoder is not asked for what is not heard.

No gradient goes through the weights, nor through how z was drawn: each term takes z as the draw of its own posterior
that it would have been, z = mean + deviation stop((z - mean) / deviation). That is the reparametrised gradient of the
two-pass form, importance-sampled, so it is unbiased for every l, and neither picture moves the other's posterior.
Gradients through the draw itself would push q(z|x) to where a is explained worse, and are biased where both overlap.

The forget term has no lower bound: c is the merge's (`clipped_forget`; `weighted_sum` for a constant one), and steps
are few. Moves the whole network (scope `all`). The retain set must not hold what is forgotten, nor its near duplicates.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import ClassVar, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from unlearning.abilities import Posterior, Variational
from unlearning.contracts import Generator, Method, Prepared
from unlearning.methods._joint import kept_alone
from unlearning.randomness import Draws
from unlearning.types import Batch, Pair, PerImage, Terms

_SILENT = float(torch.finfo(torch.float32).eps)  # a weight below this is lost in the rounding of the others


class SissVae(Method, kind="siss_vae"):
    """Descent on the ELBO's loss of what is kept and ascent on that of what is forgotten, both at one latent."""

    requires: ClassVar[type[nn.Module]] = Variational
    uses_original: ClassVar[bool] = False
    forget_reads_retain: ClassVar[bool] = True
    retain_reads_forget: ClassVar[bool] = True

    mixture: float = Field(
        0.5, gt=0, lt=1, description="l, how often z is of a forget image; to 0: naive deletion, to 1: NegGrad"
    )
    encoder_forgets: bool = Field(
        True,
        description="false: the forget term moves the decoder alone; an encoder that finds no z any more hides an "
        "image that the decoder may still draw",
    )

    def terms(self, student: Generator, original: Generator, batch: Batch, draws: Draws, prepared: Prepared) -> Terms:
        """One pass of the encoder over both sets; the decoder, of each set, where it is heard."""
        if not len(batch.forget):
            return kept_alone(student, batch, draws)
        forget, retain = batch.forget, batch.retain
        both = cast(Variational, student).posterior(forget.joined(retain))
        of_forget, of_retain = both[: len(forget)], both[len(forget) :]
        (noise,) = student.draw_view(forget.corrupted, draws.at("view", "forget"))
        with torch.no_grad():
            chosen = (draws.at("mixture").uniform() < self.mixture).view(-1, 1, 1, 1)
            latent = torch.where(chosen, of_forget.at(noise), of_retain.at(noise))
            for_retain, for_forget = weights(latent, of_retain, of_forget, self.mixture)
        if not self.encoder_forgets:
            of_forget = of_forget.detached()
        return Terms(
            forget=-_heard(student, forget, of_forget, latent, for_forget),
            retain=_heard(student, retain, of_retain, latent, for_retain),
        )


def weights(latent: Tensor, retain: Posterior, forget: Posterior, mixture: float) -> tuple[PerImage, PerImage]:
    """w_x and w_a of z [B, K, h, w], [B] each."""
    exponent = forget.log_density(latent) - retain.log_density(latent) + math.log(mixture / (1 - mixture))
    return torch.sigmoid(-exponent) / (1 - mixture), torch.sigmoid(exponent) / mixture


def _heard(student: Generator, pair: Pair, posterior: Posterior, latent: Tensor, weight: PerImage) -> PerImage:
    """w (rec(z) + beta KL), 0 where w is: [B]."""
    some = weight > _SILENT
    silent = weight.new_zeros(len(weight))
    if not bool(some.any()):
        return silent
    seen = replace(pair.corrupted, images=pair.corrupted.images[some], missing=pair.corrupted.missing[some])
    own = posterior[some]
    bound = cast(Variational, student).bound(
        Pair(pair.clean[some], seen, pair.rows[some]), own, own.through(latent[some])
    )
    return silent.index_put((some,), weight[some] * bound)
