"""Retain label, a baseline of Li et al., "Machine Unlearning for Image-to-Image Generative Models", ICLR 2024.

    min  E_r loss(T(x_r), x_r)  +  alpha E_f loss(T(x_f), x_r'),   x_r' another image, of the retain set

The student is shown the visible part of a forget image and taught that what a retain image has there was in the hole,
another retain image at every step. The released code teaches what the frozen original makes of other retain images of
the batch: squared error on its logits (MAGE), its predicted noise as the forget images' target, in the whole picture
(Palette). Both answer another question, with another hole (MAGE) or another x_t (Palette) than the student was asked;
ours is the family's own loss under the forget image's own hole and view, so that it means the same in every family.
The released MAGE code moreover gives the forget images no loss at all, by a sign error, and pulls the retain images to
each other; here the forget images are loud in the forget term only. The labels have nothing to do with what is
visible, so under a squared error the best answer is their mean: this forgets towards the mean picture of the retain
set. Moves the whole network (scope `all`); alpha is the merge's `forget_weight`, search 0.05 to 1.
"""

from __future__ import annotations

from typing import ClassVar

import torch

from unlearning.contracts import Generator, Method, Prepared
from unlearning.methods._joint import others, terms_of, view_of
from unlearning.randomness import Draws
from unlearning.types import Batch, Pair, Terms


class RetainLabel(Method, kind="retain_label"):
    """The forget images' own loss against a retain image's content, the retain images' own loss as it is."""

    uses_original: ClassVar[bool] = False
    forget_reads_retain: ClassVar[bool] = True

    def terms(self, student: Generator, original: Generator, batch: Batch, draws: Draws, prepared: Prepared) -> Terms:
        """One pass of the student over both sets."""
        forget = batch.forget
        # What is visible stays: a diffusion encoder is fed the clean picture too, and the label is meant for the hole.
        label = torch.where(forget.corrupted.missing, others(batch), forget.clean)
        taught = Pair(label, forget.corrupted, forget.rows)
        losses = student.loss(taught.joined(batch.retain), view_of(student, batch, draws))
        return terms_of(losses, batch)
