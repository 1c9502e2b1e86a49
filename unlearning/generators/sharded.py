"""Shards of a generator: SISA of Bourtoule et al., "Machine Unlearning", IEEE S&P 2021, for models that draw pictures.

    p(x) = sum_j n_j / n  p_j(x),   p_j trained on the n_j images of shard j alone

Each of `shards` members is a whole generator that has seen the images of its own shard and no other's, so a deletion
concerns the members whose images it covers. A picture is made by one member: a picture drawn from nothing by member j
with probability n_j / n, a picture with a hole by the member that a hash of its visible content names.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal

import torch
from pydantic import Field, field_validator

from unlearning.abilities import Sharding
from unlearning.contracts import Generator, GeneratorRecipe, Published
from unlearning.errors import CheckpointError
from unlearning.generators._low_rank import adapt
from unlearning.recipe import Choice


class ShardedRecipe(GeneratorRecipe, kind="sharded"):
    """Members of one recipe, each trained on a shard of the images; deletion retrains the touched ones (SISA)."""

    abilities: ClassVar[tuple[type[Generator], ...]] = (Sharding,)

    of: Choice = Field(description="the generator that each member is, by kind, with its fields")
    shards: int = Field(4, ge=2, le=1024, description="S members; a request retrains 1/S of the model, inference is 1x")
    slices: int = Field(
        3, ge=1, le=64, description="R periods of a member's training; each reads one more slice, its state is kept"
    )
    by: Literal["subject", "image", "class"] = Field(
        "subject", description="what stays together in one slice of one shard; images without it go by their pixels"
    )
    seed: int = Field(0, description="of the hash that names an image's shard and slice")
    adapters: int = Field(
        0,
        ge=0,
        le=256,
        description="rank; a member is then low-rank factors over the backbone that model.weights names, which nobody "
        "may ask to forget; 0 = a member is a whole generator; published: 1 to 64",
    )

    @field_validator("of")
    @classmethod
    def _known(cls, of: Choice) -> Choice:
        """Written out with every default, so that two spellings of one recipe are one."""
        if of.kind == "sharded":
            raise ValueError("a member is one network, so it cannot be 'sharded' again")
        return Choice.model_validate(GeneratorRecipe.chosen(of, "generator.of").model_dump(mode="json"))

    def part(self) -> GeneratorRecipe:
        """The recipe of a member."""
        return GeneratorRecipe.chosen(self.of, "generator.of")

    def build(self, image_size: int, channels: int) -> Generator:
        """Random weights from torch's global seed, member after member. Raises ParamsError if the sizes do not fit."""
        from unlearning.generators._sharded import of_members

        return of_members([self.member(image_size, channels) for _ in range(self.shards)])

    def member(self, image_size: int, channels: int) -> Generator:
        """One of them."""
        return self._adapted(self.part().build(image_size, channels))

    def build_from(self, path: Path, image_size: int, channels: int) -> Published:
        """One member around what is published: its buffers, which with adapters are the whole backbone.

        Weights that train are random, whatever the file holds. Raises as the member's own family does.
        """
        found = self.part().build_from(path, image_size, channels)
        if self.adapters and not found.whole:
            raise CheckpointError(
                f"{path.name}: holds a part of generator {self.of.kind!r}, and adapters stand over the whole of one; "
                f"name a whole one, or set generator.adapters to 0"
            )
        with torch.random.fork_rng(devices=[]):
            return replace(found, generator=self._adapted(found.generator), whole=False)

    def _adapted(self, member: Generator) -> Generator:
        return adapt(member, self.adapters) if self.adapters else member
