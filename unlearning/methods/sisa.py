"""SISA, sharded, isolated, sliced, aggregated: Bourtoule et al., "Machine Unlearning", IEEE S&P 2021.

    theta_j  <-  A(D_j \\ F)   for every shard j with D_j & F nonempty, from its state before the first touched slice

No gradient is taken of what is forgotten: the touched members of a `sharded` generator go back to a state that never
saw it, and train on as they once did, without it. The result is, bit for bit on one machine, what training without
the forget set would have made. K requests that fall anywhere touch a share 1 - (1 - 1/S)^K of the members. The terms
are a member's own training loss; merge, scope and budget of `unlearn` are not read: the training that is repeated has
its own.
"""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from unlearning.abilities import Sharding
from unlearning.contracts import Generator, Method, Prepared
from unlearning.methods._joint import kept_alone
from unlearning.randomness import Draws
from unlearning.types import Batch, Terms


class Sisa(Method, kind="sisa"):
    """Retrain the touched shards of a `sharded` generator without the forget set: exact, and no parameters."""

    requires: ClassVar[type[nn.Module]] = Sharding
    uses_original = False
    uses_forget = False

    def terms(self, student: Generator, original: Generator, batch: Batch, draws: Draws, prepared: Prepared) -> Terms:
        """The own loss of what is kept, of a member or (Jensen's bound) of the mixture; no forget voice."""
        return kept_alone(student, batch, draws)
