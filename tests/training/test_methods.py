"""The methods' and merges' formulas against numbers worked out by hand."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from tests import toys
from unlearning.contracts import Preparation, Voice
from unlearning.corruptions.random_patches import RandomPatches
from unlearning.data.batches import Batches
from unlearning.merges.clipped_forget import ClippedForget
from unlearning.merges.weighted_sum import WeightedSum
from unlearning.methods.naive_deletion import NaiveDeletion
from unlearning.methods.noise_target import NoiseTarget
from unlearning.randomness import Draws
from unlearning.training.step import Step
from unlearning.types import Terms

STANDARD = {"mean": torch.tensor(0.0), "deviation": torch.tensor(1.0)}


def _linear() -> tuple[toys.ToyGenerator, toys.ToyGenerator]:
    student, original = (toys.built(toys.ToyRecipe(), seed) for seed in (1, 0))
    assert isinstance(student, toys.ToyGenerator)
    assert isinstance(original, toys.ToyGenerator)
    return student, original.requires_grad_(False)


def test_noise_target_is_the_formula_on_a_linear_encoder() -> None:
    """E(x) = W T(x): terms |a|^2 / D with a = W T(x) - W0 T(target); gradient 2 / (B D) sum a T(x)'."""
    (student, original), batch, draws = _linear(), toys.batch(), Draws(0, 4, where=(7,))
    terms = NoiseTarget(noise="standard").terms(student, original, batch, draws, STANDARD)
    noise = draws.at("noise").normal(1, toys.SIDE, toys.SIDE)
    hole = batch.forget.corrupted.missing
    x_f, x_r, n = (
        images.flatten(1)
        for images in (batch.forget.corrupted.images, batch.retain.corrupted.images, noise.masked_fill(hole, 0.0))
    )
    moved, fixed = student.into.weight.detach(), original.into.weight
    away_f, away_r = x_f @ moved.T - n @ fixed.T, x_r @ moved.T - x_r @ fixed.T
    torch.testing.assert_close(terms.forget.detach(), away_f.square().mean(dim=1))
    torch.testing.assert_close(terms.retain.detach(), away_r.square().mean(dim=1))
    for term, away, seen in ((terms.forget, away_f, x_f), (terms.retain, away_r, x_r)):
        (gradient,) = torch.autograd.grad(term.mean(), student.into.weight, retain_graph=True)
        torch.testing.assert_close(gradient, 2 * away.T @ seen / (4 * len(moved)))


def test_noise_target_sums_over_latent_maps() -> None:
    """As the released diffusion code: the mean of each map, summed over maps."""
    student, original = (toys.built(toys.ToyPyramidRecipe(), seed) for seed in (1, 0))
    batch, draws = toys.batch(), Draws(0, 4)
    terms = NoiseTarget(noise="standard").terms(student, original, batch, draws, STANDARD)
    view = student.draw_view(batch.retain.corrupted, draws.at("view", "retain"))
    maps = zip(student.encode(batch.retain, view), original.encode(batch.retain, view), strict=True)
    expected = sum((a - b).square().mean(dim=(1, 2, 3)) for a, b in maps)
    torch.testing.assert_close(terms.retain, expected)


def test_noise_has_the_statistics_of_the_forget_set() -> None:
    forget, retain = toys.Pictures("forget", 20), toys.Pictures("retain", 20)
    _, original = _linear()
    given = Preparation(original, forget, retain, RandomPatches(), Draws(0, 4), torch.device("cpu"))
    measured = NoiseTarget().prepare(given)
    torch.testing.assert_close(measured["mean"], forget.images.mean())
    torch.testing.assert_close(measured["deviation"], forget.images.std())
    assert NoiseTarget(noise="standard").prepare(given) == STANDARD


def test_without_forget_rows_nothing_moves() -> None:
    """Student = original, asked for the same rows: the loss is 0, and the student stays the original to the bit."""
    base = toys.run(merge=WeightedSum(forget_weight=0.0), budget={"weight_decay": 0.0})
    run = replace(base, batches=Batches(None, toys.Pictures("retain", 30), 8, base.budget.seed, 0, 8))
    before, step = copy.deepcopy(run.student.state_dict()), Step(run, toys.ALONE)
    for number in range(5):
        losses, norm = step(run.batches(number), number)
        assert losses["loss"] == losses["retain"] == norm == 0
    assert all(torch.equal(value, run.student.state_dict()[name]) for name, value in before.items())


def test_a_forget_term_without_weight_pulls_with_rounding_alone() -> None:
    """alpha = 0, student = original: the student's pass holds the forget rows too, and the original's does not.

    A matrix product of another height rounds its rows otherwise, so the encodings, LayerNorm's and thus of size 1,
    agree to a few epsilon, not to the bit. The loss is the square of that. The weights are put back after each step,
    because Adam makes a step of full length of any gradient, and would take rounding for a direction.
    """
    epsilon = torch.finfo(torch.float32).eps
    run = toys.run(merge=WeightedSum(forget_weight=0.0), budget={"weight_decay": 0.0})
    before, step = copy.deepcopy(run.student.state_dict()), Step(run, toys.ALONE)
    for number in range(5):
        losses, norm = step(run.batches(number), number)
        assert losses["loss"] == losses["retain"] <= (16 * epsilon) ** 2
        assert norm <= 64 * epsilon
        assert losses["forget"] > 0.1  # which would have pulled, had it any weight
        run.student.load_state_dict(before)


def test_each_voice_moves_the_student_its_own_way() -> None:
    run = toys.run(steps=60, budget={"weight_decay": 0.0, "learning_rate": 3e-3})
    step = Step(run, toys.ALONE)
    first, _ = step(run.batches(0), 0)
    for number in range(1, 60):
        last, _ = step(run.batches(number), number)
    assert last["forget"] < 0.7 * first["forget"]
    assert last["retain"] < last["forget"]


def test_naive_deletion_is_the_familys_own_loss() -> None:
    (student, original), batch, draws = _linear(), toys.batch(), Draws(0, 4)
    terms = NaiveDeletion().terms(student, original, replace(batch, forget=batch.forget), draws, {})
    view = student.draw_view(batch.retain.corrupted, draws.at("view", "retain"))
    assert torch.equal(terms.retain, student.loss(batch.retain, view))
    assert isinstance(terms, Terms)
    assert len(terms.forget) == 0


def test_weighted_sum_weighs() -> None:
    merge = WeightedSum(forget_weight=0.25, retain_weight=2.0)
    assert merge.loss(torch.tensor(4.0), torch.tensor(3.0)) == 7.0


@pytest.mark.parametrize("loud", [1e-6, 1.0, 1e6])
def test_clipped_forget_is_a_fixed_share_of_the_retain_gradient(loud: float) -> None:
    drawn = torch.Generator().manual_seed(0)
    forget = Voice(
        torch.tensor(1.0), [loud * torch.randn(3, 2, generator=drawn), loud * torch.randn(4, generator=drawn)]
    )
    retain = Voice(torch.tensor(1.0), [torch.randn(3, 2, generator=drawn), torch.randn(4, generator=drawn)])
    merged = ClippedForget(ratio=0.1).gradient(forget, retain)
    added = torch.cat([(m - r).flatten() for m, r in zip(merged, retain.gradient, strict=True)])
    direction = torch.cat([part.flatten() for part in forget.gradient])
    whole = torch.cat([part.flatten() for part in retain.gradient])
    torch.testing.assert_close(added.norm(), 0.1 * whole.norm(), rtol=1e-3, atol=0)
    torch.testing.assert_close(added / added.norm(), direction / direction.norm(), rtol=1e-2, atol=1e-4)
