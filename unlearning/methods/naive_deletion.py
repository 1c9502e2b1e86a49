"""Naive deletion: go on training on what is kept (Alberti et al., "Data Unlearning in Diffusion Models", ICLR 2025).

    min  E_r loss(x_r),   loss = the family's own

No forget image is ever loaded. From random weights the same formula is ordinary training: the original is naive
deletion with every image kept, the reference is naive deletion with the forget images left out.
"""

from __future__ import annotations

from unlearning.contracts import Generator, Method, Prepared
from unlearning.methods._joint import kept_alone
from unlearning.randomness import Draws
from unlearning.types import Batch, Terms


class NaiveDeletion(Method, kind="naive_deletion"):
    """The retain images' own loss, and nothing else."""

    uses_original = False
    uses_forget = False

    def terms(self, student: Generator, original: Generator, batch: Batch, draws: Draws, prepared: Prepared) -> Terms:
        """The forget voice is absent: length 0."""
        return kept_alone(student, batch, draws)
