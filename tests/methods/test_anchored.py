"""Anchored ascent: its formula, its precisions worked out by hand, and what a step of it does to both losses."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests import toys
from tests.methods.toy_denoiser import ToyDenoiser, points
from unlearning.contracts import Preparation, Prepared
from unlearning.corruptions.everything import Everything
from unlearning.errors import ParamsError
from unlearning.generators.ddpm import DdpmRecipe
from unlearning.log import silent
from unlearning.merges.weighted_sum import WeightedSum
from unlearning.methods._anchor import balanced, fisher, pull
from unlearning.methods.anchored_ascent import AnchoredAscent
from unlearning.randomness import Draws
from unlearning.scopes.all import All
from unlearning.training.loop import train
from unlearning.types import Batch

DRAWS = Draws(0, 4, where=(7,))


def _moved(original: Any, by: float = 0.1) -> Any:
    student = copy.deepcopy(original).requires_grad_(True)
    with torch.no_grad():
        for weight in student.parameters():
            weight += by
    return student


def _prepared(method: AnchoredAscent, original: Any, **given: Any) -> Prepared:
    forget = toys.Pictures("forget", 6)
    return method.prepare(Preparation(original, forget, forget, Everything(), DRAWS, torch.device("cpu"), **given))


def test_it_is_the_formula_and_says_nothing_of_retain_images() -> None:
    original = toys.built(toys.ToyRecipe()).requires_grad_(False)
    student, shown = _moved(original), toys.batch()
    empty = replace(shown.retain, clean=shown.retain.clean[:0], rows=shown.retain.rows[:0])
    terms = AnchoredAscent(gamma=0.75).terms(student, original, Batch(shown.forget, empty), DRAWS, {})
    own = student.loss(shown.forget, student.draw_view(shown.forget.corrupted, DRAWS.at("view", "forget")))
    torch.testing.assert_close(terms.forget, -0.25 * own)
    count = sum(weight.numel() for weight in original.parameters())
    torch.testing.assert_close(terms.retain, torch.full((4,), 0.75 * count * 0.1**2 / 2))


def test_a_weight_is_held_by_its_precision() -> None:
    original = toys.built(toys.ToyRecipe()).requires_grad_(False)
    student = _moved(original)
    sizes = {name: weight.numel() for name, weight in original.named_parameters()}
    precision = {"precision/into.weight": torch.full_like(student.into.weight, 3.0)}
    held = (3 * sizes["into.weight"] + sizes["out.weight"]) * 0.1**2 / 2
    torch.testing.assert_close(pull(student, original, precision), torch.tensor(held))
    student.out.requires_grad_(False)  # out of scope: it does not move, so it is not counted
    torch.testing.assert_close(pull(student, original, precision), torch.tensor(3 * sizes["into.weight"] * 0.1**2 / 2))


def test_the_fisher_information_of_a_linear_denoiser_is_the_residual_times_what_it_reads() -> None:
    """loss = |A m + b - eps|^2 / 2 over two pixels, r = A m + b - eps: dL/db = r, dL/dA = r m'."""
    original, pictures = ToyDenoiser(0.9, 0.4), torch.randn(5, 1, 1, 2, generator=torch.Generator().manual_seed(0))
    given = Preparation(original, toys.Pictures("f", 1), toys.Pictures("r", 1), Everything(), DRAWS, DRAWS.device)
    found, by_hand = fisher(given, pictures, views=2), {"weight": torch.zeros(2, 2), "bias": torch.zeros(2)}
    for number, picture in enumerate(pictures):
        for view in range(2):
            draws = Draws(0, 1, where=(7, "fisher", number, view))
            timestep, noise = original.draw_view(points(picture[None]).corrupted, draws.at("view"))
            kept = original.abar[timestep]
            read = (kept.sqrt() * picture + (1 - kept).sqrt() * noise).flatten()
            residual = original.linear(read) - noise.flatten()
            by_hand["bias"] += residual.square().detach() / 10
            by_hand["weight"] += torch.outer(residual, read).square().detach() / 10
    for name, wanted in by_hand.items():
        torch.testing.assert_close(found[f"linear.{name}"], wanted)


