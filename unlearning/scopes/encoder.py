"""Only the encoder moves; the decoder stays bit-identical (Li et al., ICLR 2024, Theorem 1 needs the same decoder)."""

from __future__ import annotations

from torch import nn

from unlearning.contracts import Generator, Scope


class Encoder(Scope, kind="encoder"):
    """The weights of E."""

    def parameters(self, student: Generator) -> dict[str, nn.Parameter]:
        """What the family says its encoder is."""
        return student.encoder_parameters()
