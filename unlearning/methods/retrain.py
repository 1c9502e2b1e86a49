"""Retraining from random weights without what is deleted, the definition of deletion (Ginart et al., NeurIPS 2019).

    theta  <-  A(D \\ F),   F = every image that was ever forgotten under this model

The budget, seed and corruption are those of the original's training, so merge, scope and budget of `unlearn` are not
read, nor is the original. Where nothing was forgotten before this batch, it is the reference's training, bit for bit.
The terms are the family's own training loss.
"""

from __future__ import annotations

from unlearning.contracts import Generator, Method, Prepared
from unlearning.methods._joint import kept_alone
from unlearning.randomness import Draws
from unlearning.types import Batch, Terms


class Retrain(Method, kind="retrain"):
    """Train again from random weights without the forget set, and no parameters: as dear as the original."""

    uses_original = False
    uses_forget = False

    def terms(self, student: Generator, original: Generator, batch: Batch, draws: Draws, prepared: Prepared) -> Terms:
        """The own loss of what is kept; no forget voice."""
        return kept_alone(student, batch, draws)
