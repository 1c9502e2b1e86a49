"""What attacks that train something share: a rising list of steps, rows drawn by place, and the training itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Self, TypeVar

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from unlearning.attack import Attack, Group, Scene
from unlearning.randomness import Draws, generator
from unlearning.rules import Profile
from unlearning.types import Images, Rows

Network = TypeVar("Network", bound=nn.Module)

_MOST_STEPS = 10_000  # an attack is cheap by definition: more is training anew


def refuse_unless_rising(steps: Sequence[int]) -> None:
    """Raises ValueError if they are not numbers that rise from 0 at least."""
    if list(steps) != sorted(set(steps)) or steps[0] < 0 or steps[-1] > _MOST_STEPS:
        raise ValueError(f"steps are {list(steps)}: rising numbers from 0 to {_MOST_STEPS} are right")


class Taught(Attack):
    """An attack that trains a small network of its own, on retain images; made in an audit alone."""

    needs_hole = True

    steps: tuple[int, ...] = Field(
        (0, 100, 300), min_length=2, description="after how many it is measured, rising from 0, the target as it is"
    )
    batch_size: int = Field(32, ge=1, description="pictures a step, drawn with replacement")
    learning_rate: float = Field(2e-3, gt=0, description="of AdamW, constant; search 5e-4 to 4e-3")
    width: int = Field(64, ge=4, multiple_of=4, description="channels of the network; search 32 to 256")
    depth: int = Field(2, ge=1, le=12, description="its transformer blocks")

    @model_validator(mode="after")
    def _rising(self) -> Self:
        refuse_unless_rising(self.steps)
        if self.steps[0]:
            raise ValueError("steps begin with 0, which is the target as it is")
        return self

    @classmethod
    def of_profile(cls, profile: Profile) -> tuple[Attack, ...]:
        """In an audit alone: it trains a network."""
        return (cls(),) if profile == "audit" else ()

    def why_not(self, scene: Scene) -> str | None:
        """It needs an image to learn from."""
        return None if len(scene.retain) else "the retain set is empty"


def rows(scene: Scene, count: int, batch_size: int, number: int) -> Rows:
    """[B] int64 below `count`, with replacement: those of step `number`."""
    stream = generator(scene.draws.seed, *scene.draws.where, "rows", number)
    return torch.randint(count, (batch_size,), generator=stream)


def evenly(count: int, most: int) -> Rows:
    """[min(count, most)] int64 rows, evenly over `count`: a set sorted by class is no bias."""
    picked = min(count, most)
    return torch.arange(picked) * count // max(picked, 1)


def draws_of(scene: Scene, count: int, *where: int | str) -> Draws:
    """The random numbers of `count` rows at a place of this attack."""
    return replace(scene.draws, rows=count, first=0, total=None, picked=None, device=scene.device).at(*where)


def built(scene: Scene, build: Callable[[], Network]) -> Network:
    """A network with random weights that are a function of this attack's place; torch's stream is as before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator(scene.draws.seed, *scene.draws.where, "network").initial_seed())
        return build().to(scene.device)


def taught(
    network: nn.Module, lesson: Callable[[int], Tensor], steps: Sequence[int], learning_rate: float
) -> Iterator[int]:
    """Trains in place with AdamW on `lesson(number)`, a mean loss []; stops to be looked at after each of `steps`."""
    optimizer, done = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=0.0), 0
    for stop in steps:
        for number in range(done, stop):
            optimizer.zero_grad(set_to_none=True)
            lesson(number).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        done = stop
        yield stop


def mean_picture(group: Group, most: int = 1_024, at_once: int = 256) -> Images:
    """[1, C, H, W]: the mean of at most `most` images, evenly over the group."""
    parts = torch.split(evenly(len(group), most), at_once)
    sums = torch.stack([group.images(part).double().sum(0, keepdim=True) for part in parts])
    return (sums.sum(0) / sum(len(part) for part in parts)).float()
