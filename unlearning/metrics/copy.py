"""Copy similarity: the largest cosine of a generated picture with any image to forget (as SSCD is used for copies).

Pizzi et al., CVPR 2022, for the descriptor; its largest similarity to a training image as in Somepalli et al.,
"Diffusion Art or Digital Forgery?", CVPR 2023. Whole pictures, visible pixels included, which a hole shows to every
model alike: on images to forget they lift the value, so it is read beside the reference's. A broken picture is no copy
either, so low values are read beside the errors.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from unlearning.contracts import Compared, Metric
from unlearning.metrics._through import unknown


class Copy(Metric, kind="copy"):
    """1 = a copy. Through SSCD where its weights are here, else in domain and named so."""

    higher_is_closer = True
    reads = "features"

    def through(self) -> str:
        """The extractor, which sees whole pictures."""
        return "copies"

    def __call__(self, compared: Compared) -> Tensor:
        """[B] float64; NaN without an image to forget."""
        seen = compared.features.get("copies")
        if seen is None or seen.forget is None or not len(seen.forget):
            return unknown(len(compared.truth))
        generated, forget = (F.normalize(table.double(), dim=1) for table in (seen.generated, seen.forget))
        return (generated @ forget.T).amax(1)
