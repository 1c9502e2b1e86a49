"""Cosine similarity of what a network sees in the truth and in the generated picture, on missing pixels alone.

Published for image-to-image unlearning as the CLIP embedding distance of whole pictures (Li et al., ICLR 2024), where
the visible pixels, which are pasted through, decide it; here those are grey on both sides.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from unlearning.contracts import Compared
from unlearning.metrics._through import Through, unknown


class Similarity(Through, kind="similarity"):
    """1 = seen alike. Through clip or dino where they are here; what else an extractor sees, the report names."""

    higher_is_closer = True

    def __call__(self, compared: Compared) -> Tensor:
        """[B] float64."""
        seen = self.seen(compared)
        if seen is None:
            return unknown(len(compared.truth))
        return F.cosine_similarity(seen.truth.double(), seen.generated.double(), dim=1)
