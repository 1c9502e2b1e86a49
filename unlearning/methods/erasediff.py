"""EraseDiff's forget term (Wu et al., "EraseDiff: Erasing Data Influence in Diffusion Models", 2024), without classes.

    min  E_r |e(x_t) - eps|^2  +  E_f |e(a_t) - u|^2,   u ~ U[0, 1] at every pixel

As Alberti et al. (ICLR 2025) have it for unconditional models; how the two are put together is the merge `erasediff`.
u is drawn anew each time, so the best answer is its mean, 1/2: on forget images the network is to say that the noise
is a grey, whatever it was. Unlike an ascent the term is bounded below, by u's variance, 1/12. Moves the whole network
(scope `all`).
"""

from __future__ import annotations

from unlearning.contracts import Generator, Prepared
from unlearning.methods._denoising import DenoisingMethod, kept_alone, taught
from unlearning.randomness import Draws
from unlearning.types import Batch, Terms


class EraseDiffTarget(DenoisingMethod, kind="erasediff"):
    """Uniform noise as the answer for noised forget images, the retain images' own loss as it is."""

    def terms(self, student: Generator, original: Generator, batch: Batch, draws: Draws, prepared: Prepared) -> Terms:
        """One pass over both sets."""
        if not len(batch.forget):
            return kept_alone(student, batch, draws)
        here = self.view_within(student, batch.forget, draws.at("view", "forget"))
        uniform = draws.at("target").uniform(*batch.forget.clean.shape[1:])
        return taught(student, batch, here, uniform, draws, self.low_pass)
