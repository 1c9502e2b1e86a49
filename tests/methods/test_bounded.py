"""Targets of our own, retain label and ascent against closed forms."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from tests import toys
from unlearning.contracts import Corruption, Method, Preparation, Prepared
from unlearning.corruptions.center_hole import CenterHole
from unlearning.corruptions.random_patches import RandomPatches
from unlearning.methods.ascent_repair import AscentRepair
from unlearning.methods.mean_code import MeanCode
from unlearning.methods.output_target import OutputTarget
from unlearning.methods.retain_label import RetainLabel
from unlearning.randomness import Draws
from unlearning.types import Batch, Corrupted, Images, Pair, View

DRAWS = Draws(0, 4, where=(7,))
RETAIN = toys.Pictures("retain", 150)  # more than are measured at once


def _toys() -> tuple[Any, Any]:
    student, original = (toys.built(toys.ToyRecipe(), seed) for seed in (1, 0))
    return student, original.requires_grad_(False)


def _prepared(method: Method, original: Any, corruption: Corruption | None = None) -> Prepared:
    kept = corruption or RandomPatches()
    return method.prepare(Preparation(original, RETAIN, RETAIN, kept, DRAWS, torch.device("cpu")))


def _view(generator: Any, pair: Pair, name: str) -> View:
    view: View = generator.draw_view(pair.corrupted, DRAWS.at("view", name))
    return view


def test_retain_label_is_the_own_loss_against_a_retain_image_in_the_hole() -> None:
    (student, original), batch = _toys(), toys.batch()
    terms = RetainLabel().terms(student, original, batch, DRAWS, {})
    taught = Pair(batch.retain.clean, batch.forget.corrupted, batch.forget.rows)  # the loss reads only the hole
    torch.testing.assert_close(terms.forget, student.loss(taught, _view(student, taught, "forget")))
    torch.testing.assert_close(terms.retain, student.loss(batch.retain, _view(student, batch.retain, "retain")))


def test_a_diffusion_student_is_shown_what_the_forget_image_shows() -> None:
    """The label stands in the hole and nowhere else: what is visible is the forget image's."""
    student: Any = toys.built(toys.recipes()["palette"])
    batch, missing = toys.batch(), toys.pair("forget").corrupted.missing
    elsewhere = torch.where(missing, batch.retain.clean, -batch.retain.clean)
    shown = [batch, Batch(batch.forget, replace(batch.retain, clean=elsewhere))]
    terms = [RetainLabel().terms(student, student, each, DRAWS, {}) for each in shown]
    torch.testing.assert_close(terms[0].forget, terms[1].forget)


def test_ascent_starts_lambda_below_and_climbs_the_own_loss() -> None:
    (_, original), batch = _toys(), toys.batch()
    student = copy.deepcopy(original).requires_grad_(True)
    terms = AscentRepair(worse=0.3).terms(student, original, batch, DRAWS, {})
    torch.testing.assert_close(terms.forget, torch.full((4,), 0.3))
    own = student.loss(batch.forget, _view(student, batch.forget, "forget"))
    slopes = [torch.autograd.grad(loss.mean(), list(student.parameters())) for loss in (terms.forget, own)]
    for climbed, fallen in zip(*slopes, strict=True):
        torch.testing.assert_close(climbed, -fallen)
    torch.testing.assert_close(terms.retain, student.loss(batch.retain, _view(student, batch.retain, "retain")))


def test_ascent_ends_where_each_image_is_bad_enough_and_its_picture_is_as_far_as_promised() -> None:
    """With nothing to repair: every loss ends at least lambda above the original's, and then nothing moves."""
    (_, original), batch, worse = _toys(), toys.batch(), 0.2
    student = copy.deepcopy(original).requires_grad_(True)
    view, before = _view(original, batch.forget, "forget"), None
    for _ in range(400):
        term = AscentRepair(worse=worse).terms(student, original, batch, DRAWS, {}).forget
        if not term.any():
            break
        slopes = torch.autograd.grad(term.sum(), list(student.parameters()))
        with torch.no_grad():
            for weight, slope in zip(student.parameters(), slopes, strict=True):
                weight -= 0.02 * slope
    before, after = original.loss(batch.forget, view), student.loss(batch.forget, view)
    assert not term.any()
    assert (after >= before + worse - 1e-6).all()
    assert (after < before + 2 * worse).all()  # and it did not run away
    away = (student.draw(batch.forget, view) - original.draw(batch.forget, view)).square().mean(dim=(1, 2, 3)).sqrt()
    assert (away >= (before + worse).sqrt() - before.sqrt() - 1e-6).all()


