"""The baselines' and the mean target's formulas against numbers worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests import toys
from unlearning.contracts import Method, Preparation, Prepared
from unlearning.corruptions.center_hole import CenterHole
from unlearning.corruptions.random_patches import RandomPatches
from unlearning.generators.mae import MaeRecipe
from unlearning.methods.ascent_repair import AscentRepair
from unlearning.methods.max_loss import MaxLoss
from unlearning.methods.mean_code import MeanCode
from unlearning.methods.mean_target import MeanTarget
from unlearning.methods.noisy_label import NoisyLabel
from unlearning.methods.output_target import OutputTarget
from unlearning.methods.random_encoder import RandomEncoder
from unlearning.methods.retain_label import RetainLabel
from unlearning.randomness import Draws
from unlearning.types import Batch, Corrupted, Pair

DRAWS = Draws(0, 4, where=(7,))
BASELINES: list[Method] = [MaxLoss(), NoisyLabel(), RandomEncoder(), MeanTarget()]
BASELINES += [AscentRepair(), MeanCode(), OutputTarget(), RetainLabel()]


def _linear() -> tuple[toys.ToyGenerator, toys.ToyGenerator]:
    student, original = (toys.built(toys.ToyRecipe(), seed) for seed in (1, 0))
    assert isinstance(student, toys.ToyGenerator)
    assert isinstance(original, toys.ToyGenerator)
    return student, original.requires_grad_(False)


def _prepared(method: Method, original: toys.ToyGenerator, retain: int = 20) -> Prepared:
    forget, kept = toys.Pictures("forget", 20), toys.Pictures("retain", retain)
    return method.prepare(Preparation(original, forget, kept, RandomPatches(), Draws(0, 4), torch.device("cpu")))


def _own(student: toys.ToyGenerator, pair: Pair, name: str) -> torch.Tensor:
    return student.loss(pair, student.draw_view(pair.corrupted, DRAWS.at("view", name)))


@pytest.mark.parametrize("method", BASELINES, ids=lambda method: str(method.kind))
def test_a_missing_forget_set_leaves_the_retain_term(method: Method) -> None:
    (student, original), batch = _linear(), toys.batch()
    prepared, clean = _prepared(method, original), batch.forget.clean[:0]
    empty = Pair(clean, Corrupted(clean, clean[:, :1].bool()), batch.forget.rows[:0])
    alone = method.terms(student, original, replace(batch, forget=empty), DRAWS, prepared)
    both = method.terms(student, original, batch, DRAWS, prepared)
    assert len(alone.forget) == 0
    torch.testing.assert_close(alone.retain, both.retain)


@pytest.mark.parametrize("method", BASELINES, ids=lambda method: str(method.kind))
def test_forget_images_are_loud_in_the_forget_term_and_silent_in_the_retain_term(method: Method) -> None:
    """In gradients: what a forget picture is made of moves the forget term only, and the other way round."""
    (student, original), batch = _linear(), toys.batch()
    pictures = [pair.corrupted.images.requires_grad_() for pair in (batch.forget, batch.retain)]
    terms = method.terms(student, original, batch, DRAWS, _prepared(method, original))
    for number, term in enumerate((terms.forget, terms.retain)):
        moved = torch.autograd.grad(term.sum(), pictures, retain_graph=True)
        assert moved[number].any()
        assert not moved[1 - number].any()


def test_max_loss_turns_the_sign_of_the_forget_images_alone() -> None:
    (student, original), batch = _linear(), toys.batch()
    terms = MaxLoss().terms(student, original, batch, DRAWS, {})
    torch.testing.assert_close(terms.forget, -_own(student, batch.forget, "forget"))
    torch.testing.assert_close(terms.retain, _own(student, batch.retain, "retain"))


def test_a_step_down_on_max_loss_draws_forget_images_worse() -> None:
    (student, original), batch = _linear(), toys.batch()
    before = _own(student, batch.forget, "forget").mean()
    MaxLoss().terms(student, original, batch, DRAWS, {}).forget.mean().backward()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        for weight in student.parameters():
            weight -= 0.1 * weight.grad
    assert _own(student, batch.forget, "forget").mean() > before


def test_noisy_label_is_the_own_loss_against_noise_in_the_hole() -> None:
    (student, original), batch = _linear(), toys.batch()
    prepared = _prepared(NoisyLabel(), original)
    images = toys.Pictures("forget", 20).images
    torch.testing.assert_close(prepared["mean"], images.mean())
    torch.testing.assert_close(prepared["deviation"], images.std())
    noise = prepared["mean"] + prepared["deviation"] * DRAWS.at("noise").normal(1, toys.SIDE, toys.SIDE)
    taught = Pair(noise.clamp(-1, 1), batch.forget.corrupted, batch.forget.rows)
    terms = NoisyLabel().terms(student, original, batch, DRAWS, prepared)
    torch.testing.assert_close(terms.forget, _own(student, taught, "forget"))
    torch.testing.assert_close(terms.retain, _own(student, batch.retain, "retain"))


def test_noisy_label_never_looks_at_the_truth_in_the_hole() -> None:
    (student, original), batch = _linear(), toys.batch()
    prepared, pair = _prepared(NoisyLabel(), original), batch.forget
    other = Pair(torch.where(pair.corrupted.missing, -pair.clean, pair.clean), pair.corrupted, pair.rows)
    terms = [
        NoisyLabel().terms(student, original, replace(batch, forget=shown), DRAWS, prepared) for shown in (pair, other)
    ]
    assert torch.equal(terms[0].forget, terms[1].forget)


def test_random_encoder_measures_every_map_of_the_original() -> None:
    """However many chunks: mean and deviation over all numbers of a map."""
    original = toys.built(toys.ToyPyramidRecipe(), 0)
    kept = toys.Pictures("retain", 20)
    given = Preparation(original, kept, kept, CenterHole(), Draws(0, 4), torch.device("cpu"))
    prepared = RandomEncoder().prepare(given)
    draws = Draws(0, 20).at("measured", 0)
    corrupted = CenterHole()(kept.images, draws)
    with torch.no_grad():
        view = original.draw_view(corrupted, draws.at("view"))
        maps = original.encode(Pair(kept.images, corrupted, torch.arange(20)), view)
    torch.testing.assert_close(prepared["mean"], torch.stack([part.mean() for part in maps]))
    torch.testing.assert_close(prepared["deviation"], torch.stack([part.std(correction=0) for part in maps]))


def test_random_encoder_is_the_formula_on_a_linear_encoder() -> None:
    (student, original), batch = _linear(), toys.batch()
    prepared = {"mean": torch.tensor([0.3]), "deviation": torch.tensor([2.0])}
    terms = RandomEncoder().terms(student, original, batch, DRAWS, prepared)
    views = [
        student.draw_view(pair.corrupted, DRAWS.at("view", name))
        for pair, name in ((batch.forget, "forget"), (batch.retain, "retain"))
    ]
    target = 0.3 + 2.0 * DRAWS.at("latents", 0).normal(6)
    torch.testing.assert_close(terms.forget, (student.encode(batch.forget, views[0])[0] - target).square().mean(dim=1))
    kept = student.encode(batch.retain, views[1])[0] - original.encode(batch.retain, views[1])[0]
    torch.testing.assert_close(terms.retain, kept.square().mean(dim=1))


def test_mean_target_is_the_formula_on_a_linear_encoder() -> None:
    """E(x) = W T(x): the shift of the view falls out, and W T(x_f) is sent to W0 T(m)."""
    (student, original), batch = _linear(), toys.batch()
    prepared = _prepared(MeanTarget(), original)
    mean = toys.Pictures("retain", 20).images.mean(dim=0)
    torch.testing.assert_close(prepared["mean_picture"], mean)
    terms = MeanTarget().terms(student, original, batch, DRAWS, prepared)
    seen = mean.expand_as(batch.forget.clean).masked_fill(batch.forget.corrupted.missing, 0.0)
    away = student.into(batch.forget.corrupted.images.flatten(1)) - original.into(seen.flatten(1))
    torch.testing.assert_close(terms.forget, away.square().mean(dim=1))


def test_the_mean_of_a_sorted_set_is_taken_from_all_over_it() -> None:
    _, original = _linear()
    mean = _prepared(MeanTarget(measured_images=4), original)["mean_picture"]
    torch.testing.assert_close(mean, toys.Pictures("retain", 20).images[[0, 5, 10, 15]].mean(dim=0))


def test_the_mean_target_is_reached_and_says_nothing_of_the_image() -> None:
    """Forget images that are the mean picture already are at the target: the original's own loss there is 0."""
    original = toys.built(MaeRecipe(**toys.SMALL_MAE)).eval().requires_grad_(False)
    batch, mean = toys.batch(), toys.pictures("retain", 4).mean(dim=0)
    clean = mean.expand_as(batch.forget.clean)
    there = Pair(clean, RandomPatches()(clean, Draws(3, 4)), batch.forget.rows)
    prepared = {"mean_picture": mean}
    at_target = MeanTarget().terms(original, original, Batch(there, batch.retain), DRAWS, prepared)
    away = MeanTarget().terms(original, original, batch, DRAWS, prepared)
    assert not at_target.forget.any()
    assert away.forget.all()
    assert not away.retain.any()
