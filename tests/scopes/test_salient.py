"""The salient scope against gradients worked out by hand; what it keeps still stays bit-identical."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import toys
from unlearning.contracts import Preparation, Prepared
from unlearning.corruptions.center_hole import CenterHole
from unlearning.errors import ParamsError
from unlearning.methods.max_loss import MaxLoss
from unlearning.params import Params
from unlearning.randomness import Draws
from unlearning.scopes.salient import Salient
from unlearning.training.step import Step
from unlearning.types import Pair
from unlearning.verbs import _kinds

HOLE = CenterHole()


def _prepared(scope: Salient, original: Any, forget: int = 70) -> Prepared:
    images = toys.Pictures("forget", forget)
    return scope.prepare(Preparation(original, images, images, HOLE, Draws(3, 8), torch.device("cpu")))


def _pull(original: Any, draws: int) -> dict[str, torch.Tensor]:
    """|gradient| of the mean loss over all 70 images and all draws, image by image."""
    model, clean = copy.deepcopy(original).requires_grad_(True), toys.pictures("forget", 70)
    losses = []
    for number in range(draws):
        for first, count in ((0, 64), (64, 6)):
            where = Draws(3, count, first=first, total=70).at("salient", number)
            some = clean[first : first + count]
            pair = Pair(some, HOLE(some, where.at("corruption")), torch.arange(count))
            losses.append(model.loss(pair, model.draw_view(pair.corrupted, where.at("view"))))
    gradients = torch.autograd.grad(torch.cat(losses).mean(), list(model.parameters()))
    return {name: part.abs() for (name, _), part in zip(model.named_parameters(), gradients, strict=True)}


@pytest.mark.parametrize("share", [0.05, 0.5, 1.0])
def test_the_largest_pulls_over_all_weights_are_chosen(share: float) -> None:
    original = toys.built(toys.ToyRecipe()).requires_grad_(False)
    mask, pull = _prepared(Salient(share=share, draws=2), original), _pull(original, draws=2)
    inside = torch.cat([pull[name][mask[name]] for name in pull])
    outside = torch.cat([pull[name][~mask[name]] for name in pull])
    count = sum(weight.numel() for weight in original.parameters())
    assert len(inside) == round(share * count)
    assert not len(outside) or inside.min() >= outside.max() - 1e-6
    assert all(weight.grad is None and not weight.requires_grad for weight in original.parameters())


def test_the_share_may_be_of_the_encoder() -> None:
    original = toys.built(toys.ToyRecipe())
    scope = Salient(share=0.25, within="encoder")
    mask = _prepared(scope, original)
    assert mask.keys() == scope.parameters(original).keys() == original.encoder_parameters().keys()
    assert int(mask["into.weight"].sum()) == round(0.25 * original.encoder_parameters()["into.weight"].numel())


def test_only_salient_weights_move_and_nearly_all_of_them() -> None:
    scope, recipe = Salient(share=0.3), toys.ToyRecipe()
    original = toys.built(recipe).requires_grad_(False)
    mask = _prepared(scope, original)
    run = toys.run(
        generator=recipe,
        method=MaxLoss(),
        scope=scope,
        corruption=HOLE,
        prepared_scope=mask,
        budget={"weight_decay": 0.0},
    )
    step = Step(run, toys.ALONE)
    for number in range(3):
        step(run.batches(number), number)
    for name, weight in run.student.named_parameters():
        moved = weight.detach() != original.state_dict()[name]
        assert not moved[~mask[name]].any()
        assert moved[mask[name]].all()


def test_a_decay_that_would_move_the_others_is_refused(repository: Path) -> None:
    chosen = {"unlearn.scope": {"kind": "salient"}, "unlearn.budget.weight_decay": 0.05}
    with pytest.raises(ParamsError, match=r"weight_decay: 0\.05 would move the weights that scope 'salient' keeps"):
        _kinds.check(Params.read(repository / "params.yaml", chosen))
    _kinds.check(Params.read(repository / "params.yaml", {**chosen, "unlearn.budget.weight_decay": 0.0}))
