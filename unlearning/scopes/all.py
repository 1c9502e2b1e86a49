"""Every weight moves, encoder and decoder, as in ordinary training and in Alberti et al., ICLR 2025."""

from __future__ import annotations

from torch import nn

from unlearning.contracts import Generator, Scope


class All(Scope, kind="all"):
    """The weights of E and D."""

    def parameters(self, student: Generator) -> dict[str, nn.Parameter]:
        """All of them, by name, but those that the family itself holds fixed (a frozen tokenizer, say)."""
        return {name: weight for name, weight in student.named_parameters() if weight.requires_grad}
