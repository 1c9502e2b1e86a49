"""Randomness is a function of its place (seed, step, name), never of history: resuming needs no generator state.

The rows of a batch are numbered over all ranks, and every rank draws the whole batch and keeps its own rows. So two
processes see exactly what one process with the doubled batch sees.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor


def generator(seed: int, *where: int | str, device: str | torch.device = "cpu") -> torch.Generator:
    """A fresh stream for one place: `generator(seed, step, "view")`.

    >>> a, b = generator(0, 3, "view"), generator(0, 3, "view")
    >>> torch.equal(torch.rand(2, generator=a), torch.rand(2, generator=b))
    True
    """
    digest = hashlib.sha256(repr((seed, *where)).encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "big") >> 1)


@dataclass(frozen=True, slots=True)
class Draws:
    """The random numbers of one place, for the rows `first .. first + rows` of a batch of `total`.

    Asking twice gives the same numbers; two different draws need two different names:

    >>> draws = Draws(seed=0, rows=2)
    >>> torch.equal(draws.at("view").uniform(3), draws.at("view").uniform(3))
    True
    >>> whole = Draws(seed=0, rows=4).normal(3)
    >>> torch.equal(whole[2:], Draws(seed=0, rows=2, first=2, total=4).normal(3))
    True
    """

    seed: int
    rows: int
    first: int = 0
    total: int | None = None
    where: tuple[int | str, ...] = ()
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    picked: tuple[int, ...] | None = None  # which of these rows are asked for; None = all

    def only(self, rows: tuple[int, ...]) -> Draws:
        """The same numbers of some of the rows:

        >>> draws = Draws(seed=0, rows=4)
        >>> torch.equal(draws.normal(3)[[3, 1]], draws.only((3, 1)).normal(3))
        True
        """
        picked = rows if self.picked is None else tuple(self.picked[row] for row in rows)
        return replace(self, rows=len(rows), total=self.rows if self.total is None else self.total, picked=picked)

    def at(self, *where: int | str) -> Draws:
        """The draws of a place inside this one."""
        return replace(self, where=(*self.where, *where))

    def generator(self) -> torch.Generator:
        """The stream itself, for libraries that want one. Not split by rows."""
        return generator(self.seed, *self.where, device=self.device)

    def normal(self, *shape: int) -> Tensor:
        """N(0, 1), [rows, *shape] float32."""
        return self._mine(torch.randn(self._whole(shape), generator=self.generator(), device=self.device))

    def uniform(self, *shape: int) -> Tensor:
        """U[0, 1), [rows, *shape] float32."""
        return self._mine(torch.rand(self._whole(shape), generator=self.generator(), device=self.device))

    def integers(self, high: int, *shape: int) -> Tensor:
        """Uniform over 0 .. high - 1, [rows, *shape] int64."""
        whole = self._whole(shape)
        return self._mine(torch.randint(high, whole, generator=self.generator(), device=self.device))

    def _whole(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (self.rows if self.total is None else self.total, *shape)

    def _mine(self, whole: Tensor) -> Tensor:
        if self.picked is not None:
            return whole[[self.first + row for row in self.picked]]
        return whole[self.first : self.first + self.rows]
