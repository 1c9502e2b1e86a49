"""Members side by side: one makes each picture, all of them say how well a picture is known.

    - log sum_j w_j p_j(x)  <=  sum_j w_j (- log p_j(x)),   w_j = n_j / n                                    (Jensen)

so where a member's loss bounds its own - log p_j, the weighted mean of the losses bounds the mixture's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from unlearning.abilities import Scoring, Sharding
from unlearning.contracts import Generator
from unlearning.randomness import Draws
from unlearning.types import Corrupted, Images, Latents, Pair, PerImage, View


class Sharded(Sharding):
    """A view is (member [B] int64, *the view that all members share)."""

    def __init__(self, members: Sequence[Generator]) -> None:
        super().__init__()
        self.shard = nn.ModuleList(members)
        self.register_buffer("images", torch.ones(len(members), dtype=torch.int64))

    def draw_view(self, corrupted: Corrupted, draws: Draws) -> View:
        """Which member, and a view as the first member draws it: all are of one recipe."""
        return (self.route(corrupted, draws), *self._member(0).draw_view(corrupted, draws))

    def route(self, corrupted: Corrupted, draws: Draws) -> Tensor:
        """Who makes each picture, [B] int64. What is visible names it; where nothing is, draws do, as n_j / n.

        The hash knows no count: a deletion sends no visible picture to another member.
        """
        images = corrupted.images
        bounds = self.images.double().cumsum(0)
        places = draws.at("shard").uniform().to(bounds) * bounds[-1]
        drawn = torch.searchsorted(bounds, places, right=True).clamp(max=len(bounds) - 1)
        told = ~corrupted.missing.flatten(1).all(1) | (images != 0).flatten(1).any(1)
        return torch.where(told, _hashed(images, len(bounds)).to(drawn.device), drawn)

    def encode(self, pair: Pair, view: View) -> Latents:
        """Each image by its own member."""
        chosen, *shared = view
        parts, order = list[Latents](), list[Tensor]()
        for number, rows in self._parts(chosen):
            part = Pair(pair.clean[rows], _some(pair.corrupted, rows), pair.rows[rows.to(pair.rows.device)])
            parts.append(self._member(number).encode(part, tuple(each[rows] for each in shared)))
            order.append(rows)
        back = torch.cat(order).argsort()
        return tuple(torch.cat(levels)[back] for levels in zip(*parts, strict=True))

    def loss(self, pair: Pair, view: View) -> PerImage:
        """sum_j n_j / n loss_j, a bound of the mixture's (see above): [B]. One pass a member."""
        losses = [self._member(number).loss(pair, view[1:]) for number in range(len(self.shard))]
        return self._weighted(losses)

    @torch.no_grad()
    def reconstruct(self, corrupted: Corrupted, draws: Draws) -> Images:
        """Each picture by one member, so that S members cost what one does. A row's draws stay its own."""
        made = torch.empty_like(corrupted.images)
        for number, rows in self._parts(self.route(corrupted, draws)):
            made[rows] = self._member(number).reconstruct(_some(corrupted, rows), draws.only(tuple(rows.tolist())))
        return made

    def encoder_parameters(self) -> dict[str, nn.Parameter]:
        """Those of every member."""
        return {
            f"shard.{number}.{name}": weight
            for number in range(len(self.shard))
            for name, weight in self._member(number).encoder_parameters().items()
        }

    def _member(self, number: int) -> Generator:
        member = self.shard[number]
        assert isinstance(member, Generator), "shards hold generators"
        return member

    def _parts(self, chosen: Tensor) -> list[tuple[int, Tensor]]:
        """(member, its rows [K] int64) of every member that is chosen; of an empty batch, none of the first's."""
        parts = [(number, (chosen == number).nonzero()[:, 0]) for number in range(len(self.shard))]
        return [part for part in parts if len(part[1])] or parts[:1]

    def _weighted(self, values: Sequence[Tensor]) -> Tensor:
        weights = (self.images.double() / self.images.sum()).to(values[0].dtype)
        return torch.stack(list(values), dim=-1) @ weights


class ShardedScoring(Sharded, Scoring):
    """Of members that score a whole picture."""

    def surprise(self, pair: Pair, draws: Draws) -> PerImage:
        """sum_j n_j / n of what the members say, a bound of the mixture's where theirs bound their own: [B]."""
        return self._weighted([self._scoring(number).surprise(pair, draws) for number in range(len(self.shard))])

    def surprise_of_nothing(self, pair: Pair, draws: Draws, mean: Images, variance: Images) -> PerImage:
        """As any member has it: no weight has a say in it."""
        return self._scoring(0).surprise_of_nothing(pair, draws, mean, variance)

    def _scoring(self, number: int) -> Scoring:
        member = self.shard[number]
        assert isinstance(member, Scoring), "members of one recipe have the same abilities"
        return member


def of_members(members: Sequence[Generator]) -> Sharded:
    """A mixture of them, every member with one image until somebody counts."""
    return (ShardedScoring if isinstance(members[0], Scoring) else Sharded)(members)


def _some(corrupted: Corrupted, rows: Tensor) -> Corrupted:
    return replace(corrupted, images=corrupted.images[rows], missing=corrupted.missing[rows])


def _hashed(images: Images, members: int) -> Tensor:
    """[B] int64: sha256 of each picture in 8 bits a channel, the same on every machine, modulo the members."""
    content = ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
    named = [int.from_bytes(hashlib.sha256(picture.tobytes()).digest()[:8], "big") % members for picture in content]
    return torch.tensor(named, dtype=torch.int64)
