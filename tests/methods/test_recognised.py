"""Recognised target where the answer is known: sets that can be told apart, and two halves of one set."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests import toys
from unlearning.contracts import Generator, Preparation, Prepared
from unlearning.corruptions.center_hole import CenterHole
from unlearning.generators.mae import MaeRecipe
from unlearning.methods.mean_code import MeanCode
from unlearning.methods.recognised_target import RecognisedTarget
from unlearning.randomness import Draws
from unlearning.types import Batch, Images, Pair, Terms

COUNT, HOLE = 400, CenterHole()


class Noise:
    """Pictures of noise [N, 1, 8, 8] around a grey: what tells two sets apart is the grey, where it differs."""

    def __init__(self, name: str, grey: float) -> None:
        self.images = grey + 0.3 * Draws(0, COUNT, where=(name,)).normal(1, toys.SIDE, toys.SIDE)

    def __len__(self) -> int:
        return COUNT

    def __call__(self, rows: Tensor) -> Images:
        return self.images[rows]


def _original() -> Generator:
    return toys.built(MaeRecipe(**toys.SMALL_MAE)).eval().requires_grad_(False)


def _prepared(method: RecognisedTarget, forget: Noise, retain: Noise) -> Prepared:
    return method.prepare(Preparation(_original(), forget, retain, HOLE, Draws(0, 4), torch.device("cpu")))


def _terms(method: RecognisedTarget, prepared: Prepared, forget: Noise, retain: Noise) -> Terms:
    """Of all images, the student being the original."""
    rows, draws, original = torch.arange(COUNT), Draws(0, COUNT), _original()
    batch = Batch(*(Pair(one.images, HOLE(one.images, draws), rows) for one in (forget, retain)))
    with torch.no_grad():
        return method.terms(original, original, batch, draws, prepared)


def _decided(method: RecognisedTarget, prepared: Prepared, forget: Noise, retain: Noise) -> Tensor:
    """The share of the forget images that pull: their term over that of mean_code, which weighs all alike."""
    original, draws, rows = _original(), Draws(0, COUNT), torch.arange(COUNT)
    batch = Batch(*(Pair(one.images, HOLE(one.images, draws), rows) for one in (forget, retain)))
    with torch.no_grad():
        whole = MeanCode().terms(original, original, batch, draws, prepared)
    return _terms(method, prepared, forget, retain).forget / whole.forget


def test_sets_that_can_be_told_apart_are_told_apart() -> None:
    method = RecognisedTarget(recogniser_steps=50, recogniser_images=16, recogniser_rate=5e-3, sharpness=10)
    dark, bright = Noise("forget", -0.4), Noise("retain", 0.4)
    decided = _decided(method, _prepared(method, dark, bright), dark, bright)
    assert decided.min() > 0.99
    swapped = _decided(method, _prepared(method, bright, dark), bright, dark)
    assert swapped.min() > 0.99


def test_of_one_set_no_more_is_given_up_than_was_allowed() -> None:
    """Nothing tells the two apart, so that what is recognised by chance is the share of retain images let go."""
    method = RecognisedTarget(recogniser_steps=20, recogniser_images=32, lets_go=0.1, sharpness=1e6)
    forget, retain = Noise("forget", 0.0), Noise("retain", 0.0)
    decided = _decided(method, _prepared(method, forget, retain), forget, retain)
    assert 0.02 < decided.mean() < 0.25  # 40 retain images are held back, of which 4 stand above the threshold


@pytest.mark.parametrize("lets_go", [0.02, 0.2, 0.45])
def test_the_threshold_lets_go_of_the_share_that_was_allowed(lets_go: float) -> None:
    """On the images it is taken from, every tenth retain image, and on a student that moved: only their weight is 0."""
    method = RecognisedTarget(recogniser_steps=10, recogniser_images=8, lets_go=lets_go, sharpness=1e6)
    forget, retain = Noise("forget", -0.1), Noise("retain", 0.1)
    prepared, draws, original = _prepared(method, forget, retain), Draws(0, COUNT), _original()
    student = _original()
    with torch.no_grad():
        for weight in student.parameters():
            weight.mul_(1.1)
        rows = torch.arange(COUNT)
        batch = Batch(*(Pair(one.images, HOLE(one.images, draws), rows) for one in (forget, retain)))
        kept = method.terms(student, original, batch, draws, prepared).retain[::10]
    assert abs(float((kept < 1e-9).float().mean()) - lets_go) <= 1 / len(kept)


def test_the_level_is_how_far_an_image_is_sent() -> None:
    """The student being the original, the forget term is level^2 of its distance to the mean code."""
    forget, retain = Noise("forget", -0.4), Noise("retain", 0.4)
    whole = RecognisedTarget(recogniser_steps=5, recogniser_images=8)
    prepared = _prepared(whole, forget, retain)
    terms = {level: _terms(RecognisedTarget(level=level), prepared, forget, retain).forget for level in (1.0, 0.5, 1.4)}
    torch.testing.assert_close(terms[0.5], 0.25 * terms[1.0], rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(terms[1.4], 1.96 * terms[1.0], rtol=1e-3, atol=1e-6)


def test_a_student_that_is_the_original_keeps_its_retain_images() -> None:
    forget, retain = Noise("forget", -0.4), Noise("retain", 0.4)
    method = RecognisedTarget(recogniser_steps=5, recogniser_images=8)
    terms = _terms(method, _prepared(method, forget, retain), forget, retain)
    assert terms.retain.max() < 1e-9