def test_precisions_have_a_mean_of_one_and_the_order_of_what_they_are_made_of() -> None:
    raw = {"a": torch.tensor([1.0, 2.0, 3.0]), "b": torch.tensor([[0.0, 4.0]])}
    straight, inverse = balanced(raw, 0.1, lambda part: part), balanced(raw, 0.1, lambda part: 1 / part)
    shifted = torch.tensor([0.6, 1.1, 1.6, 0.1, 2.1])  # over their mean of 2, and a tenth
    for found, wanted in ((straight, shifted), (inverse, 1 / shifted)):
        flat = torch.cat([found[f"precision/{name}"].flatten() for name in raw])
        torch.testing.assert_close(flat, wanted / wanted.mean())
    still = balanced({"a": torch.zeros(3)}, 0.1, lambda part: 1 / part)
    assert torch.equal(still["precision/a"], torch.ones(3))


def test_the_spread_is_that_of_the_snapshots_and_is_asked_for_in_one_sentence() -> None:
    original, method = toys.built(toys.ToyRecipe()).requires_grad_(False), AnchoredAscent(anchor="spread")
    spread = {name: torch.ones_like(weight) for name, weight in original.named_parameters()}
    spread["into.weight"][0] = 4.0
    found = _prepared(method, original, spread=spread)
    assert (found["precision/into.weight"][0] < found["precision/into.weight"][1]).all()
    with pytest.raises(ParamsError, match=r"this original has no snapshots; train it with original\.snapshots 8"):
        _prepared(method, original)


def test_weights_that_the_original_has_not_are_refused() -> None:
    original = toys.built(toys.ToyRecipe()).requires_grad_(False)
    student = _moved(original)
    student.added = nn.Linear(1, 1)
    with pytest.raises(ParamsError, match=r"2 weights move that the original has not \(added\.bias\)"):
        AnchoredAscent().terms(student, original, toys.batch(), DRAWS, {})


def _after(gamma: float, anchor: Any, tmp_path: Any, steps: int = 12) -> tuple[float, float, float]:
    """How much the forget loss and the loss of other pictures rose, and how far the weights went."""
    recipe, method = DdpmRecipe(**toys.SMALLEST["ddpm"]), AnchoredAscent(gamma=gamma, anchor=anchor, drawn=8)
    original = toys.built(recipe).eval().requires_grad_(False)
    run = toys.run(
        generator=recipe,
        method=method,
        merge=WeightedSum(forget_weight=1.0),
        scope=All(),
        corruption=Everything(),
        steps=steps,
        budget={"weight_decay": 0.0, "learning_rate": 3e-3},
        prepared_method=_prepared(method, original),
    )
    train(run, toys.ALONE, tmp_path / f"{anchor}-{gamma}", silent)

    def loss(generator: Any, name: str) -> Tensor:
        pair, where = toys.pair(name, 16, corruption=Everything()), Draws(5, 16)
        with torch.no_grad():
            mean: Tensor = generator.loss(pair, generator.draw_view(pair.corrupted, where)).mean()
        return mean

    went = pull(run.student, original, {}).detach()
    return *(float(loss(run.student, name) - loss(original, name)) for name in ("forget", "retain")), float(went)


@pytest.mark.parametrize("anchor", ["l2", "fisher"])
def test_the_forget_loss_climbs_and_the_anchor_says_how_far(anchor: Any, tmp_path: Any) -> None:
    """The sign that published code gets wrong: forgetting rises. Less of it, and of everything, under more gamma."""
    free, held = _after(0.01, anchor, tmp_path), _after(0.999, anchor, tmp_path)
    assert free[0] > held[0] > 0
    assert free[2] > 4 * held[2] > 0
    assert abs(held[1]) < abs(free[1])
