"""Relearning: Hu et al., "Unlearning or Obfuscating? Jogging the Memory of Unlearned LLMs ...", ICLR 2025.

Fine-tune on what an attacker has, with the generator's own training loss L, and see how soon the forgotten comes back:

    theta_t+1 = AdamW(theta_t, grad of the mean of L(x; theta_t)),  x from the retain images, or from k forget images
    forgetting(t) = forgetting of theta_t

What it reports: forgetting on images that were not among the k (the evaluation's held-out ones, where there are such).
`source: retain` teaches nothing of what was forgotten: what comes back was still in the weights. The retain images are
those of the batch's retain set, so where `retain.mode` is other_classes or other_dataset it is relearning on a proxy,
as by one who has no training image at all. `source: forget` teaches it to the reference, too, which has to learn it for
the first time; the signal is how much lower the target's curve runs.
Search: learning_rate 1e-4 to 3e-3, steps up to a tenth of the original's budget, images 1 to all of them.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import nn

from unlearning.attack import Attack, Curve, Ready, Scene
from unlearning.attacks._lessons import refuse_unless_rising
from unlearning.contracts import Generator, ImageSource
from unlearning.errors import ParamsError
from unlearning.randomness import generator
from unlearning.rules import Profile
from unlearning.types import Pair, Rows


class Relearn(Attack, kind="relearn"):
    """Fine-tunes the target on retain images, or on k forget images, with the generator's own loss."""

    tries = "fine-tune it, watch memories return"

    source: Literal["retain", "forget"] = Field("retain", description="the set that the attacker has images of")
    images: int | None = Field(None, ge=1, description="k, how many of them, evenly over the set; null = all")
    steps: tuple[int, ...] = Field(
        (0, 10, 30, 100),
        min_length=1,
        description="after how many steps it is measured, rising; the last is the budget",
    )
    batch_size: int = Field(32, ge=1, description="images a step, drawn with replacement")
    learning_rate: float = Field(3e-4, gt=0, description="of AdamW, constant; search 1e-4 to 3e-3")
    part: Literal["encoder", "decoder", "all"] = Field("all", description="the weights that the attacker trains")

    @model_validator(mode="after")
    def _rising(self) -> Self:
        refuse_unless_rising(self.steps)
        return self

    @classmethod
    def of_profile(cls, profile: Profile) -> tuple[Attack, ...]:
        """On retain images; an audit also trains one half alone, and hands over ten of the images to forget."""
        if profile == "quick":
            return (cls(steps=(0, 10, 30)),)
        whole = cls(steps=(0, 10, 30, 100))
        if profile == "standard":
            return (whole,)
        steps = (0, 10, 30, 100, 300)
        halves = (cls(steps=steps, part="encoder"), cls(steps=steps, part="decoder"))
        return (cls(steps=steps), *halves, cls(source="forget", images=10, steps=(0, 10, 30, 100)))

    def why_not(self, scene: Scene) -> str | None:
        """It needs an image to learn from."""
        return (
            None
            if len(scene.retain if self.source == "retain" else scene.forget)
            else f"the {self.source} set is empty"
        )

    def run(self, target: Generator, scene: Scene, ready: Ready) -> Curve:
        """A point for each of `steps`. Raises ParamsError if nothing can be trained.

        torch's global stream is as before.
        """
        learner, source = copy.deepcopy(target), (scene.retain if self.source == "retain" else scene.forget).images
        optimizer = torch.optim.AdamW(self._moving(learner), lr=self.learning_rate, weight_decay=0.0)
        done, found = 0, []
        with torch.random.fork_rng(devices=[scene.device] if scene.device.type == "cuda" else []):
            for steps in self.steps:
                for number in range(done, steps):
                    self._step(learner, optimizer, scene, source, number)
                done = steps
                found.append(scene.forgetting(learner.eval()))
        return Curve([float(steps) for steps in self.steps], found, "steps", teaches=self.source == "forget")

    def _step(
        self, learner: Generator, optimizer: torch.optim.Optimizer, scene: Scene, source: ImageSource, number: int
    ) -> None:
        learner.train()
        # A network's own dropout draws from torch's global stream; that, too, is made a function of its place.
        torch.manual_seed(generator(scene.draws.seed, *scene.draws.where, "network", number).initial_seed())
        rows = self._drawn(scene, source, number)
        clean = source(rows).to(scene.device)
        draws = replace(scene.draws, rows=len(rows), first=0, total=None, device=scene.device).at("relearn", number)
        pair = Pair(clean, scene.corruption(clean, draws.at("corruption")), rows)
        optimizer.zero_grad(set_to_none=True)
        loss = learner.loss(pair, learner.draw_view(pair.corrupted, draws.at("view"))).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    def _drawn(self, scene: Scene, source: ImageSource, number: int) -> Rows:
        """[B] int64, of the k rows that the attacker has."""
        count = min(len(source), self.images or len(source))
        stream = generator(scene.draws.seed, *scene.draws.where, "relearn", "rows", number)
        picked = torch.randint(count, (self.batch_size,), generator=stream)
        return picked * len(source) // count

    def _moving(self, learner: Generator) -> list[nn.Parameter]:
        """What trains; everything else of the learner is held still."""
        encoder = learner.encoder_parameters()
        moving = list(encoder.values())
        if self.part != "encoder":
            whole = {name: weight for name, weight in learner.named_parameters() if weight.requires_grad}
            moving = [weight for name, weight in whole.items() if self.part == "all" or name not in encoder]
        if not moving:
            raise ParamsError(f"attack 'relearn': part {self.part!r} leaves nothing to train in this generator")
        learner.requires_grad_(False)
        for weight in moving:
            weight.requires_grad_(True)
        return moving