def test_the_mean_code_of_a_fixed_hole_is_the_mean_over_the_retain_set() -> None:
    original: Any = toys.built(toys.recipes()["mae"]).eval().requires_grad_(False)
    corruption = CenterHole()
    prepared = _prepared(MeanCode(), original, corruption)
    corrupted = corruption(RETAIN.images, Draws(0, 150))
    pair = Pair(RETAIN.images, corrupted, torch.arange(150))
    codes = original.encode(pair, original.draw_view(corrupted, Draws(0, 150)))[0]
    batch = Batch(toys.pair("forget", corruption=corruption), toys.pair("retain", corruption=corruption))
    terms = MeanCode().terms(original, original, batch, DRAWS, prepared)
    moved = original.encode(batch.forget, _view(original, batch.forget, "forget"))[0]
    expected = (moved - codes.mean(dim=0)).square().mean(dim=(1, 2))
    torch.testing.assert_close(terms.forget, expected, atol=1e-5, rtol=1e-4)
    assert not terms.retain.any()


def test_where_the_hole_moves_the_mean_code_is_learnt_from_one_image_at_a_time() -> None:
    """Over all retain images, the gradient is the gradient towards the mean of their codes under that very hole."""
    (student, original), batch = _toys(), toys.batch()
    prepared = _prepared(MeanCode(), original)
    assert not prepared
    first = torch.zeros(4, dtype=torch.int64)
    shown = Corrupted(batch.forget.corrupted.images[first], batch.forget.corrupted.missing[first])
    forget = Pair(batch.forget.clean[first], shown, batch.forget.rows[first])
    terms = MeanCode().terms(student, original, Batch(forget, batch.retain), DRAWS, prepared)
    under = batch.retain.clean.masked_fill(shown.missing, 0.0)
    mean = original.into(under.flatten(1)).mean(dim=0)
    away = (student.into(shown.images.flatten(1)) - mean).square().mean()
    got, wanted = (torch.autograd.grad(loss, student.into.weight)[0] for loss in (terms.forget.mean(), away))
    torch.testing.assert_close(got, wanted)


class _Painter(toys.ToyGenerator):
    """Draws whatever it holds."""

    def __init__(self, pictures: Images) -> None:
        super().__init__(toys.SIDE**2)
        self.pictures = nn.Parameter(pictures)

    def draw(self, pair: Pair, view: View) -> Images:
        return torch.where(pair.corrupted.missing, self.pictures, pair.corrupted.images)


@pytest.mark.parametrize("level", [0.0, 0.5, 0.9, 1.0])
def test_output_target_lands_at_the_square_of_its_level(level: float) -> None:
    """An original that is the conditional mean: the truth is its picture plus or minus the same error."""
    own, error = toys.pictures("own", 2).repeat(2, 1, 1, 1), 0.3 * toys.pictures("error", 2)
    clean = own + torch.cat([error, -error])
    missing = CenterHole().missing(clean, Draws(0, 4))
    forget = Pair(clean, Corrupted(clean.masked_fill(missing, 0.0), missing), torch.arange(4))
    nobody = Pair(clean[:0], Corrupted(clean[:0], missing[:0]), forget.rows[:0])
    original, student = _Painter(own).requires_grad_(False), _Painter(own)
    method = OutputTarget(level=level)
    mean = _prepared(method, original)["mean_picture"]
    torch.testing.assert_close(mean, RETAIN.images.mean(dim=0))
    terms = method.terms(student, original, Batch(forget, nobody), DRAWS, {"mean_picture": mean})
    (slope,) = torch.autograd.grad(terms.forget.sum(), student.pictures)
    assert not slope[~missing].any()
    landed = own - slope * missing[0].sum() / 2  # Newton's step: the term is a mean square over the hole

    def wrong(picture: Images) -> torch.Tensor:
        return (picture - clean).square()[missing].mean()

    normalised = (wrong(landed) - wrong(own)) / (wrong(mean.expand_as(own)) - wrong(own))
    torch.testing.assert_close(normalised, torch.tensor(level**2), atol=1e-5, rtol=1e-5)


def test_output_target_moves_the_encoder_through_a_decoder_that_stays() -> None:
    """Scope `encoder`: the gradient arrives there, and the retain images start where they are to stay."""
    original: Any = toys.built(toys.recipes()["mae"]).eval().requires_grad_(False)
    student = copy.deepcopy(original)
    for weight in student.encoder_parameters().values():
        weight.requires_grad_(True)
    terms = OutputTarget().terms(student, original, toys.batch(), DRAWS, _prepared(OutputTarget(), original))
    assert not terms.retain.any()
    terms.forget.mean().backward()
    moved = {name for name, weight in student.named_parameters() if weight.grad is not None and weight.grad.any()}
    assert moved == student.encoder_parameters().keys()
